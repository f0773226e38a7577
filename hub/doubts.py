"""What a person should know about an adapter that was added: fields left out, things set right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..store import Blob, NewVersion, VersionRecord
from .cards.card import PROVENANCE_FIELD
from .peft_folder import CARD_NAME, TRAINER_STATE_NAME, PeftFolder

_COUNTS = ("global_step", "train_batch_size")
_LISTED = ("language", "datasets", "license", "base_model")


def unread_fields(folder: PeftFolder) -> tuple[str, ...]:
    """What the files beside the weights say that is not of its type, and so is left out."""
    found = []
    for name in _COUNTS:
        value = folder.trainer_state.get(name)
        if value is not None and (type(value) is not int or value < 0):
            found.append(f"{TRAINER_STATE_NAME} says {name} {value!r}, which is no count: left out")
    for name in _LISTED:
        value = folder.card.get(name)
        wrong = [one for one in _items(value) if not isinstance(one, (str, int, float))]
        if wrong:
            found.append(f"{CARD_NAME} says {name} {wrong[0]!r}, which is no text: left out")
    block = folder.card.get(PROVENANCE_FIELD)
    if block is not None and not isinstance(block, dict):
        found.append(
            f"{CARD_NAME} says {PROVENANCE_FIELD} {block!r}, which is no mapping: left out"
        )
    return tuple(found)


def changed_languages(new: NewVersion, before: Sequence[VersionRecord]) -> tuple[str, ...]:
    """That a version is for other languages than the one before it: selectors then lose a name."""
    if not before or before[-1].languages == new.languages or not before[-1].languages:
        return ()
    was, now = ",".join(before[-1].languages), ",".join(new.languages) or "no language"
    said = (
        f"{before[-1].label} is for {was}, this version is for {now}: selectors look at the latest "
    )
    return (said + f"version of a name, and no longer find {new.name!r} for {was}",)


def mended_weights(blob: Blob, before: Sequence[VersionRecord]) -> tuple[str, ...]:
    """That stored weights were missing or damaged, and are sound again."""
    if not blob.created or not before:
        return ()
    labels = ", ".join(record.label for record in before)
    return (f"the stored weights of {labels} were missing or damaged; they are sound again",)


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]

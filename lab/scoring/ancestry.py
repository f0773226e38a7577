"""What an adapter was trained on and for, through all that it was composed of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...hub.composition import Request
from ...store import Score, VersionRecord
from ..errors import OtherBaseError, SettingsError
from .adapter import BARE, Adapter, find_adapter
from .settings import ScoringSettings

if TYPE_CHECKING:
    from ...hub import AdapterHub
    from ..models.base import Base

TUNED_ON: Final = "tuned_on"
"""A score's setting that says: parameters were chosen by this very number."""


def resolve(
    hub: AdapterHub, adapter: str | Adapter | None, base: Base, request: Request | None = None
) -> tuple[Adapter | None, tuple[VersionRecord, ...]]:
    """What is to be put on a base model, and the versions that it consists of.

    Args:
        adapter: a name, an expression, or an adapter in memory; None or `base` is the bare base.

    Raises:
        OtherBaseError: an adapter of another model. DslError: an expression.
    """
    if isinstance(adapter, str):
        if not adapter.strip():
            raise SettingsError("the adapter's name is empty: give a name or an expression")
        adapter = None if adapter.strip() == BARE else find_adapter(hub, adapter, request)
    if adapter is None:
        return None, ()
    versions = ancestors(hub, adapter)
    refuse_other_base(adapter, versions, base)
    return adapter, versions


def ancestors(hub: AdapterHub, adapter: Adapter) -> tuple[VersionRecord, ...]:
    """The versions that an adapter consists of, with all that they were made of."""
    found: dict[str, VersionRecord] = {}
    for source in adapter.sources:
        found.setdefault(source.label, source)
        if source.composition is not None:
            for node in hub.catalog.ancestors(source.name, source.version).nodes:
                for version in node.versions:
                    found.setdefault(version.label, version)
    return tuple(found.values())


def refuse_other_base(adapter: Adapter, versions: Sequence[VersionRecord], base: Base) -> None:
    """Refuse an adapter that was made for another base model.

    Weights tell more than names: equal digests make one model of two names, different ones two of
    one.

    Raises:
        OtherBaseError: another model, other weights under its name, or another tokenizer.
    """
    digests = {one.training.get("base_digest") for one in versions} - {None}
    if base.digest is not None and digests:
        if digests == {base.digest}:
            return
        raise OtherBaseError(
            f"{adapter.label} was trained on other weights than those of {base.name}: "
            "the files have changed, or this is another model. Give the base of its training"
        )
    if adapter.base_model is not None and not _same_place(adapter.base_model, base.name):
        raise OtherBaseError(
            f"{adapter.label} was made for {adapter.base_model}, not for {base.name}: give that "
            f"as --base; if both are one model, add --base-name {adapter.base_model}"
        )
    tokenizers = {one.tokenizer_digest for one in versions} - {None}
    if base.tokenizer_digest is not None and tokenizers - {base.tokenizer_digest}:
        raise OtherBaseError(
            f"{adapter.label} was trained with another tokenizer than that of {base.name}: "
            "a token means something else to each of them"
        )


def _same_place(one: str, other: str) -> bool:
    if one == other:
        return True
    path = Path(one).expanduser()
    return path.exists() and Path(other).exists() and path.samefile(other)


def settings_for(
    versions: Sequence[VersionRecord], given: ScoringSettings | Mapping[str, Any] | None
) -> ScoringSettings:
    """How versions are scored: as it is said, and what is not said as they were trained."""
    if isinstance(given, ScoringSettings):
        return given
    return ScoringSettings(**{**_reading_of(versions), **(given or {})})


def _reading_of(versions: Sequence[VersionRecord]) -> dict[str, Any]:
    """The prompt and lengths that the task vectors among some versions were trained with.

    Empty where there are none, or where they do not agree.
    """
    found = [
        {name: settings[name] for name in ("prompt", "max_length", "max_target_length")}
        for one in versions
        if one.kind == "task"
        and {"prompt", "max_length", "max_target_length"}
        <= (settings := _mapping(one.training.get("settings"))).keys()
    ]
    return found[0] if found and all(one == found[0] for one in found) else {}


def why_seen(hub: AdapterHub, versions: Sequence[VersionRecord], fingerprint: str) -> list[str]:
    """Why scores on data would say too much: how each version has seen them, a sentence each."""
    seen = []
    for one in versions:
        data = one.training.get("data") or ()
        if any(_mapping(part).get("fingerprint") == fingerprint for part in data):
            seen.append(f"{one.label} was trained on these data")
        if _mapping(one.training.get("validation")).get("fingerprint") == fingerprint:
            seen.append(f"{one.label}'s training was watched on these data")
        scores = hub.catalog.evaluations.of(one.name, one.version)
        if any(_is_tuning(score, fingerprint) for score in scores):
            seen.append(f"the parameters of {one.label} were tuned on these data")
    return seen


def _is_tuning(score: Score, fingerprint: str) -> bool:
    return TUNED_ON in score.settings and score.settings.get("fingerprint") == fingerprint


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

"""Pairs as tokens: what the model reads, and the reference that it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..data.records import Pair
from ..errors import DataError, SettingsError
from ..models.prompts import Prompt, encode
from ..objectives.example import Example
from .settings import ScoringSettings

if TYPE_CHECKING:
    from ..models.base import Base


def encode_pairs(base: Base, pairs: Sequence[Pair], settings: ScoringSettings) -> list[Example]:
    """Encode pairs for scoring their references, which are never cut.

    Raises:
        DataError: no pairs, or a reference that is empty or longer than the model can take.
        SettingsError: a prompt that leaves no room for the source.
    """
    if not pairs:
        raise DataError("there are no pairs to score: give data with at least one")
    prompts = encode_prompts(base, [pair.source for pair in pairs], settings)
    return [_example(base, pair, read) for pair, read in zip(pairs, prompts, strict=True)]


def encode_prompts(
    base: Base, sources: Sequence[str], settings: ScoringSettings
) -> list[tuple[int, ...]]:
    """Encode what the model reads, as training does: long sources lose their ends.

    Raises:
        SettingsError: lengths that the model does not have, or a prompt that fills them.
    """
    most = positions(base)
    if most is not None and settings.max_length > most:
        raise SettingsError(
            f"max_length {settings.max_length} is more than the {most} positions of {base.name}: "
            f"give --max-length {most} or less"
        )
    prompt = Prompt(settings.prompt)
    room = settings.max_length - settings.target_length
    return [tuple(prompt.encode(base.tokenizer, source, room)) for source in sources]


def positions(base: Base) -> int | None:
    """How many tokens a model can take; None where its configuration does not say."""
    if base.encoder_decoder:
        return None
    found = getattr(base.model.config, "max_position_embeddings", None)
    return int(found) if isinstance(found, int) and found > 0 else None


def _example(base: Base, pair: Pair, read: tuple[int, ...]) -> Example:
    target = encode(base.tokenizer, pair.target)
    if not target:
        raise DataError(f"the target of {pair.id!r} has no tokens: {pair.target!r:.60}")
    written = (*target, int(base.tokenizer.eos_token_id or 0))
    most = positions(base)
    if most is not None and len(read) + len(written) > most:
        raise DataError(
            f"the target of {pair.id!r} has {len(written)} tokens, which with its prompt are more "
            f"than the {most} positions of {base.name}: lower --max-length, or leave it out"
        )
    return Example(read, written)

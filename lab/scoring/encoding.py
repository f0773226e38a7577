"""Pairs as tokens: what the model reads, and the reference that it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..data.records import Pair
from ..errors import DataError
from ..models.prompts import Prompt, encode

if TYPE_CHECKING:
    from ..models.base import Base


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one pair.

    Attributes:
        read: the prompt, with what the tokenizer puts around every text.
        written: the reference with its end token.
    """

    read: tuple[int, ...]
    written: tuple[int, ...]


def encode_pairs(
    base: Base, pairs: Sequence[Pair], prompt: Prompt, *, max_length: int
) -> list[Encoded]:
    """Encode pairs for scoring their references, as training encodes them.

    Args:
        max_length: most tokens of an example; the source is cut for it, a reference never.

    Raises:
        DataError: no pairs, or a reference that leaves no room for its source.
        SettingsError: a prompt that leaves no room for the source.
    """
    refuse_none(pairs)
    template = len(prompt.encode(base.tokenizer, "", max_length))
    encoded = []
    for pair in pairs:
        written = [*encode(base.tokenizer, pair.target), base.tokenizer.eos_token_id]
        room = max_length if base.encoder_decoder else max_length - len(written)
        if room <= template:
            raise DataError(
                f"the reference of pair {pair.id!r} has {len(written)} tokens, which leave "
                f"none of {max_length} for its source: raise --max-length"
            )
        read = prompt.encode(base.tokenizer, pair.source, room)
        encoded.append(Encoded(tuple(read), tuple(written)))
    return encoded


def refuse_none(pairs: Sequence[Pair]) -> None:
    """Raise DataError where there is nothing to score."""
    if not pairs:
        raise DataError("there are no pairs to score: give data with at least one")

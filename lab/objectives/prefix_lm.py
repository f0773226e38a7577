"""The prefix-LM objective: read the beginning of a text, write how it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from ..errors import DataError
from ..models.prompts import encode, surrounding
from .example import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..data.records import Text

NAME = "prefix-lm"


def prefix_lm_example(
    tokenizer: PreTrainedTokenizerBase,
    text: Text,
    *,
    length: int,
    encoder_decoder: bool,
    random: Random,
) -> Example:
    """Return a text's example: `split_prefix` of its tokens, with the model's own ones around.

    Args:
        length: most tokens of an example, both parts together.
        random: draws the part of a long text, and the split.

    Raises:
        DataError: the tokenizer makes no token of the text.
    """
    tokens = encode(tokenizer, text.text)
    if not tokens:
        raise DataError(f"text {text.id!r} has no tokens: {text.text!r:.60}; leave such rows out")
    start, end = surrounding(tokenizer)
    stop = int(tokenizer.eos_token_id)
    if encoder_decoder:
        return split_encoded(tokens, start=start, end=end, stop=stop, length=length, random=random)
    return split_prefix([*tokens, stop], start=start, length=length, random=random)


def split_prefix(
    tokens: Sequence[int], *, start: Sequence[int], length: int, random: Random
) -> Example:
    """Split a text at a random token, for a decoder-only model: the loss is on what comes after.

    The prefix-LM objective of T5 (Raffel et al. 2020, section 3.2.1): of a text that is too long a
    random part, its split drawn evenly from all that leave a token on both sides. Attention stays
    causal over the prefix, as decoder-only models were trained.

    Args:
        tokens: the text with its end token, at least two.
        start: tokens put before every text (the model's begin-of-text, or nothing).
        length: most tokens of an example.
    """
    part = _part(tokens, length - len(start), random)
    split = random.randrange(1, len(part))
    return Example((*start, *part[:split]), tuple(part[split:]))


def split_encoded(
    tokens: Sequence[int],
    *,
    start: Sequence[int],
    end: Sequence[int],
    stop: int,
    length: int,
    random: Random,
) -> Example:
    """Split a text at a random token: the encoder reads the first part, the decoder writes on.

    As T5 was trained, both sides end with their end tokens; a text of one token is read whole.

    Args:
        tokens: the text without its end token, at least one.
        start, end: tokens that the model has around what its encoder reads.
        stop: the token that ends what is written.
        length: most tokens of both sides together.
    """
    part = _part(tokens, length - len(start) - len(end) - 1, random)
    split = random.randrange(1, max(len(part), 2))
    return Example((*start, *part[:split], *end), (*part[split:], stop))


def _part(tokens: Sequence[int], room: int, random: Random) -> Sequence[int]:
    if len(tokens) <= room:
        return tokens
    first = random.randrange(len(tokens) - room + 1)
    return tokens[first : first + room]

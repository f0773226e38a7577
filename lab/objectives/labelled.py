"""The objective of labelled pairs: read the prompt, write the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DataError
from ..models.prompts import Prompt, encode
from .example import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..data.records import Pair

NAME = "labelled"


def labelled_example(
    tokenizer: PreTrainedTokenizerBase,
    pair: Pair,
    *,
    prompt: Prompt,
    length: int,
    target_length: int,
) -> Example:
    """Return a pair's example: the loss is on the target and its end token alone.

    Right for both kinds of model: a decoder-only one reads the prompt and goes on with the target,
    an encoder reads the prompt and the decoder writes the target.

    Args:
        length: most tokens of an example; what the target may take is kept free of the prompt, so
            that a source is cut at the same place whatever its target.
        target_length: most tokens of a target; one that is cut has no end token to learn.

    Raises:
        DataError: the tokenizer makes no token of the target.
        SettingsError: the prompt's own words fill the length.
    """
    target = encode(tokenizer, pair.target)
    if not target:
        raise DataError(f"the target of {pair.id!r} has no tokens: {pair.target!r:.60}")
    read = prompt.encode(tokenizer, pair.source, length - target_length)
    return Example(tuple(read), (*target, int(tokenizer.eos_token_id))[:target_length])

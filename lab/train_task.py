"""Trains a task vector: a LoRA adapter that learns a task from labelled pairs of one language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .corpus import Pair
from .errors import DataError
from .examples import Example, Examples, begin, encode, labelled
from .training import Settings, Trained, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SEPARATOR = "\n"


def train_task(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    folder: Path,
    settings: Settings,
) -> Trained:
    """Train on labelled pairs, with the loss on the target alone, and save the adapter in folder.

    The model reads the source and a line break and writes the target and its end token.
    Raises DataError without pairs, and what `train` raises.
    """
    if not pairs:
        raise DataError("there are no pairs to train a task vector on: give at least one")
    sources = encode(tokenizer, [pair.source + SEPARATOR for pair in pairs])
    targets = encode(tokenizer, [pair.target for pair in pairs])
    first = begin(tokenizer)

    def example(number: int) -> Example:
        row = number % len(pairs)
        target = [*targets[row], tokenizer.eos_token_id]
        return labelled(sources[row], target, start=first, length=settings.length)

    examples = Examples(settings.steps * settings.batch_size, example)
    return train(model, tokenizer, examples, folder, settings)

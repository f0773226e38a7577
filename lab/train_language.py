"""Trains a language vector: a LoRA adapter that learns to continue texts of one language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from .errors import DataError
from .examples import Example, Examples, begin, encode, prefix_lm
from .training import Settings, Trained, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def train_language(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    folder: Path,
    settings: Settings,
) -> Trained:
    """Train on unlabelled texts with the prefix-LM objective and save the adapter in folder.

    Every text is split anew each time it comes round (Chronopoulou et al. 2024, section 3.1).
    Raises DataError without texts, and what `train` raises.
    """
    if not texts:
        raise DataError("there are no texts to train a language vector on: give at least one")
    rows = [[*tokens, tokenizer.eos_token_id] for tokens in encode(tokenizer, texts)]
    first = begin(tokenizer)

    def example(number: int) -> Example:
        random = Random(f"{settings.seed} {number}")
        row = rows[number % len(rows)]
        return prefix_lm(row, start=first, length=settings.length, random=random)

    examples = Examples(settings.steps * settings.batch_size, example)
    return train(model, tokenizer, examples, folder, settings)

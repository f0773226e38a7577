"""Turns texts and pairs into token sequences with the loss on the right tokens only.

For decoder-only models: labels stand at the position of their own token (the model shifts them),
and IGNORED marks tokens that the model reads without being asked to predict them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids and, for each, itself or IGNORED as its label."""

    tokens: tuple[int, ...]
    labels: tuple[int, ...]


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each text, without special ones."""
    return [
        list(tokens) for tokens in tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    ]


def begin(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that stand before every text: the model's begin-of-text, if it has one."""
    return () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)


def continuation(read: Sequence[int], written: Sequence[int]) -> Example:
    """Return an example that reads the first tokens and is asked to write the second."""
    return Example((*read, *written), (*[IGNORED] * len(read), *written))


def prefix_lm(
    tokens: Sequence[int], *, start: Sequence[int], length: int, random: Random
) -> Example:
    """Split a text at a random token: read what is before, write what comes after.

    The prefix-LM objective of T5 (Raffel et al. 2020, section 3.2.1), with the loss on the
    continuation alone. Attention stays causal over the prefix, as decoder-only models were trained.

    tokens: the text with its end token, at least two; start: tokens put before every text (the
    model's begin-of-text, or nothing); length: most tokens of an example, longer texts are cut.
    """
    kept = tokens[: length - len(start)]
    split = random.randrange(1, len(kept))
    return continuation((*start, *kept[:split]), kept[split:])


def labelled(
    source: Sequence[int], target: Sequence[int], *, start: Sequence[int], length: int
) -> Example:
    """Read the source, write the target: the loss is on the target alone.

    target: with its end token. Where both together exceed length, the source loses its last tokens;
    a target longer than half of length keeps that half, or what the source leaves free.
    """
    room = length - len(start)
    written = target[: max(room // 2, room - len(source))]
    return continuation((*start, *source[: room - len(written)]), written)


class Examples(Dataset[Example]):
    """So many examples, each made when it is asked for, by its number."""

    def __init__(self, count: int, make: Callable[[int], Example]) -> None:
        self.count = count
        self.make = make

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Example:
        return self.make(number)


def collate(examples: Sequence[Example], *, padding: int) -> dict[str, torch.Tensor]:
    """Pad examples on the right: input_ids, attention_mask and labels, each (batch, length)."""
    length = max(len(example.tokens) for example in examples)

    def padded(rows: list[tuple[int, ...]], filler: int) -> torch.Tensor:
        return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows])

    return {
        "input_ids": padded([example.tokens for example in examples], padding),
        "attention_mask": padded([(1,) * len(example.tokens) for example in examples], 0),
        "labels": padded([example.labels for example in examples], IGNORED),
    }

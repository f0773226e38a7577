"""An example as every objective makes it, and batches of them as models of both kinds take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """Tokens that are read, without a loss, and tokens that are to be written, each with one."""

    read: tuple[int, ...]
    written: tuple[int, ...]


def collate(
    examples: Sequence[Example], *, padding: int, encoder_decoder: bool
) -> dict[str, torch.Tensor]:
    """Return a batch, padded on the right: input_ids, attention_mask and labels, (batch, length).

    A decoder-only model reads both parts, one after the other, and its labels stand at the
    position of their own token (the model shifts them); an encoder reads the first part, and the
    second part is the decoder's labels. Labels that are no token's are IGNORED.
    """
    if encoder_decoder:
        read = [example.read for example in examples]
        labels = [example.written for example in examples]
    else:
        read = [example.read + example.written for example in examples]
        labels = [(IGNORED,) * len(example.read) + example.written for example in examples]
    return {
        "input_ids": _padded(read, padding),
        "attention_mask": _padded([(1,) * len(row) for row in read], 0),
        "labels": _padded(labels, IGNORED),
    }


def _padded(rows: Sequence[tuple[int, ...]], filler: int) -> torch.Tensor:
    length = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows])

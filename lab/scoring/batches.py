"""Grouping token sequences of like lengths, so that little is spent on padding.

The groups follow from the lengths alone: the same data give the same batches, and so the same
numbers, for every adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


def group(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Group examples so that no padded batch holds more than so many tokens.

    Args:
        lengths: of the examples, in tokens.
        tokens: most of a batch, padding counted; a longer example has a batch of its own.

    Returns:
        Numbers of the examples, the longest first: what needs the most memory is known at once.

    >>> group([5, 1, 4, 2], 8)
    [[0], [2, 3], [1]]
    """
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= tokens:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


def pad(
    rows: Sequence[Sequence[int]], filler: int, *, left: bool = False, device: torch.device
) -> torch.Tensor:
    """Rows of token ids as one tensor (rows, longest), filled up on one side."""
    length = max(len(row) for row in rows)
    filled = [
        [*[filler] * (length - len(row)), *row] if left else [*row, *[filler] * (length - len(row))]
        for row in rows
    ]
    return torch.tensor(filled, dtype=torch.long, device=device)


def in_order(batches: Sequence[Sequence[int]], values: Iterator[Sequence[float]]) -> list[float]:
    """Put what came batch by batch back into the order of the data."""
    found: dict[int, float] = {}
    for numbers, batch in zip(batches, values, strict=True):
        found.update(zip(numbers, batch, strict=True))
    return [found[number] for number in range(len(found))]

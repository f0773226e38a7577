"""Grouping token sequences of like lengths, so that little is spent on padding.

The groups follow from the lengths alone: the same data give the same batches, and so the same
numbers, for every adapter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from ..errors import ScoringError
from ..memory import is_out_of_memory

_Value = TypeVar("_Value")


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


def in_batches(
    lengths: Sequence[int],
    tokens: int,
    compute: Callable[[list[int]], Sequence[_Value]],
    progress: str | None = None,
) -> list[_Value]:
    """Compute one value an example, batch by batch, and give them in the order of the data.

    Args:
        compute: takes the numbers of a batch's examples.
        progress: title of a bar on a terminal; None shows none.

    Raises:
        ScoringError: a batch that does not fit into memory, with what to lower.
    """
    found: dict[int, _Value] = {}
    shown = progress is not None and sys.stderr.isatty()
    with tqdm(total=len(lengths), desc=progress, disable=not shown, leave=False) as bar:
        for numbers in group(lengths, tokens):
            with explain_out_of_memory(len(numbers), lengths[numbers[0]], tokens):
                found.update(zip(numbers, compute(numbers), strict=True))
            bar.update(len(numbers))
    return [found[number] for number in range(len(lengths))]


@contextmanager
def explain_out_of_memory(rows: int, length: int, batch_tokens: int) -> Iterator[None]:
    """Turn an allocator's failure into a ScoringError.

    Args:
        rows, length: of the batch that is being computed, in examples and tokens.
        batch_tokens: the setting that made it so.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        lower = "--max-length" if rows == 1 else f"--batch-tokens ({batch_tokens} now)"
        raise ScoringError(
            f"out of memory in a batch of {rows} x {length} tokens: lower {lower}, "
            "or load the model with --dtype bfloat16"
        ) from error

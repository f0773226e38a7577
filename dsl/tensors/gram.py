"""Inner products of low-rank updates, from their factors alone, in float64 and bounded memory.

An update of 4096 x 4096 numbers is never made: <B A, B' A'> is the sum of the elements of
(B^T B') o (A A'^T), so that two small Gram matrices of all factors of a module have all answers.
numpy makes them, not torch, whose import alone would take longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy
from numpy.typing import NDArray

from ..algebra.interface import FactorPair
from .sources import Sources
from .tensorfile import DTYPE_BYTES, TensorEntry

Matrix: TypeAlias = NDArray[numpy.floating[Any]]

_STORED: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_CHUNK_ELEMENTS: Final = 1 << 20
# Short enough that a sum of so many products has no error to speak of in float32.
_FLOAT32_ELEMENTS: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Gram:
    """The Gram matrices of one group of a module: A A^T and B^T B of the stacked factors.

    Both are of shape (R, R) for R the sum of the ranks; `spans` says which rows are whose.
    """

    a: Matrix
    b: Matrix
    spans: tuple[slice, ...]


def grams(sources: Sources, pairs: Sequence[FactorPair]) -> list[Gram]:
    """The Gram matrices of the factors of one module, one for each group of a convolution.

    Args:
        sources: the files.
        pairs: factors of equal shapes but for the rank; `source` is their number among the files.

    Raises:
        WeightsError: a file cannot be read or became shorter.
    """
    groups = pairs[0].groups
    ranks = [pair.a.shape[0] // groups for pair in pairs]
    ends = [sum(ranks[: number + 1]) for number in range(len(ranks))]
    spans = tuple(slice(end - rank, end) for end, rank in zip(ends, ranks, strict=True))
    return [
        Gram(_gram_of_a(sources, pairs, spans, group), _gram_of_b(sources, pairs, group), spans)
        for group in range(groups)
    ]


def _gram_of_a(
    sources: Sources, pairs: Sequence[FactorPair], spans: Sequence[slice], group: int
) -> Matrix:
    """A A^T, some columns of A at a time."""
    width = pairs[0].a.elements // pairs[0].a.shape[0]
    rank = spans[-1].stop

    def columns(first: int, last: int) -> Matrix:
        part = numpy.empty((rank, last - first))
        for pair, span in zip(pairs, spans, strict=True):
            rows = span.stop - span.start
            start = group * rows * width
            if (first, last) == (0, width):
                values = _floats(sources, pair.source, pair.a, start, rows * width)
                part[span] = values.reshape(rows, width)
                continue
            for row in range(rows):
                begin = start + row * width + first
                part[span.start + row] = _floats(sources, pair.source, pair.a, begin, last - first)
        return part

    return _summed(rank, width, lambda first, last: columns(first, last).T)


def _gram_of_b(sources: Sources, pairs: Sequence[FactorPair], group: int) -> Matrix:
    """B^T B, some rows of B at a time."""
    rows = pairs[0].b.shape[0] // pairs[0].groups
    widths = [pair.b.elements // pair.b.shape[0] for pair in pairs]

    def part(first: int, last: int) -> Matrix:
        count = last - first
        return numpy.concatenate(
            [
                _floats(
                    sources, pair.source, pair.b, (group * rows + first) * width, count * width
                ).reshape(count, width)
                for pair, width in zip(pairs, widths, strict=True)
            ],
            axis=1,
            dtype=numpy.float64,
        )

    return _summed(sum(widths), rows, part)


def _summed(rank: int, length: int, part: Callable[[int, int], Matrix]) -> Matrix:
    """The sum of part^T part over parts of at most so many elements."""
    total = numpy.zeros((rank, rank))
    step = max(1, _CHUNK_ELEMENTS // rank)
    for first in range(0, length, step):
        rows = part(first, min(first + step, length))
        total += rows.T @ rows
    return total


def inner_products(sources: Sources, entries: Sequence[tuple[int, TensorEntry]]) -> Matrix:
    """The inner products of tensors with one another, element by element: shape (n, n).

    Args:
        sources: the files.
        entries: tensors of one number of elements, each with the number of its file.

    Raises:
        WeightsError: a file cannot be read or became shorter.
    """
    elements = entries[0][1].elements
    total = numpy.zeros((len(entries), len(entries)))
    rows = numpy.empty((len(entries), min(elements, _FLOAT32_ELEMENTS)), dtype="<f4")
    for first in range(0, elements, _FLOAT32_ELEMENTS):
        part = rows[:, : min(_FLOAT32_ELEMENTS, elements - first)]
        for row, (source, entry) in zip(part, entries, strict=True):
            _read(sources, source, entry, first, row)
        total += part @ part.T
    return total


def _floats(
    sources: Sources, source: int, entry: TensorEntry, first: int, count: int
) -> NDArray[Any]:
    """Elements of a tensor as float32 (float64 where they are stored so)."""
    values: NDArray[Any] = numpy.empty(count, dtype="<f8" if entry.dtype == "F64" else "<f4")
    _read(sources, source, entry, first, values)
    return values


def _read(
    sources: Sources, source: int, entry: TensorEntry, first: int, values: NDArray[Any]
) -> None:
    """Fill a vector with a tensor's elements from a first one on."""
    stored = numpy.dtype(_STORED[entry.dtype])
    raw = values if values.dtype == stored else numpy.empty(len(values), dtype=stored)
    place = memoryview(raw.data).cast("B")
    sources.read(source, place, entry.start + first * DTYPE_BYTES[entry.dtype])
    if entry.dtype == "BF16":
        numpy.left_shift(raw, 16, out=values.view("<u4"), dtype="<u4")
    elif raw is not values:
        values[:] = raw

"""Sums laid over each other and cut into tasks.

Tensors that continue each other in all sources are made one long run. Sums of the same layout are
laid over each other, so that what several of them take from a file is read once. Then everything is
cut into tasks of some hundred kilobytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..algebra.interface import Block, Column, ComposedTensor, Piece
from .tensorfile import DTYPE_BYTES


@dataclass(frozen=True, slots=True)
class Share:
    """Contiguous elements of a file, and what each sum multiplies them with.

    A coefficient is None where a sum takes nothing of them; `start` is the absolute position in
    bytes of the first element of the run's first row.
    """

    source: int
    start: int
    dtype: str
    coefficients: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Lane:
    """`width` elements in every row of a run: a column of each of the sums.

    Each sum adds up its shares in their order, around an origin as a `Column` does.
    """

    width: int
    shares: tuple[Share, ...]
    origin: float


@dataclass(frozen=True, slots=True)
class Run:
    """Rows made of lanes side by side."""

    rows: int
    lanes: tuple[Lane, ...]

    @property
    def width(self) -> int:
        """Elements in a row."""
        return sum(lane.width for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a run, from the first one up to but without the last one."""

    run: Run
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Task:
    """Parts that follow each other in every result, beginning at an element of it."""

    start: int
    elements: int
    parts: tuple[Part, ...]


def layout(tensors: Sequence[ComposedTensor]) -> tuple[object, ...]:
    """All that must be equal for sums to be laid over each other."""
    return tuple(
        (
            tensor.name,
            tensor.shape,
            tuple(
                (block.rows, tuple((column.width, column.origin) for column in block.columns))
                for block in tensor.blocks
            ),
        )
        for tensor in tensors
    )


def join(tensors: Sequence[ComposedTensor]) -> list[Block]:
    """The blocks of all tensors, those that continue each other in all sources made one.

    Hundreds of small tensors with equal coefficients become a few long blocks. A block of one
    column has no inner structure and is given as rows of one element.
    """
    joined: list[Block] = []
    for tensor in tensors:
        for block in tensor.blocks:
            if len(block.columns) > 1:
                joined.append(block)
                continue
            column = block.columns[0]
            rows = block.rows * column.width
            if joined and _continues(joined[-1], column):
                rows += joined[-1].rows
                column = joined.pop().columns[0]
            joined.append(Block(rows, (Column(1, column.pieces, column.origin),)))
    return joined


def _continues(before: Block, column: Column) -> bool:
    pieces = before.columns[0].pieces
    return (
        len(before.columns) == 1
        and before.columns[0].origin == column.origin
        and len(pieces) == len(column.pieces)
        and all(
            _follows(piece, following, before.rows)
            for piece, following in zip(pieces, column.pieces, strict=True)
        )
    )


def _follows(piece: Piece, following: Piece, elements: int) -> bool:
    return (
        piece.source == following.source
        and piece.coefficient == following.coefficient
        and piece.dtype == following.dtype
        and piece.start + elements * DTYPE_BYTES[piece.dtype] == following.start
    )


def overlay(sums: Sequence[Sequence[Block]], numbers: Sequence[Sequence[int]]) -> Iterator[Run]:
    """Lay sums of one layout over each other.

    Args:
        sums: the joined blocks of each.
        numbers: for each sum, what number each of its sources has among the sources of all.
    """
    places = [0] * len(sums)
    done = [0] * len(sums)
    while places[0] < len(sums[0]):
        blocks = [blocks[place] for blocks, place in zip(sums, places, strict=True)]
        # One sum's blocks may be longer than another's, as it has fewer pieces to continue.
        rows = min(block.rows - skipped for block, skipped in zip(blocks, done, strict=True))
        yield Run(
            rows,
            tuple(
                _lane([block.columns[number] for block in blocks], done, numbers)
                for number in range(len(blocks[0].columns))
            ),
        )
        for number, block in enumerate(blocks):
            done[number] += rows
            if done[number] == block.rows:
                places[number], done[number] = places[number] + 1, 0


def _lane(
    columns: Sequence[Column], skipped_rows: Sequence[int], numbers: Sequence[Sequence[int]]
) -> Lane:
    """What each sum takes, in an order in which each finds its own pieces in theirs."""
    slices: list[tuple[int, int, str]] = []
    taken: list[list[float | None]] = []
    for number, (column, skipped) in enumerate(zip(columns, skipped_rows, strict=True)):
        at = 0
        for piece in column.pieces:
            start = piece.start + skipped * column.width * DTYPE_BYTES[piece.dtype]
            place = (numbers[number][piece.source], start, piece.dtype)
            if place in slices[at:]:
                at = slices.index(place, at)
            else:
                slices.insert(at, place)
                taken.insert(at, [None] * len(columns))
            taken[at][number] = piece.coefficient
            at += 1
    shares = (Share(*place, tuple(some)) for place, some in zip(slices, taken, strict=True))
    return Lane(columns[0].width, tuple(shares), columns[0].origin)


def cut(runs: Sequence[Run], most_elements: int) -> Iterator[Task]:
    """Cut runs between rows into tasks of at most so many elements, or of one row."""
    start = elements = 0
    parts: list[Part] = []
    for run in runs:
        row = 0
        while row < run.rows:
            rows = min(run.rows - row, (most_elements - elements) // run.width)
            if not (rows or parts):
                rows = 1
            if rows:
                parts.append(Part(run, row, row + rows))
                elements += rows * run.width
                row += rows
            else:
                yield Task(start, elements, tuple(parts))
                start, elements, parts = start + elements, 0, []
    if parts:
        yield Task(start, elements, tuple(parts))

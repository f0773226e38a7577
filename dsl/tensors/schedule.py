"""Blocks cut into tasks: joined where they continue each other, split where they are too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..algebra.interface import Block, Column, ComposedTensor, Piece
from .tensorfile import DTYPE_BYTES


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a block, from the first one up to but without the last one."""

    block: Block
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Task:
    """Parts that follow each other in the result, beginning at an element of it."""

    start: int
    elements: int
    parts: tuple[Part, ...]


def join(tensors: Sequence[ComposedTensor]) -> list[Block]:
    """The blocks of all tensors, those that continue each other in all sources made one.

    Hundreds of small tensors with equal coefficients become a few long runs. A block of one
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


def cut(blocks: Sequence[Block], most_elements: int) -> Iterator[Task]:
    """Cut blocks between rows into tasks of at most so many elements, or of one row."""
    start = elements = 0
    parts: list[Part] = []
    for block in blocks:
        row = 0
        while row < block.rows:
            rows = min(block.rows - row, (most_elements - elements) // block.width)
            if not (rows or parts):
                rows = 1
            if rows:
                parts.append(Part(block, row, row + rows))
                elements += rows * block.width
                row += rows
            else:
                yield Task(start, elements, tuple(parts))
                start, elements, parts = start + elements, 0, []
    if parts:
        yield Task(start, elements, tuple(parts))

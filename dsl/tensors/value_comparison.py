"""Two adapters' tensors compared as they are: what is no update, or none that is known.

Heads, norms, tokens and vectors that take the place of a base model's values, and prompts, differ
by a known amount even though what each of them changes is not known without the base model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..algebra.interface import Operand
from ..algebra.modules import PREFIX
from ..errors import UnsupportedError
from .comparison import layouts_of
from .sources import Sources
from .tensorfile import DTYPE_BYTES, TensorEntry, read_header

_FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})
_CHUNK_ELEMENTS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ValueComparison:
    """A tensor that two adapters have in one shape, named without PEFT's prefix.

    Attributes:
        tensor: its name.
        first_norm, second_norm, difference_norm: Frobenius norms.
        cosine: of the angle between both; None where one of them is zero.
    """

    tensor: str
    first_norm: float
    second_norm: float
    difference_norm: float
    cosine: float | None


def compare_values(first: Operand, second: Operand) -> tuple[ValueComparison, ...]:
    """Compare the tensors that `comparison.compare` leaves out, in bounded memory.

    These are the ones beside the updates of two adapters, or all where either has no updates of
    its own; of each only those that both have, in one shape.

    Raises:
        WeightsError: a file is damaged.
    """
    known = _of_updates(first, second)
    others = read_header(second.path).by_name
    pairs = [
        (entry, others[entry.name])
        for entry in read_header(first.path).entries
        if entry.name not in known
        and entry.name in others
        and others[entry.name].shape == entry.shape
        and {entry.dtype, others[entry.name].dtype} <= _FLOATS
    ]
    if not pairs:
        return ()
    with Sources([first.path, second.path]) as sources:
        return tuple(_compared(sources, *pair) for pair in pairs)


def _of_updates(first: Operand, second: Operand) -> frozenset[str]:
    """The names of the tensors that make updates."""
    try:
        layouts = [*layouts_of(first).values(), *layouts_of(second).values()]
    except UnsupportedError:
        return frozenset()
    return frozenset(entry.name for one in layouts for entry in one.tensors.values())


def _compared(sources: Sources, first: TensorEntry, second: TensorEntry) -> ValueComparison:
    from .values import read_values

    squares = [0.0, 0.0, 0.0, 0.0]
    for one, other in zip(_parts(first), _parts(second), strict=True):
        x, y = read_values(sources, 0, one).double(), read_values(sources, 1, other).double()
        for n, part in enumerate((x.square(), y.square(), (x - y).square(), x * y)):
            squares[n] += float(part.sum())
    norms = [math.sqrt(square) for square in squares[:3]]
    product = norms[0] * norms[1]
    return ValueComparison(
        tensor=first.name.removeprefix(PREFIX),
        first_norm=norms[0],
        second_norm=norms[1],
        difference_norm=norms[2],
        cosine=max(-1.0, min(1.0, squares[3] / product)) if product else None,
    )


def _parts(entry: TensorEntry) -> Iterator[TensorEntry]:
    """A tensor in pieces of some megabytes."""
    size = DTYPE_BYTES[entry.dtype]
    for first in range(0, entry.elements, _CHUNK_ELEMENTS):
        last = min(first + _CHUNK_ELEMENTS, entry.elements)
        start, end = entry.start + first * size, entry.start + last * size
        yield TensorEntry(entry.name, entry.dtype, (last - first,), start, end)

"""Two adapters' updates compared: how large, how far apart, in which directions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from ..algebra import ALGEBRAS
from ..algebra.interface import FactorPair, Operand
from ..errors import IncompatibleError, UnsupportedError, quoted
from ..meaning.plan import by_layer
from .sources import Sources
from .tensorfile import read_header

if TYPE_CHECKING:
    from .gram import Gram, Matrix

# Directions so much weaker than the strongest are rounding of float32 numbers.
_NO_DIRECTION: Final = 1e-13


@dataclass(frozen=True, slots=True)
class Comparison:
    """The updates of two adapters side by side.

    Attributes:
        first_norm, second_norm, difference_norm: Frobenius norms.
        cosine: of the angle between the updates; None where one of them is zero.
        column_overlap: how much of the directions in which the updates write they share: for
            orthonormal bases P and Q of the columns of both B, the squared Frobenius norm of P^T Q
            over the smaller rank: 1 when one space holds the other, about rank / width by chance.
            None where one of them is zero.
        row_overlap: the same of the directions that the updates read, the rows of A.
    """

    first_norm: float
    second_norm: float
    difference_norm: float
    cosine: float | None
    column_overlap: float | None
    row_overlap: float | None


@dataclass(frozen=True, slots=True)
class ModuleComparison:
    """The comparison at one module, named as in the base model.

    `first_adapts`, `second_adapts`: whether the adapter has factors for the module at all.
    """

    module: str
    comparison: Comparison
    first_adapts: bool
    second_adapts: bool


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """The comparison over a layer (`model.layers.3`, or a module that is in none)."""

    layer: str
    comparison: Comparison
    modules: tuple[ModuleComparison, ...]


@dataclass(frozen=True, slots=True)
class Updates:
    """The comparison over all modules, and layer by layer in the order of the model."""

    total: Comparison
    layers: tuple[LayerComparison, ...]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Squared norms, the inner product, and shared directions out of the smaller ranks."""

    first: float
    second: float
    both: float
    difference: float
    columns: float = 0.0
    column_rank: int = 0
    rows: float = 0.0
    row_rank: int = 0

    def comparison(self) -> Comparison:
        first, second = math.sqrt(self.first), math.sqrt(self.second)
        return Comparison(
            first_norm=first,
            second_norm=second,
            difference_norm=math.sqrt(self.difference),
            cosine=max(-1.0, min(1.0, self.both / (first * second))) if first * second else None,
            column_overlap=self.columns / self.column_rank if self.column_rank else None,
            row_overlap=self.rows / self.row_rank if self.row_rank else None,
        )


def compare(first: Operand, second: Operand) -> Updates:
    """Compare the updates of two adapters, module by module; reads all factors once.

    Raises:
        UnsupportedError: an adapter whose update is no product of two factors, with the reason.
        IncompatibleError: shapes differ where both adapt a module.
        WeightsError: a file is damaged.
    """
    pairs = [_pairs(operand, source) for source, operand in enumerate((first, second))]
    modules = sorted(pairs[0].keys() | pairs[1].keys())
    sums: dict[str, _Sums] = {}
    with Sources([first.path, second.path]) as sources:
        for module in modules:
            both = [one[module] for one in pairs if module in one]
            _require_equal_shapes(module, both, (first, second))
            sums[module] = _compared(sources, both)
    layers = tuple(
        LayerComparison(
            layer,
            _added([sums[module] for module in members]).comparison(),
            tuple(
                ModuleComparison(
                    module, sums[module].comparison(), module in pairs[0], module in pairs[1]
                )
                for module in members
            ),
        )
        for layer, members in by_layer(modules).items()
    )
    return Updates(_added(list(sums.values())).comparison(), layers)


def _pairs(operand: Operand, source: int) -> dict[str, FactorPair]:
    kind = str(operand.config.get("peft_type") or "unknown").upper()
    if kind not in ALGEBRAS:
        raise UnsupportedError(
            f"{operand.quoted} is of PEFT type {quoted(kind)}, whose updates are not known here"
        )
    algebra = ALGEBRAS[kind]
    try:
        algebra.refuse(operand)
        return dict(algebra.pairs(operand, read_header(operand.path), source))
    except IncompatibleError as error:
        raise UnsupportedError(error.message, hint=error.hint) from error


def _require_equal_shapes(
    module: str, both: Sequence[FactorPair], operands: tuple[Operand, Operand]
) -> None:
    shapes = [(pair.groups, pair.a.shape[1:], pair.b.shape[0]) for pair in both]
    if shapes.count(shapes[0]) == len(shapes):
        return
    shown = [
        f"{operand.quoted} has A {list(pair.a.shape)}, B {list(pair.b.shape)}"
        for operand, pair in zip(operands, both, strict=True)
    ]
    raise IncompatibleError(
        f"the shapes differ at {quoted(module, 120)}: {' and '.join(shown)}",
        hint="adapters of different base models have no common weights to be compared at",
    )


def _added(parts: Sequence[_Sums]) -> _Sums:
    total: list[Any] = [sum(getattr(part, one.name) for part in parts) for one in fields(_Sums)]
    return _Sums(*total)


def _compared(sources: Sources, both: Sequence[FactorPair]) -> _Sums:
    from .gram import grams

    found = grams(sources, both)
    if len(both) == 2:
        return _added([_of_two(gram, both[0].scaling, both[1].scaling) for gram in found])
    square = sum(_square(gram, gram.spans[0], both[0].scaling) for gram in found)
    if both[0].source == 0:
        return _Sums(first=square, second=0.0, both=0.0, difference=square)
    return _Sums(first=0.0, second=square, both=0.0, difference=square)


def _square(gram: Gram, span: slice, scaling: float) -> float:
    return max(0.0, scaling**2 * float((gram.b[span, span] * gram.a[span, span]).sum()))


def _of_two(gram: Gram, first: float, second: float) -> _Sums:
    """Compare one group of a module, given the scalings of both."""
    one, other = gram.spans
    squares = _square(gram, one, first), _square(gram, other, second)
    both = first * second * float((gram.b[one, other] * gram.a[one, other]).sum())
    columns = _overlap(gram.b, one, other) if all(squares) else (0.0, 0)
    rows = _overlap(gram.a, one, other) if all(squares) else (0.0, 0)
    difference = max(0.0, squares[0] + squares[1] - 2 * both)
    return _Sums(*squares, both, difference, *columns, *rows)


def _overlap(gram: Matrix, one: slice, other: slice) -> tuple[float, int]:
    """The squared Frobenius norm of P^T Q for orthonormal bases, and the smaller rank."""
    p, q = _basis(gram[one, one]), _basis(gram[other, other])
    return float(((p.T @ gram[one, other] @ q) ** 2).sum()), min(p.shape[1], q.shape[1])


def _basis(gram: Matrix) -> Matrix:
    """C such that X C is orthonormal and spans what X does, of X's Gram matrix X^T X."""
    import numpy

    values, vectors = numpy.linalg.eigh(gram)
    kept = values > _NO_DIRECTION * max(values[-1], 0.0)
    return numpy.asarray(vectors[:, kept] / numpy.sqrt(values[kept]))

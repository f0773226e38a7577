"""Two adapters' updates compared: how large, how far apart, in which directions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from ..algebra import ALGEBRAS
from ..algebra.interface import FactorPair, Operand, UpdateLayout
from ..algebra.refused import REFUSED
from ..errors import IncompatibleError, UnsupportedError, quoted
from ..meaning.plan import by_layer
from .sources import Sources
from .tensorfile import read_header

if TYPE_CHECKING:
    from ..decomposition.updates import Update
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
            None where one of them is zero, or of a form that may fill the whole space (as most
            Kronecker products do).
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

    `first_adapts`, `second_adapts`: whether the adapter has tensors for the module at all.
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
    """Compare the updates of two adapters, module by module; they may be of different PEFT types.

    Each tensor is read once, and no update is held in memory as a whole. Values that replace the
    base model's beside updates are left out: `value_comparison` has them.

    Raises:
        UnsupportedError: an adapter whose update is not known without the base model.
        IncompatibleError: shapes differ where both adapt a module.
        WeightsError: a file is damaged.
    """
    layouts = [layouts_of(operand) for operand in (first, second)]
    modules = sorted(layouts[0].keys() | layouts[1].keys())
    sums: dict[str, _Sums] = {}
    with Sources([first.path, second.path]) as sources:
        for module in modules:
            both = [(n, one[module]) for n, one in enumerate(layouts) if module in one]
            _require_equal_shapes(module, both, (first, second))
            sums[module] = _compared(sources, both)
    layers = tuple(
        LayerComparison(
            layer,
            _added([sums[module] for module in members]).comparison(),
            tuple(
                ModuleComparison(
                    module, sums[module].comparison(), module in layouts[0], module in layouts[1]
                )
                for module in members
            ),
        )
        for layer, members in by_layer(modules).items()
    )
    return Updates(_added(list(sums.values())).comparison(), layers)


def layouts_of(operand: Operand) -> Mapping[str, UpdateLayout]:
    """Where the updates of an adapter lie, by module.

    Raises:
        UnsupportedError: they are not known without the base model, or not at all.
    """
    kind = str(operand.config.get("peft_type") or "unknown").upper()
    if kind not in ALGEBRAS:
        reason = f": it {REFUSED[kind].reason}" if kind in REFUSED else ""
        raise UnsupportedError(
            f"{operand.quoted} is of PEFT type {quoted(kind)}, whose updates are not known here"
            + reason
        )
    algebra = ALGEBRAS[kind]
    try:
        algebra.refuse(operand)
        return algebra.updates(operand, read_header(operand.path)).layouts
    except IncompatibleError as error:
        raise UnsupportedError(error.message, hint=error.hint) from error


def _require_equal_shapes(
    module: str, both: Sequence[tuple[int, UpdateLayout]], operands: tuple[Operand, Operand]
) -> None:
    shapes = [_shape(layout) for _, layout in both]
    if shapes.count(shapes[0]) == len(shapes):
        return
    shown = [
        f"{operand.quoted} changes {rows} x {columns} numbers"
        + (f" in {groups} groups" if groups > 1 else "")
        for operand, (rows, columns, groups) in zip(operands, shapes, strict=True)
    ]
    raise IncompatibleError(
        f"the shapes differ at {quoted(module, 120)}: {' and '.join(shown)}",
        hint="adapters of different base models have no common weights to be compared at",
    )


def _shape(layout: UpdateLayout) -> tuple[int, int, int]:
    if layout.form == "lora":
        a, b = layout.tensors["a"].shape, layout.tensors["b"].shape
        return b[0], math.prod(a[1:]), layout.groups
    return layout.bound.rows, layout.bound.columns, layout.groups


def _added(parts: Sequence[_Sums]) -> _Sums:
    total: list[Any] = [sum(getattr(part, one.name) for part in parts) for one in fields(_Sums)]
    return _Sums(*total)


def _compared(sources: Sources, both: Sequence[tuple[int, UpdateLayout]]) -> _Sums:
    if all(layout.form == "lora" for _, layout in both):
        return _of_pairs(sources, [_pair(source, layout) for source, layout in both])
    from .values import read_values

    updates = []
    for source, layout in both:
        tensors = {n: read_values(sources, source, e) for n, e in layout.tensors.items()}
        updates.append(layout.update(tensors)[0])
    if all(update.is_narrow for update in updates):
        return _of_grams([_gram(updates)], [1.0] * len(updates), both[0][0])
    return _of_products(updates, both[0][0])


def _pair(source: int, layout: UpdateLayout) -> FactorPair:
    tensors = layout.tensors
    return FactorPair(source, tensors["a"], tensors["b"], layout.scaling, layout.groups)


def _of_pairs(sources: Sources, pairs: Sequence[FactorPair]) -> _Sums:
    from .gram import grams

    return _of_grams(grams(sources, pairs), [pair.scaling for pair in pairs], pairs[0].source)


def _gram(updates: Sequence[Update]) -> Gram:
    """The Gram matrices of exact factors."""
    from .gram import Gram

    factors = [update.factors() for update in updates]
    ends = [sum(one.rank for one in factors[: n + 1]) for n in range(len(factors))]
    a = _stacked([one.a.numpy() for one in factors])
    b = _stacked([one.b.numpy().T for one in factors])
    spans = (slice(end - one.rank, end) for end, one in zip(ends, factors, strict=True))
    return Gram(a @ a.T, b @ b.T, tuple(spans))


def _stacked(parts: Sequence[Matrix]) -> Matrix:
    import numpy

    return numpy.concatenate(parts)


def _of_grams(found: Sequence[Gram], scalings: Sequence[float], first: int) -> _Sums:
    if len(scalings) == 2:
        return _added([_of_two(gram, *scalings) for gram in found])
    return _alone(sum(_square(gram, gram.spans[0], scalings[0]) for gram in found), first)


def _of_products(updates: Sequence[Update], first: int) -> _Sums:
    """Compare updates that may fill the whole space, so that there are no directions to share."""
    from ..decomposition.products import inner_products

    products = inner_products(updates).tolist()
    if len(updates) == 1:
        return _alone(products[0][0], first)
    (square, both), (_, other) = products
    return _Sums(square, other, both, max(0.0, square + other - 2 * both))


def _alone(square: float, source: int) -> _Sums:
    if source == 0:
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

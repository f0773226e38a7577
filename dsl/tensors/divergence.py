"""How far a composition lies from the exact sum of its updates, a layer at a time and in total."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..algebra.interface import FactorSum, Mixed, TensorSum
from ..meaning.plan import by_layer
from .sources import Sources

if TYPE_CHECKING:
    from ..decomposition.updates import Update
    from .gram import Gram

# A norm so much smaller than its summands' is what float32 factors leave of zero.
_NOTHING: Final = 1e-7


@dataclass(frozen=True, slots=True)
class Distance:
    """Two updates of the same weights compared: the exact sum's, and the composition's.

    Attributes:
        exact_norm, result_norm, difference_norm: Frobenius norms.
        relative: difference_norm / exact_norm; None where the exact sum is zero.
        cosine: of the angle between both; None where one of them is zero.
    """

    exact_norm: float
    result_norm: float
    difference_norm: float
    relative: float | None
    cosine: float | None

    @property
    def words(self) -> str:
        """The distance in a sentence."""
        if self.relative is None:
            what = f"this has norm {self.result_norm:.3g}" if self.result_norm else "so is this"
            return f"The exact sum of updates is zero, and {what}."
        if self.cosine is None:
            return "This changes nothing, but the exact sum of updates is not zero."
        return (
            f"Its distance from the exact sum of updates is {self.relative:.3f} of that sum's "
            f"norm, its cosine with it {self.cosine:.3f}."
        )


@dataclass(frozen=True, slots=True)
class ModuleDivergence:
    """The distance at one module, named as in the base model."""

    module: str
    distance: Distance


@dataclass(frozen=True, slots=True)
class LayerDivergence:
    """The distance over a layer (`model.layers.3`, or a module that is in none)."""

    layer: str
    distance: Distance
    modules: tuple[ModuleDivergence, ...]


@dataclass(frozen=True, slots=True)
class Divergence:
    """The distance over all modules, and layer by layer in the order of the model."""

    total: Distance
    layers: tuple[LayerDivergence, ...]


@dataclass(frozen=True, slots=True)
class _Squares:
    """Squared norms and the inner product; `size` is the square where nothing cancels out."""

    exact: float
    result: float
    difference: float
    both: float
    size: float

    def distance(self) -> Distance:
        exact, result = self._norm(self.exact), self._norm(self.result)
        difference = self._norm(self.difference)
        cosine = self.both / (exact * result) if exact and result else None
        return Distance(
            exact_norm=exact,
            result_norm=result,
            difference_norm=difference,
            relative=difference / exact if exact else None,
            cosine=None if cosine is None else max(-1.0, min(1.0, cosine)),
        )

    def _norm(self, square: float) -> float:
        norm = math.sqrt(max(square, 0.0))
        return norm if norm > _NOTHING * math.sqrt(self.size) else 0.0


def divergence(paths: Sequence[Path], sums: Sequence[Mixed]) -> Divergence:
    """Measure a composition against the exact sum, before rounding to the result's dtype.

    Reads all factors once, one module at a time, and makes nothing larger than some megabytes.

    Args:
        paths: the files that the sums' sources number.
        sums: how tensors are mixed, at least one module.

    Raises:
        WeightsError: a file cannot be read or became shorter.
    """
    squares: dict[str, _Squares] = {}
    with Sources(paths) as sources:
        for mixed in sums:
            squares[mixed.module] = _measured(sources, mixed)
    layers = tuple(
        LayerDivergence(
            layer,
            _added([squares[module] for module in modules]).distance(),
            tuple(ModuleDivergence(module, squares[module].distance()) for module in modules),
        )
        for layer, modules in by_layer(squares).items()
    )
    return Divergence(_added(list(squares.values())).distance(), layers)


def _added(parts: Sequence[_Squares]) -> _Squares:
    return _Squares(*(sum(getattr(part, one.name) for part in parts) for one in fields(_Squares)))


def _measured(sources: Sources, mixed: Mixed) -> _Squares:
    if isinstance(mixed, TensorSum):
        return _of_tensors(sources, mixed)
    from .gram import grams

    return _added([_squares(gram, mixed) for gram in grams(sources, mixed.pairs)])


def _squares(gram: Gram, mixed: FactorSum) -> _Squares:
    """The inner products of one group of a module, all pairs having one rank."""
    import numpy

    count = len(gram.spans)
    shape = (count, gram.spans[0].stop) * 2
    a, b = gram.a.reshape(shape), gram.b.reshape(shape)
    in_a, in_b, weights = (numpy.array(w) for w in (mixed.in_a, mixed.in_b, mixed.exact))
    # Of the sum of factors: its products with every A_i and with every B_i.
    with_a = numpy.einsum("ipjq,j->ipq", a, in_a)
    with_b = numpy.einsum("ipjq,j->ipq", b, in_b)
    exact = float(weights @ numpy.einsum("ipjq,ipjq->ij", a, b) @ weights)
    both = float(weights @ numpy.einsum("ipq,ipq->i", with_a, with_b))
    result = float((numpy.tensordot(in_a, with_a, 1) * numpy.tensordot(in_b, with_b, 1)).sum())
    squares = numpy.einsum("ipiq,jpjq->ij", b, a).clip(0.0)
    most = numpy.abs(numpy.outer(in_b, in_a)) + numpy.diag(numpy.abs(weights))
    return _Squares(
        exact=exact,
        result=result,
        difference=exact + result - 2 * both,
        both=both,
        size=float((most * numpy.sqrt(squares)).sum()) ** 2,
    )


def _of_tensors(sources: Sources, mixed: TensorSum) -> _Squares:
    """The inner products of the updates of all parts, and of what their summed tensors make."""
    import torch

    from ..decomposition.products import inner_products
    from .values import read_values

    updates: list[Update] = []
    summed: dict[str, torch.Tensor] = {}
    for (source, layout), coefficient in zip(mixed.layouts, mixed.coefficients, strict=True):
        tensors = {
            name: read_values(sources, source, entry).double()
            for name, entry in layout.tensors.items()
        }
        updates += layout.update(tensors)
        for name, values in tensors.items():
            part = coefficient * values
            summed[name] = summed[name] + part if name in summed else part
    (result,) = layout.update(summed)
    products = inner_products([*updates, result])
    weights = torch.tensor(mixed.coefficients, dtype=torch.float64)
    exact = float(weights @ products[:-1, :-1] @ weights)
    both = float(weights @ products[:-1, -1])
    sizes = products.diagonal().clamp(min=0).sqrt()
    return _Squares(
        exact=exact,
        result=float(products[-1, -1]),
        difference=exact + float(products[-1, -1]) - 2 * both,
        both=both,
        size=float(weights.abs() @ sizes[:-1] + sizes[-1]) ** 2,
    )

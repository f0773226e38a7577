"""Sums of LoRA adapters as blocks: of the factors, each on its own, or of the updates.

The update of a module is s B A with scaling s. `exact` gives the sum of the updates: the A_i on top
of each other, the c_i s_i B_i side by side, so that their product is sum c_i s_i B_i A_i. The
other rules sum A and B each on its own, which is right around a shared initialisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ..errors import IncompatibleError, quoted
from ..tensors.tensorfile import DTYPE_BYTES, TensorEntry
from .interface import Block, Column, ComposedTensor, FactorSum, Operand, Piece
from .lora_layout import EMBEDDINGS, SUFFIXES, Factors
from .lora_rules import Rule
from .modules import PREFIX
from .scaling import Scaling

EXACT_HINT: Final = (
    "write exact(...) around the expression, or --semantics exact: "
    "it sums the updates themselves, at the price of a larger rank"
)


@dataclass(frozen=True, slots=True)
class Part:
    """What one adapter brings to a module: a coefficient that is not zero, and its factors."""

    operand: Operand
    source: int
    coefficient: Fraction
    factors: Factors


@dataclass(frozen=True, slots=True)
class ModuleSum:
    """The two tensors of a module of the result, and the scaling they are to be used with.

    `mixed` says how they mix the parts' factors; None where they do not.
    """

    tensors: tuple[ComposedTensor, ComposedTensor]
    scaling: Scaling
    mixed: FactorSum | None = None


@dataclass(frozen=True, slots=True)
class _Weights:
    """What the factors of a module are multiplied with, and in the exact sum their product."""

    in_a: tuple[float, ...]
    in_b: tuple[float, ...]
    in_update: tuple[float, ...]
    exact: tuple[float, ...]
    scaling: Scaling


class Weighing:
    """The weights that a rule gives, found once for all modules that have the same."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._known: dict[tuple[int, ...], tuple[Sequence[Part], _Weights]] = {}

    def weights(self, parts: Sequence[Part]) -> _Weights:
        """The weights of the parts of one module."""
        # Fractions take long to compare and to hash. What is kept beside keeps its identity.
        key = tuple(id(one) for part in parts for one in (part.coefficient, part.factors.scaling))
        if key not in self._known:
            self._known[key] = parts, self._found(parts)
        return self._known[key][1]

    def _found(self, parts: Sequence[Part]) -> _Weights:
        scaling = parts[0].factors.scaling
        if not self.rule.keeps_scaling:
            scaling = Scaling(Fraction(scaling.rank), scaling.rank)
        weights = [self.rule.weights(part.coefficient, part.factors.scaling) for part in parts]
        return _Weights(
            in_a=tuple(a for a, _ in weights),
            in_b=tuple(b for _, b in weights),
            in_update=tuple(b * scaling.rounded for _, b in weights),
            exact=tuple(float(part.coefficient * part.factors.scaling.value) for part in parts),
            scaling=scaling,
        )


def factorwise(weighing: Weighing, module: str, parts: Sequence[Part]) -> ModuleSum:
    """A and B summed each on its own, with the weights that a rule gives them.

    Raises:
        IncompatibleError: ranks, scalings that must be equal, or shapes differ.
    """
    _require_equal_ranks(weighing.rule, module, parts)
    _require_equal_shapes(module, parts)
    kind, weights = parts[0].factors.kind, weighing.weights(parts)
    tensors = [
        _tensor(module, kind, factor, entries[0].shape, [_sum(parts, entries, in_factor)])
        for factor, (entries, in_factor) in enumerate(
            zip(_both(parts), (weights.in_a, weights.in_b), strict=True)
        )
    ]
    mixed = FactorSum(
        module,
        pairs=tuple(part.factors.pair(part.source) for part in parts),
        in_a=weights.in_a,
        in_b=weights.in_update,
        exact=weights.exact,
    )
    return ModuleSum((tensors[0], tensors[1]), weights.scaling, mixed)


def exact(module: str, parts: Sequence[Part]) -> ModuleSum:
    """A stacked along the rank, B beside each other times c_i s_i; the scaling is 1.

    Raises:
        IncompatibleError: shapes differ in more than the rank.
    """
    _require_equal_shapes(module, parts)
    first = parts[0].factors
    rank = sum(part.factors.scaling.rank for part in parts)
    # A group of a convolution has its own slice of every A, and these must stay together.
    stacked = [_slice(part, group) for group in range(first.groups) for part in parts]
    beside = tuple(
        Column(
            part.factors.b.elements // first.b.shape[0],
            (_piece(part, part.factors.b, part.factors.scaling.times(part.coefficient)),),
        )
        for part in parts
    )
    shape_b = (first.b.shape[0], rank // first.groups, *first.b.shape[2:])
    return ModuleSum(
        (
            _tensor(module, first.kind, 0, (rank, *first.a.shape[1:]), stacked),
            _tensor(module, first.kind, 1, shape_b, [Block(first.b.shape[0], beside)]),
        ),
        Scaling(Fraction(rank), rank),
    )


def _both(parts: Sequence[Part]) -> tuple[list[TensorEntry], list[TensorEntry]]:
    return [part.factors.a for part in parts], [part.factors.b for part in parts]


def _tensor(
    module: str, kind: str, factor: int, shape: tuple[int, ...], blocks: Iterable[Block]
) -> ComposedTensor:
    return ComposedTensor(PREFIX + module + SUFFIXES[kind][factor], shape, tuple(blocks))


def _sum(
    parts: Sequence[Part], entries: Sequence[TensorEntry], coefficients: Sequence[float]
) -> Block:
    pieces = [
        Piece(part.source, entry.start, entry.dtype, coefficient)
        for part, entry, coefficient in zip(parts, entries, coefficients, strict=True)
    ]
    return Block(entries[0].elements, (Column(1, tuple(pieces)),))


def _slice(part: Part, group: int) -> Block:
    entry = part.factors.a
    elements = entry.elements // part.factors.groups
    skipped = group * elements * DTYPE_BYTES[entry.dtype]
    piece = Piece(part.source, entry.start + skipped, entry.dtype, 1.0)
    return Block(elements, (Column(1, (piece,)),))


def _piece(part: Part, entry: TensorEntry, coefficient: float) -> Piece:
    return Piece(part.source, entry.start, entry.dtype, coefficient)


def _require_equal_ranks(rule: Rule, module: str, parts: Sequence[Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        ours, theirs = first.factors.scaling, part.factors.scaling
        if ours is theirs:
            continue
        if ours.rank != theirs.rank:
            what, values = "ranks", (str(ours.rank), str(theirs.rank))
        elif rule.keeps_scaling and ours.signed_square != theirs.signed_square:
            what, values = "scalings", (str(ours), str(theirs))
        else:
            continue
        raise IncompatibleError(
            f"{rule.name} sums need equal {what}, but at {quoted(module, 120)} "
            f"{first.operand.quoted} has {values[0]} and {part.operand.quoted} has {values[1]}",
            hint=EXACT_HINT,
        )


def _require_equal_shapes(module: str, parts: Sequence[Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        ours, theirs = first.factors, part.factors
        if ours is theirs or _outer_shape(ours) == _outer_shape(theirs):
            continue
        names = f"{first.operand.quoted} and {part.operand.quoted}"
        words = _vocabulary(module, ours), _vocabulary(module, theirs)
        if words[0] is not None and words[1] is not None and words[0] != words[1]:
            raise IncompatibleError(
                f"{names} have vocabularies of different sizes at {quoted(module, 120)}: "
                f"{words[0]} and {words[1]}",
                hint="tokens were added to one of the models; only adapters of one vocabulary "
                "can be composed",
            )
        raise IncompatibleError(
            f"{names} have factors of different shapes at {quoted(module, 120)}: "
            f"{_shown(ours)} and {_shown(theirs)}",
            hint="adapters of different base models cannot be composed",
        )


def _outer_shape(factors: Factors) -> tuple[object, ...]:
    """All that must agree for the updates to be summed: everything but the rank."""
    a, b = factors.a.shape, factors.b.shape
    return factors.kind, factors.groups, a[1:], b[0], b[2:]


def _vocabulary(module: str, factors: Factors) -> int | None:
    if factors.kind == "embedding":
        return factors.a.shape[1]
    return factors.b.shape[0] if module.rpartition(".")[2] in EMBEDDINGS else None


def _shown(factors: Factors) -> str:
    groups = f" in {factors.groups} groups" if factors.groups > 1 else ""
    return f"{factors.kind} A {list(factors.a.shape)}, B {list(factors.b.shape)}{groups}"

"""What an algebra of a PEFT type takes and gives, and the blocks that its sums are made of.

An algebra knows one PEFT type: what its tensors mean, when adapters of it can be summed, and which
sums of slices of files make the tensors of the result. It never touches a tensor's values: it
describes them as blocks, and the executor, which knows no PEFT type, computes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from ..decomposition.interface import Bound
from ..errors import quoted
from ..meaning.plan import Atom, Term
from ..tensors.tensorfile import Header, TensorEntry

if TYPE_CHECKING:
    from torch import Tensor

    from ..decomposition.updates import Update
    from .replaced import Replaced


@dataclass(frozen=True, slots=True)
class Inspection:
    """What weights and configuration say about an adapter.

    `rank` and `alpha` are None where the type has none or modules differ in alpha; a rank that
    differs between modules is given as the largest. `dtype` joins several by "+".
    """

    peft_type: str
    rank: int | None
    alpha: float | None
    modules: tuple[str, ...]
    parameters: int
    dtype: str


@dataclass(frozen=True)
class Operand:
    """An adapter as the tensor stages need it.

    Args:
        key: its identity by content.
        label: how messages name it, for example `xlsum-en@v2`.
        path: its canonical weights.
        config: its adapter_config.json as parsed.
        tokenizer_digest: of the tokenizer it was trained with; None when that is not known.
        is_there: whether the file is; until it has been made, only its header is known.
    """

    key: Atom
    label: str
    path: Path
    config: Mapping[str, Any]
    tokenizer_digest: str | None = None
    is_there: bool = True

    @property
    def quoted(self) -> str:
        """The label in quotes, for messages."""
        return quoted(self.label, 120)


@dataclass(frozen=True)
class Summand:
    """An operand with its header, its number among the blueprint's sources, and its terms."""

    operand: Operand
    header: Header
    source: int
    terms: tuple[Term, ...]

    def coefficient(self, module: str) -> Fraction:
        """The sum of the coefficients of the terms that keep a module (named as in the base)."""
        if not self._is_filtered:
            return self._unfiltered
        return sum((t.coefficient for t in self.terms if keeps(t, module)), Fraction(0))

    @cached_property
    def _is_filtered(self) -> bool:
        return any(term.filters for term in self.terms)

    @cached_property
    def _unfiltered(self) -> Fraction:
        return sum((term.coefficient for term in self.terms), Fraction(0))


def keeps(term: Term, module: str) -> bool:
    """Whether all filters of a term keep a module (named as in the base)."""
    return all(kept.keeps(module) for kept in term.filters)


# There are thousands of these in a blueprint, and tuples are made in half the time.
class Piece(NamedTuple):
    """Contiguous elements of a source file times a coefficient (a float32 value).

    `start` is the absolute position in bytes of the first element of the block's first row.
    """

    source: int
    start: int
    dtype: str
    coefficient: float


@dataclass(frozen=True, slots=True)
class Column:
    """`width` elements in every row of a block, each the sum of the pieces in their order.

    With an `origin` o it is an affine sum: o + the sum of coefficient * (element - o).
    """

    width: int
    pieces: tuple[Piece, ...]
    origin: float = 0.0


@dataclass(frozen=True, slots=True)
class Block:
    """Rows made of columns side by side; a column's pieces hold its rows one after another."""

    rows: int
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Elements in a row."""
        return sum(column.width for column in self.columns)


@dataclass(frozen=True, slots=True)
class ComposedTensor:
    """A tensor of the result: the elements of its blocks, one block after another."""

    name: str
    shape: tuple[int, ...]
    blocks: tuple[Block, ...]


class FactorPair(NamedTuple):
    """An update of one module as scaling times B times A, and where the factors lie.

    `a` is of shape (rank, ...) and `b` of shape (out, rank / groups, ...): a convolution in groups
    has one product a group, of rank / groups rows of A and out / groups rows of B.
    """

    source: int
    a: TensorEntry
    b: TensorEntry
    scaling: float
    groups: int


@dataclass(frozen=True)
class UpdateLayout:
    """Where the tensors lie that make the true update of one module, and how they make it.

    Args:
        form: how, as `decomposition.updates` names it.
        tensors: by the names that the form takes, all in one file.
        scaling: what the update is multiplied with.
        groups: of a convolution; each has an update of its own.
        kind: "linear" (also convolutions) or "embedding", as LoRA tells them apart.
        kernel: the sizes of a convolution's kernel, where the tensors show them.
    """

    form: str
    tensors: Mapping[str, TensorEntry]
    scaling: float
    groups: int = 1
    kind: str = "linear"
    kernel: tuple[int, ...] = ()

    def update(self, tensors: Mapping[str, Tensor]) -> tuple[Update, ...]:
        """The update, one for each group, made of the tensors' values."""
        from ..decomposition.updates import FORMS

        return FORMS[self.form](tensors, self.scaling, self.groups)

    @cached_property
    def bound(self) -> Bound:
        """What is known of the update of a group, from the shapes alone."""
        import torch

        from ..decomposition.kronecker import halves_shapes

        shapes = {
            name: torch.empty(entry.shape, device="meta") for name, entry in self.tensors.items()
        }
        first = self.update(shapes)[0]
        return Bound(*first.shape, first.rank, halves_shapes(first))


@dataclass(frozen=True, slots=True)
class ModuleUpdates:
    """The true update of every module (named as in the base model), and what is replaced beside."""

    layouts: Mapping[str, UpdateLayout]
    beside: Replaced


@dataclass(frozen=True, slots=True)
class FactorSum:
    """A sum that mixes factors: (sum of in_b[i] B_i) (sum of in_a[j] A_j) at one module.

    `exact` holds the factors of the true sum, sum of exact[i] B_i A_i. All pairs have one rank;
    the scaling of the result is in `in_b`.
    """

    module: str
    pairs: tuple[FactorPair, ...]
    in_a: tuple[float, ...]
    in_b: tuple[float, ...]
    exact: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TensorSum:
    """A sum that takes each tensor of a module on its own, though its update is a product of them.

    `layouts` says for each part the number of its file and how its update is made: all of one form,
    with one scaling, from tensors of equal shapes, which are summed with the `coefficients`.
    """

    module: str
    layouts: tuple[tuple[int, UpdateLayout], ...]
    coefficients: tuple[float, ...]


Mixed: TypeAlias = FactorSum | TensorSum
"""How a module's update differs from the sum of updates."""


@dataclass(frozen=True)
class Composition:
    """What an algebra gives: tensors sorted by name, adapter_config fields, and the rank.

    `rank` is None for a type that has none. `sums` describes how tensors were mixed that an update
    is a product of, module by module; empty where none were.
    """

    tensors: tuple[ComposedTensor, ...]
    config: Mapping[str, Any]
    rank: int | None
    sums: tuple[Mixed, ...] = ()


class Algebra(Protocol):
    """The arithmetic of one PEFT type."""

    def inspect(self, config: Mapping[str, Any], header: Header) -> Inspection:
        """Check that tensors and configuration belong together, and say what they are.

        Raises:
            IncompatibleError: they do not.
        """
        ...

    def refuse(self, operand: Operand) -> None:
        """Look at a configuration alone.

        Raises:
            IncompatibleError: it has something that cannot be composed rightly.
        """
        ...

    def updates(self, operand: Operand, header: Header) -> ModuleUpdates:
        """Where the true update of every module lies.

        Raises:
            IncompatibleError: there is no update without the base model.
        """
        ...

    def compose(self, semantics: str, summands: Sequence[Summand]) -> Composition:
        """Describe the sum under the named semantics.

        Raises:
            IncompatibleError: the adapters cannot be summed, with what to do.
        """
        ...

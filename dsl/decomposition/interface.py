"""What a function of updates is: what it gives, and what it needs, known from headers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from ..algebra.interface import UpdateLayout
    from .updates import Update

Options: TypeAlias = Mapping[str, Fraction | str]
"""All options of a call by name, defaults filled in; those that are not given are missing."""

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Shapes of a module's tensors by what their names have after the module's."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What the shapes of an update's tensors say of it.

    Attributes:
        rows, columns: of the update.
        rank: the most that it can have: that of its exact factors.
        halves: the shapes that the halves of Kronecker products have; None for anything else.
        terms: how many of them are summed.
    """

    rows: int
    columns: int
    rank: int
    halves: tuple[tuple[int, int], tuple[int, int]] | None = None
    terms: int = 1

    def __add__(self, other: Bound) -> Bound:
        """What is known of the sum."""
        halves = self.halves if self.halves == other.halves else None
        terms = self.terms + other.terms
        return Bound(self.rows, self.columns, self.rank + other.rank, halves, terms)

    @property
    def is_narrow(self) -> bool:
        """Whether its exact factors are smaller than its shorter side."""
        return self.rank < min(self.rows, self.columns)

    @property
    def is_dense(self) -> bool:
        """Whether all its elements must be made to find its singular values."""
        return not self.is_narrow and not self.is_kronecker

    @property
    def is_kronecker(self) -> bool:
        """Whether it is a single Kronecker product."""
        return self.halves is not None and self.terms == 1


class Found(Protocol):
    """What was found at a module, and how far it lies from what was looked for.

    Attributes:
        rank: of the result.
        relative_error: Frobenius norm of what was lost over that of the update; 0 for zero.
        norm: Frobenius norm of the update before.
    """

    @property
    def rank(self) -> int: ...  # noqa: D102
    @property
    def relative_error(self) -> float: ...  # noqa: D102
    @property
    def norm(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class ResultForm:
    """How results are written: as tensors of which names and shapes, under which configuration.

    Attributes:
        peft_type: of the resulting adapter.
        ranks: given the options and what was found (or the most that it can be) by module, the rank
            that each module's tensors are to have.
        shapes: of a module's tensors at a rank, given the layout of one of its operands.
        tensors: what was found at a module, as such tensors in float32.
        config: the result's adapter_config, with a scaling of 1, given the operands'
            configurations, their modules, and the ranks by module.
    """

    peft_type: str
    ranks: Callable[[Options, Mapping[str, int]], Mapping[str, int]]
    shapes: Callable[[UpdateLayout, int], Shapes]
    tensors: Callable[[UpdateLayout, Any, int], Mapping[str, Tensor]]
    config: Callable[
        [Sequence[Mapping[str, Any]], Sequence[frozenset[str]], Mapping[str, int]], dict[str, Any]
    ]


@dataclass(frozen=True, slots=True)
class UpdateFunction:
    """A function of the true updates of its operands, one module at a time.

    Attributes:
        name: as in the list of functions.
        result: how its results are written.
        rank: the largest rank that the result can have at a module.
        memory_bytes: the most that computing a module takes, its operands' tensors not counted.
        compute: the result at a module, given the operands' updates and the module's name. An
            operand that does not adapt the module has an update without terms.
    """

    name: str
    result: ResultForm
    rank: Callable[[Options, Sequence[Bound]], int]
    memory_bytes: Callable[[Options, Sequence[Bound]], int]
    compute: Callable[[Options, Sequence[Update], str], Found]

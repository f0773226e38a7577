"""What a function of updates is: what it gives, and what it needs, known from headers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .truncation import Truncation
    from .updates import Update

Options: TypeAlias = Mapping[str, Fraction | int | str]
"""All options of a call with defaults filled in; optional ones that are not given are missing."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What the shapes of an update's tensors say of it; `rank` is the most it can have."""

    rows: int
    columns: int
    rank: int

    @property
    def is_narrow(self) -> bool:
        """Whether its exact factors are smaller than its shorter side."""
        return self.rank < min(self.rows, self.columns)


@dataclass(frozen=True, slots=True)
class UpdateFunction:
    """A function of the true updates of its operands, one module at a time.

    Attributes:
        name: as in the list of functions.
        rank: the largest rank that the result can have at a module.
        memory_bytes: the most that computing a module takes, its operands' tensors not counted.
        compute: the result at a module, given the operands' updates and the module's name.
    """

    name: str
    rank: Callable[[Options, Sequence[Bound]], int]
    memory_bytes: Callable[[Options, Sequence[Bound]], int]
    compute: Callable[[Options, Sequence[Update], str], Truncation]

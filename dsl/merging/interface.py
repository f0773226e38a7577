"""What a merge method is: a function of tensors of one shape that gives another one of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

Options: TypeAlias = Mapping[str, Fraction | str]
"""All options of a call by name, defaults filled in."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a composition a method is at work.

    Attributes:
        tensor: the name of the tensor, or of the module whose update it is.
        operands: what the operands are, as digests of their canonical forms.
        weights: the sum of the coefficients in each operand.
    """

    tensor: str
    operands: tuple[str, ...]
    weights: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge method.

    Attributes:
        name: as in the list of functions.
        compute: given one float32 tensor an operand, all of one shape, it returns a new float32
            tensor of that shape. The sequence may make a tensor anew each time it is asked for one,
            so that a method holds few of them at once.
        held: how many float32 tensors of that shape it holds at the most, the result included.
        tolerance: how far, relative to the norm of a tensor, results may differ between machines;
            None where they are the same to the bit.
    """

    name: str
    compute: Callable[[Sequence[torch.Tensor], Options, Place], torch.Tensor]
    held: float
    tolerance: float | None = None

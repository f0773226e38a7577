"""Which values of a tensor are the largest in magnitude: so many, and always the same ones."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Final

import torch

_PART: Final = 1 << 20


def share(density: Fraction, elements: int) -> int:
    """How many elements a share is: rounded down, as PEFT and mergekit do.

    Both compute it in floating point, where 0.29 of 100 comes to 28; here it is 29.

    >>> share(Fraction(29, 100), 100), share(Fraction(1, 3), 10)
    (29, 3)
    """
    return floor(density * elements)


def largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Whether each value is among the `count` that are largest in magnitude.

    Of values of equal magnitude the first ones are taken, so that the outcome is the same on any
    machine; `torch.topk` leaves that open.

    Args:
        values: float32, of any shape, contiguous.
        count: from 0 to the number of values.

    Returns:
        A bool tensor of that shape with `count` times True.
    """
    elements = values.numel()
    if count >= elements:
        return torch.ones_like(values, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(values, dtype=torch.bool)
    flat = values.flatten()
    threshold = _threshold(flat, elements - count)
    chosen = torch.empty(elements, dtype=torch.bool)
    at_threshold = []
    for first in range(0, elements, _PART):
        sizes = flat[first : first + _PART].abs()
        torch.gt(sizes, threshold, out=chosen[first : first + _PART])
        at_threshold.append((sizes == threshold).nonzero().flatten() + first)
    missing = count - int(chosen.count_nonzero())
    chosen[torch.cat(at_threshold)[:missing]] = True
    return chosen.view(values.shape)


def _threshold(flat: torch.Tensor, place: int) -> float:
    """The magnitude at a place in the order of magnitudes, from 0."""
    ordered = flat.abs().numpy()
    ordered.partition(place)
    return float(ordered[place])

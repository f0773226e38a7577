"""TIES: trim, elect a sign for every value, and average those that have it.

Yadav et al. 2023, arXiv:2306.01708, algorithm 1. With `normalize=count` it is `ties` of PEFT's
merge_utils for weights of 1, with `normalize=weight` and `normalize=none` mergekit's `ties` with
`normalize: true` and `false`. Coefficients are part of the operands: `ties(0.7*a, 0.3*b)` trims,
elects and averages 0.7 a and 0.3 b. So does mergekit; PEFT elects before it multiplies, so that its
weights, and above all their signs, have no say in the election.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

import numpy
import torch
from numpy.typing import NDArray

from .interface import Merge, Options, Place
from .selection import Values, largest, share

# mergekit's: where the weights of those that agree cancel out, the sum is not divided.
_NO_WEIGHT: Final = 1e-8
_PART: Final = 1 << 20


def ties(
    tensors: Sequence[torch.Tensor],
    density: Fraction,
    *,
    majority_sign_method: str = "total",
    normalize: str = "count",
    weights: Sequence[Fraction] = (),
) -> torch.Tensor:
    """Merge tensors by trimming, electing signs, and averaging what agrees.

    Sums are made in float32, one tensor after the other. An election that ends in a draw elects
    plus, as in PEFT and mergekit.

    Args:
        tensors: at least one, float32, of one shape.
        density: the share of values that each keeps, above 0 and at most 1.
        majority_sign_method: `total` elects the sign of the sum, `frequency` that of most values.
        normalize: what the sum of values with the elected sign is divided by: their number
            (`count`), the sum of their weights (`weight`), or nothing (`none`).
        weights: one a tensor, for `normalize="weight"` alone.
    """
    elected = _elected(tensors, density, majority_sign_method)
    plus = elected.reshape(-1)
    total = numpy.zeros(plus.shape, dtype=numpy.float32)
    divisor = numpy.zeros(plus.shape, dtype=numpy.float32)
    for number in range(len(tensors)):
        weight = numpy.float32(float(weights[number]) if normalize == "weight" else 1.0)
        for part, kept in _trimmed_parts(tensors[number], density):
            agrees = numpy.where(plus[part], kept > 0, kept < 0)
            numpy.add(total[part], kept, out=total[part], where=agrees)
            numpy.add(divisor[part], weight, out=divisor[part], where=agrees)
    if normalize != "none":
        numpy.divide(total, divisor, out=total, where=numpy.abs(divisor) >= _NO_WEIGHT)
    return torch.from_numpy(total.reshape(elected.shape))


def _elected(
    tensors: Sequence[torch.Tensor], density: Fraction, method: str
) -> NDArray[numpy.bool_]:
    """Where the elected sign is plus."""
    votes: Values | None = None
    for number in range(len(tensors)):
        values = tensors[number]
        if votes is None:
            votes = numpy.zeros(tuple(values.shape), dtype=numpy.float32)
        flat = votes.reshape(-1)
        for part, kept in _trimmed_parts(values, density):
            flat[part] += numpy.sign(kept) if method == "frequency" else kept
        del values
    if votes is None:
        raise ValueError("TIES takes at least one tensor")
    plus: NDArray[numpy.bool_] = votes >= 0
    return plus


def _trimmed_parts(values: torch.Tensor, density: Fraction) -> Iterator[tuple[slice, Values]]:
    """A tensor trimmed, flat, some of it at a time: it may be as large as all that can be held."""
    flat = values.numpy().reshape(-1)
    chosen = largest(flat, share(density, flat.size))
    for first in range(0, flat.size, _PART):
        part = slice(first, first + _PART)
        yield part, numpy.where(chosen[part], flat[part], numpy.float32(0))


def _compute(tensors: Sequence[torch.Tensor], options: Options, place: Place) -> torch.Tensor:
    return ties(
        tensors,
        Fraction(options["density"]),
        majority_sign_method=str(options["majority_sign_method"]),
        normalize=str(options["normalize"]),
        weights=place.weights,
    )


TIES = Merge("ties", _compute, held=6.5)
"""The method for the list of methods."""

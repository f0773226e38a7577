"""TIES: trim, elect a sign for every value, and average those that have it.

Yadav et al. 2023, arXiv:2306.01708, algorithm 1. With `normalize=count` it is `ties` of PEFT's
merge_utils for weights of 1, with `normalize=weight` and `normalize=none` mergekit's `ties` with
`normalize: true` and `false`. Coefficients are part of the operands: `ties(0.7*a, 0.3*b)` trims,
elects and averages 0.7 a and 0.3 b. So does mergekit; PEFT elects before it multiplies, so that its
weights, and above all their signs, have no say in the election.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy
import torch
from numpy.typing import NDArray

from .interface import Merge, Options, Place
from .selection import Values
from .trim import trimmed

# mergekit's: where the weights of those that agree cancel out, the sum is not divided.
_NO_WEIGHT = 1e-8


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
    plus = _elected(tensors, density, majority_sign_method)
    total = numpy.zeros(plus.shape, dtype=numpy.float32)
    divisor = numpy.zeros(plus.shape, dtype=numpy.float32)
    # Tensors are asked for by number and not kept: each may be as large as all that is to be held.
    for number in range(len(tensors)):
        kept = trimmed(tensors[number].numpy(), density)
        agrees = numpy.where(plus, kept > 0, kept < 0)
        numpy.add(total, kept, out=total, where=agrees)
        del kept
        if normalize != "none":
            weight = float(weights[number]) if normalize == "weight" else 1.0
            numpy.add(divisor, numpy.float32(weight), out=divisor, where=agrees)
    if normalize != "none":
        numpy.divide(total, divisor, out=total, where=numpy.abs(divisor) >= _NO_WEIGHT)
    return torch.from_numpy(total)


def _elected(
    tensors: Sequence[torch.Tensor], density: Fraction, method: str
) -> NDArray[numpy.bool_]:
    """Where the elected sign is plus."""
    votes = _vote(tensors[0], density, method)
    for number in range(1, len(tensors)):
        votes += _vote(tensors[number], density, method)
    plus: NDArray[numpy.bool_] = votes >= 0
    return plus


def _vote(values: torch.Tensor, density: Fraction, method: str) -> Values:
    kept = trimmed(values.numpy(), density)
    return numpy.sign(kept, out=kept) if method == "frequency" else kept


def _compute(tensors: Sequence[torch.Tensor], options: Options, place: Place) -> torch.Tensor:
    return ties(
        tensors,
        Fraction(options["density"]),
        majority_sign_method=str(options["majority_sign_method"]),
        normalize=str(options["normalize"]),
        weights=place.weights,
    )


TIES = Merge("ties", _compute, held=6)
"""The method for the list of methods."""

"""SLERP: from one tensor to another along the arc between them, as vectors.

Shoemake 1985; mergekit's `slerp`, whose `t` it has, and whose treatment of vectors that point
nearly the same or opposite ways, between which an arc is not defined: straight on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy
import torch

from .inner import inner
from .interface import Merge, Options, Place

# mergekit's DOT_THRESHOLD.
_ALIKE: Final = 0.9995
_PART: Final = 1 << 20


def slerp(x: torch.Tensor, y: torch.Tensor, t: float) -> torch.Tensor:
    """The point of an arc: x at t = 0, y at t = 1, in between sums of both.

    sin((1 - t) a) / sin(a) x + sin(t a) / sin(a) y, for the angle a between x and y. The vectors
    keep their lengths.

    Args:
        x, y: float32, of one shape.
        t: from 0 to 1.

    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), 0.5).tolist()
    [0.7071067690849304, 1.4142135381698608]
    """
    first, second = weights(x, y, t)
    result = numpy.multiply(x.numpy(), numpy.float32(first), order="C")
    added = y.numpy().reshape(-1)
    flat = result.reshape(-1)
    for start in range(0, flat.size, _PART):
        flat[start : start + _PART] += added[start : start + _PART] * numpy.float32(second)
    return torch.from_numpy(result)


def weights(x: torch.Tensor, y: torch.Tensor, t: float) -> tuple[float, float]:
    """What x and y are multiplied with."""
    lengths = math.sqrt(inner(x, x)) * math.sqrt(inner(y, y))
    cosine = inner(x, y) / lengths if lengths else 0.0
    if abs(cosine) > _ALIKE:
        return 1 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _compute(tensors: Sequence[torch.Tensor], options: Options, place: Place) -> torch.Tensor:
    return slerp(tensors[0], tensors[1], float(Fraction(options["t"])))


SLERP = Merge("slerp", _compute, held=4, tolerance=1e-4)
"""The method for the list of methods."""

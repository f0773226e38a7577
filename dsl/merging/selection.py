"""Which values are the largest in magnitude: so many, and always the same ones.

numpy computes this in the thread that asks. torch would spread each of these short operations over
threads of its own, which takes longer than the operation, and far longer on a busy machine.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Final, TypeAlias

import numpy
from numpy.typing import NDArray

Values: TypeAlias = NDArray[numpy.float32]

_PART: Final = 1 << 20


def share(density: Fraction, elements: int) -> int:
    """How many elements a share is: rounded down, as PEFT and mergekit do.

    Both compute it in floating point, where 0.29 of 100 comes to 28; here it is 29.

    >>> share(Fraction(29, 100), 100), share(Fraction(1, 3), 10)
    (29, 3)
    """
    return floor(density * elements)


def largest(values: Values, count: int) -> NDArray[numpy.bool_]:
    """Whether each value is among the `count` that are largest in magnitude.

    Of values of equal magnitude the first ones are taken, so that the outcome is the same on any
    machine; `torch.topk` leaves that open.

    Args:
        values: of any shape.
        count: from 0 to the number of values.

    Returns:
        An array of that shape with `count` times True.
    """
    elements = values.size
    if count >= elements:
        return numpy.ones(values.shape, dtype=bool)
    chosen = numpy.zeros(elements, dtype=bool)
    if count <= 0:
        return chosen.reshape(values.shape)
    flat = values.reshape(-1)
    threshold = _threshold(flat, elements - count)
    at_threshold = []
    for first in range(0, elements, _PART):
        sizes = numpy.abs(flat[first : first + _PART])
        numpy.greater(sizes, threshold, out=chosen[first : first + _PART])
        at_threshold.append(numpy.flatnonzero(sizes == threshold) + first)
    missing = count - int(numpy.count_nonzero(chosen))
    chosen[numpy.concatenate(at_threshold)[:missing]] = True
    return chosen.reshape(values.shape)


def _threshold(flat: Values, place: int) -> numpy.float32:
    """The magnitude at a place in the order of magnitudes, from 0."""
    ordered = numpy.abs(flat)
    ordered.partition(place)
    found: numpy.float32 = ordered[place]
    return found

"""Breadcrumbs: the very largest values are dropped as outliers, and the smallest as noise.

Davari and Belilovsky 2023, arXiv:2312.06795; `magnitude_outliers` in mergekit's sparsify, which has
the names `density` and `gamma`, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy
import torch

from .interface import Merge, Options, Place
from .selection import largest, share


def breadcrumbs(values: torch.Tensor, density: Fraction, gamma: Fraction) -> torch.Tensor:
    """Drop the share gamma of the values that is largest in magnitude, and keep the next ones.

    Where both shares are more than there is, fewer outliers are dropped.

    Args:
        values: float32, of any shape with n elements.
        density: the share that is kept, above 0 and at most 1.
        gamma: the share that is dropped as outliers, from 0 to 1.

    >>> x = torch.tensor([5.0, -4.0, 3.0, -2.0, 1.0])
    >>> breadcrumbs(x, Fraction(2, 5), Fraction(1, 5)).tolist()
    [0.0, -4.0, 3.0, 0.0, 0.0]
    """
    given = values.numpy()
    kept = share(density, given.size)
    outliers = min(share(gamma, given.size), given.size - kept)
    stays = largest(given, kept + outliers)
    stays &= ~largest(given, outliers)
    return torch.from_numpy(numpy.where(stays, given, numpy.float32(0)))


def _compute(tensors: Sequence[torch.Tensor], options: Options, place: Place) -> torch.Tensor:
    return breadcrumbs(tensors[0], Fraction(options["density"]), Fraction(options["gamma"]))


BREADCRUMBS = Merge("breadcrumbs", _compute, held=3)
"""The method for the list of methods."""

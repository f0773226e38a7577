"""Trim: the largest values in magnitude stay, the rest become zero (TIES-Merging, its first step).

Yadav et al. 2023, arXiv:2306.01708, section 3.2; `magnitude_based_pruning` in PEFT's merge_utils,
`magnitude` in mergekit's sparsify.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy
import torch

from .interface import Merge, Options, Place
from .selection import largest, share


def trim(values: torch.Tensor, density: Fraction) -> torch.Tensor:
    """Keep the floor(density * n) values that are largest in magnitude.

    Args:
        values: float32, of any shape with n elements.
        density: above 0 and at most 1.

    >>> trim(torch.tensor([1.0, -3.0, 2.0, 0.5]), Fraction(1, 2)).tolist()
    [0.0, -3.0, 2.0, 0.0]
    """
    given = values.numpy()
    kept = largest(given, share(density, given.size))
    return torch.from_numpy(numpy.where(kept, given, numpy.float32(0)))


def _compute(tensors: Sequence[torch.Tensor], options: Options, place: Place) -> torch.Tensor:
    return trim(tensors[0], Fraction(options["density"]))


TRIM = Merge("trim", _compute, held=2.75)
"""The method for the list of methods."""

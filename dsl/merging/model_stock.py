"""Model Stock: the average, drawn towards zero by as much as the tensors disagree in direction.

Jang et al. 2024, arXiv:2403.19522, equation 5; mergekit's `model_stock` with the base model at
zero, where adapters have it. For tensors that point away from each other the equation would go past
zero, up to any length; here the average is shrunk to zero then, which mergekit does not do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy
import torch

from .inner import inner
from .interface import Merge, Options, Place


def model_stock(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """t times the average of N tensors, t = N c / (1 + (N - 1) c) for their mean cosine c.

    Args:
        tensors: at least two, float32, of one shape; a tensor of zeros has the cosine 0 with all.

    >>> model_stock([torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])]).tolist()
    [1.0, 0.0]
    >>> model_stock([torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]).tolist()
    [0.0, 0.0]
    """
    share = numpy.float32(ratio(tensors) / len(tensors))
    total = tensors[0].numpy() * share
    for number in range(1, len(tensors)):
        total += tensors[number].numpy() * share
    return torch.from_numpy(total)


def ratio(tensors: Sequence[torch.Tensor]) -> float:
    """How much of the average stays, from 0 to 1."""
    count = len(tensors)
    norms: list[float] = []
    products: dict[tuple[int, int], float] = {}
    for i in range(count):
        first = tensors[i]
        norms.append(math.sqrt(inner(first, first)))
        products |= {(i, j): inner(first, tensors[j]) for j in range(i + 1, count)}
    cosines = [
        product / (norms[i] * norms[j]) if norms[i] * norms[j] else 0.0
        for (i, j), product in products.items()
    ]
    cosine = min(1.0, max(0.0, math.fsum(cosines) / len(cosines)))
    return count * cosine / (1 + (count - 1) * cosine)


def _compute(tensors: Sequence[torch.Tensor], options: Options, place: Place) -> torch.Tensor:
    return model_stock(tensors)


MODEL_STOCK = Merge("model_stock", _compute, held=4.5, tolerance=1e-4)
"""The method for the list of methods."""

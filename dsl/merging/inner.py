"""Inner products that come out the same on any machine: in float64, in one order of additions."""

from __future__ import annotations

from typing import Final

import numpy
import torch

_PART: Final = 1 << 16


def inner(x: torch.Tensor, y: torch.Tensor) -> float:
    """The sum of the products of two tensors' elements.

    Products of float32 numbers are exact in float64. They are added by halves: additions of whole
    vectors, so that no vector instruction and no thread can change their order.

    Args:
        x, y: float32, of one shape.
    """
    total = 0.0
    first, second = x.numpy().reshape(-1), y.numpy().reshape(-1)
    for start in range(0, len(first), _PART):
        part = slice(start, start + _PART)
        products = first[part].astype(numpy.float64)
        products *= second[part]
        count = len(products)
        while count > 1:
            half = (count + 1) // 2
            products[: count - half] += products[half:count]
            count = half
        total += float(products[0])
    return total

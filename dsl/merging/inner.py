"""Inner products that come out the same on any machine: in float64, in one order of additions."""

from __future__ import annotations

from typing import Final

import torch

_PART: Final = 1 << 18


def inner(x: torch.Tensor, y: torch.Tensor) -> float:
    """The sum of the products of two tensors' elements.

    Products of float32 numbers are exact in float64. They are added by halves: additions of whole
    vectors, so that no vector instruction and no thread can change their order.

    Args:
        x, y: float32, of one shape.
    """
    total = 0.0
    for a, b in zip(torch.split(x.flatten(), _PART), torch.split(y.flatten(), _PART), strict=True):
        products = a.double() * b.double()
        count = len(products)
        while count > 1:
            half = (count + 1) // 2
            products[: count - half] += products[half:count]
            count = half
        total += float(products[0]) if count else 0.0
    return total

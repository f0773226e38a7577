"""The arithmetic of compositions on small pieces of tensors: the one place where it needs torch.

Every result is defined to the last bit: each input is converted to float32, multiplied by its
coefficient, and added to the sum so far, in the order given and each step rounded for itself.
Multiplication and addition are separate operations on purpose: fused into one instruction they
would round once, on some machines and not on others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch

from ..algebra.interface import Column
from .tensorfile import DTYPE_BYTES

TORCH_DTYPES: Final = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""torch's dtypes by the format's names."""

GRAIN_ELEMENTS: Final = 32768
"""The most elements that torch computes in the thread that asks for it.

Beyond, it spreads each operation over threads of its own, which for these sizes costs more than the
operation and gets in the way of ours.
"""

CHUNK_ELEMENTS: Final = 8 * GRAIN_ELEMENTS
"""Elements that are read and computed at once, few enough to stay in the caches of a core."""

_MOST_VIEWS: Final = 32

Read = Callable[[int, memoryview, int], None]
"""Fill a buffer from a source, given by its number, beginning at a position in bytes."""


class Workspace:
    """Buffers that one thread reuses for all its sums.

    Args:
        elements: the most that will be summed at once.
    """

    __slots__ = ("_factors", "_product", "_raw", "_total", "_views")

    def __init__(self, elements: int) -> None:
        self._raw = memoryview(bytearray(4 * elements))
        self._total = torch.empty(elements, dtype=torch.float32)
        self._product = torch.empty(elements, dtype=torch.float32)
        # Made once each: a view or a scalar costs as much as computing some thousand elements.
        self._views: dict[int, _Views] = {}
        self._factors: dict[float, torch.Tensor] = {}

    def add_up(self, column: Column, first: int, count: int, read: Read) -> torch.Tensor:
        """Sum elements of pieces in float32.

        Args:
            column: what to sum, in the order of its pieces, and around which origin.
            first: number of the first element, counted from the start of each piece.
            count: how many elements.
            read: fills a buffer from a source.

        Returns:
            The sums, of shape (count,); valid until the next call.
        """
        views = self._views.get(count) or self._view(count)
        for number, piece in enumerate(column.pieces):
            raw, typed = views.by_dtype[piece.dtype]
            read(piece.source, raw, piece.start + first * DTYPE_BYTES[piece.dtype])
            target = views.product if number else views.total
            # Each of these goes through a list of grains in one call, one operation after another.
            torch._foreach_copy_(target, typed)
            if column.origin:
                # Before it is multiplied: what lies at the origin stays there to the last bit.
                torch._foreach_sub_(target, column.origin)
            if piece.coefficient != 1.0:
                torch._foreach_mul_(target, self._factor(piece.coefficient))
            if number:
                torch._foreach_add_(views.total, views.product)
        if column.origin:
            torch._foreach_add_(views.total, column.origin)
        return self._total[:count]

    def _view(self, count: int) -> _Views:
        by_dtype = {}
        for name, dtype in TORCH_DTYPES.items():
            raw = self._raw[: count * DTYPE_BYTES[name]]
            by_dtype[name] = raw, _grains(torch.frombuffer(raw, dtype=dtype))
        if len(self._views) >= _MOST_VIEWS:
            self._views.clear()
        total, product = _grains(self._total[:count]), _grains(self._product[:count])
        self._views[count] = _Views(total, product, by_dtype)
        return self._views[count]

    def _factor(self, coefficient: float) -> torch.Tensor:
        if coefficient not in self._factors:
            self._factors[coefficient] = torch.tensor(coefficient, dtype=torch.float32)
        return self._factors[coefficient]


@dataclass(frozen=True, slots=True)
class _Views:
    """The first elements of the buffers of a workspace, in grains."""

    total: list[torch.Tensor]
    product: list[torch.Tensor]
    by_dtype: Mapping[str, tuple[memoryview, list[torch.Tensor]]]


def _grains(values: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.split(values, GRAIN_ELEMENTS))


def store(sums: torch.Tensor, place: torch.Tensor) -> None:
    """Round sums to the dtype of their place.

    Args:
        sums: float32, of shape (rows * width,).
        place: of shape (rows, width), its rows anywhere.
    """
    rows = max(1, GRAIN_ELEMENTS // place.shape[1])
    torch._foreach_copy_(torch.split(place, rows), torch.split(sums.view(place.shape), rows))


def first_not_finite(values: torch.Tensor) -> int | None:
    """The index of the first NaN or infinity in a vector, or None."""
    start = 0
    for part in _grains(values):
        # The sum is not finite if any element is; the other way round it may only have overflown.
        if not math.isfinite(part.sum().item()):
            bad = (~torch.isfinite(part)).nonzero()
            if len(bad):
                return start + int(bad[0])
        start += len(part)
    return None

"""The arithmetic of compositions on small pieces of tensors: the one place where it needs torch.

Every result is defined to the last bit: each input is converted to float32, multiplied by its
coefficient, and added to the sum so far, in the order given and each step rounded for itself.
Multiplication and addition are separate operations on purpose: fused into one instruction they
would round once, on some machines and not on others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from .algebra.interface import Piece
from .tensorfile import DTYPE_BYTES

TORCH_DTYPES: Final = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""torch's dtypes by the format's names."""

CHUNK_ELEMENTS: Final = 32768
"""Elements that are computed at once.

Small enough that all buffers stay in the cache of a core, and the most that torch computes in the
thread that asks for it; beyond, it would spread each operation over threads of its own, which for
these sizes costs more than the operation.
"""

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

    def add_up(self, pieces: Sequence[Piece], first: int, count: int, read: Read) -> torch.Tensor:
        """Sum elements of pieces in float32.

        Args:
            pieces: what to sum, in this order.
            first: number of the first element, counted from the start of each piece.
            count: how many elements.
            read: fills a buffer from a source.

        Returns:
            The sums, of shape (count,); valid until the next call.
        """
        views = self._views.get(count) or self._view(count)
        total, product = views.total, views.product
        for number, piece in enumerate(pieces):
            raw, typed = views.by_dtype[piece.dtype]
            read(piece.source, raw, piece.start + first * DTYPE_BYTES[piece.dtype])
            target = product if number else total
            target.copy_(typed)
            if piece.coefficient != 1.0:
                target.mul_(self._factor(piece.coefficient))
            if number:
                total.add_(product)
        return total

    def _view(self, count: int) -> _Views:
        by_dtype = {}
        for name, dtype in TORCH_DTYPES.items():
            raw = self._raw[: count * DTYPE_BYTES[name]]
            by_dtype[name] = raw, torch.frombuffer(raw, dtype=dtype)
        if len(self._views) >= _MOST_VIEWS:
            self._views.clear()
        self._views[count] = _Views(self._total[:count], self._product[:count], by_dtype)
        return self._views[count]

    def _factor(self, coefficient: float) -> torch.Tensor:
        if coefficient not in self._factors:
            self._factors[coefficient] = torch.tensor(coefficient, dtype=torch.float32)
        return self._factors[coefficient]


@dataclass(frozen=True, slots=True)
class _Views:
    """The first elements of the buffers of a workspace."""

    total: torch.Tensor
    product: torch.Tensor
    by_dtype: Mapping[str, tuple[memoryview, torch.Tensor]]


def first_not_finite(values: torch.Tensor) -> int | None:
    """The index of the first NaN or infinity in a vector, or None."""
    start = 0
    for part in values.split(CHUNK_ELEMENTS):
        # The sum is not finite if any element is; the other way round it may only have overflown.
        if not math.isfinite(part.sum().item()):
            bad = (~torch.isfinite(part)).nonzero()
            if len(bad):
                return start + int(bad[0])
        start += len(part)
    return None

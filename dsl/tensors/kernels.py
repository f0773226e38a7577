"""The arithmetic of compositions on small pieces of tensors.

Every result is defined to the last bit: each input is converted to float32, multiplied by its
coefficient, and added to the sum so far, in the order given and each step rounded for itself.
Multiplication and addition are separate operations on purpose: fused into one instruction they
would round once, on some machines and not on others. numpy multiplies and adds, each in a loop of
its own; torch converts, since numpy knows no bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy
import torch
from numpy.typing import NDArray

from .schedule import Lane
from .tensorfile import DTYPE_BYTES

Floats: TypeAlias = NDArray[numpy.float32]

TORCH_DTYPES: Final = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""torch's dtypes by the format's names."""

GRAIN_ELEMENTS: Final = 32768
"""The most elements that torch converts in the thread that asks for it.

Beyond, it spreads each operation over threads of its own, which for these sizes costs more than the
operation and gets in the way of ours.
"""

CHUNK_ELEMENTS: Final = 2 * GRAIN_ELEMENTS
"""Elements that are read and computed at once, few enough to stay in the caches of a core."""

WORKSPACE_BYTES: Final = 10
"""Bytes of a workspace an element of a chunk, the totals left out: these take 4 a sum."""

_MOST_VIEWS: Final = 32

Read = Callable[[int, memoryview, int], None]
"""Fill a buffer from a source, given by its number, beginning at a position in bytes."""


class Workspace:
    """Buffers that one thread reuses for all its sums.

    Args:
        elements: the most that will be summed at once.
        sums: how many sums are made at once.
    """

    __slots__ = ("_product", "_raw", "_totals", "_values", "_views")

    def __init__(self, elements: int, sums: int) -> None:
        self._raw = memoryview(bytearray(2 * elements))
        self._values = numpy.empty(elements, dtype=numpy.float32)
        self._product = numpy.empty(elements, dtype=numpy.float32)
        self._totals = numpy.empty((sums, elements), dtype=numpy.float32)
        # Made once each: a view costs as much as computing some thousand elements.
        self._views: dict[int, _Views] = {}

    def add_up(self, lane: Lane, first: int, count: int, read: Read) -> Floats:
        """Add up elements of shares in float32.

        Args:
            lane: what to add up, in the order of its shares, and around which origin.
            first: number of the first element, counted from the start of each share.
            count: how many elements.
            read: fills a buffer from a source.

        Returns:
            The sums, of shape (sums, count); valid until the next call.
        """
        views = self._views.get(count) or self._view(count)
        begun: set[int] = set()
        for share in lane.shares:
            raw, typed = views.by_dtype[share.dtype]
            read(share.source, raw, share.start + first * DTYPE_BYTES[share.dtype])
            if typed:
                # Goes through the list in one call, without a turn of the interpreter's lock.
                torch._foreach_copy_(views.grains, typed)
            if lane.origin:
                # Before it is multiplied: what lies at the origin stays there to the last bit.
                numpy.subtract(views.values, lane.origin, out=views.values)
            for number, coefficient in enumerate(share.coefficients):
                if coefficient is not None:
                    views.add(number, coefficient, begins=number not in begun)
                    begun.add(number)
        if lane.origin:
            numpy.add(views.totals, lane.origin, out=views.totals)
        return views.totals

    def _view(self, count: int) -> _Views:
        values = self._values[:count]
        by_dtype: dict[str, tuple[memoryview, list[torch.Tensor]]] = {
            "F32": (values.data.cast("B"), [])
        }
        for name in TORCH_DTYPES.keys() - by_dtype:
            raw = self._raw[: count * DTYPE_BYTES[name]]
            by_dtype[name] = raw, grains(torch.frombuffer(raw, dtype=TORCH_DTYPES[name]))
        if len(self._views) >= _MOST_VIEWS:
            self._views.clear()
        self._views[count] = _Views(
            values,
            self._product[:count],
            self._totals[:, :count],
            grains(torch.from_numpy(values)),
            by_dtype,
        )
        return self._views[count]


@dataclass(frozen=True, slots=True)
class _Views:
    """The first elements of the buffers of a workspace; a dtype without grains is read as it is."""

    values: Floats
    product: Floats
    totals: Floats
    grains: list[torch.Tensor]
    by_dtype: Mapping[str, tuple[memoryview, list[torch.Tensor]]]

    def add(self, number: int, coefficient: float, *, begins: bool) -> None:
        """Add the values, multiplied, to one of the totals, or let it begin with them."""
        total = self.totals[number]
        if begins:
            numpy.multiply(self.values, coefficient, out=total)
        elif coefficient == 1.0:
            numpy.add(total, self.values, out=total)
        else:
            numpy.multiply(self.values, coefficient, out=self.product)
            numpy.add(total, self.product, out=total)


def grains(values: torch.Tensor) -> list[torch.Tensor]:
    """A vector in views of at most a grain."""
    return list(torch.split(values, GRAIN_ELEMENTS))


def store(sums: Floats, place: torch.Tensor) -> None:
    """Round sums to the dtype of their place.

    Args:
        sums: of shape (rows * width,).
        place: of shape (rows, width), its rows anywhere.
    """
    rows = max(1, GRAIN_ELEMENTS // place.shape[1])
    given = torch.from_numpy(sums).view(place.shape)
    torch._foreach_copy_(torch.split(place, rows), torch.split(given, rows))

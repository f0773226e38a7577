"""The arithmetic of compositions on small pieces of tensors.

Every result is defined to the last bit: each input is converted to float32, multiplied by its
coefficient, and added to the sum so far, in the order given and each step rounded for itself.
Multiplication and addition are separate operations on purpose: fused into one instruction they
would round once, on some machines and not on others. numpy multiplies and adds, each in a loop of
its own, and torch converts, since numpy knows no bfloat16. In a process that composes much, numba
does all three at once where it is installed, and where it is found to give the same bits.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy
import torch
from numpy.typing import NDArray

from .schedule import Lane
from .tensorfile import DTYPE_BYTES

if TYPE_CHECKING:
    from . import compiled

Floats: TypeAlias = NDArray[numpy.float32]

TORCH_DTYPES: Final = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""torch's dtypes by the format's names."""

GRAIN_ELEMENTS: Final = 32768
"""The most elements that torch converts in the thread that asks for it.

Beyond, it spreads each operation over threads of its own, which for these sizes costs more than the
operation and gets in the way of ours.
"""

CHUNK_ELEMENTS: Final = 4 * GRAIN_ELEMENTS
"""Elements that are read and computed at once, few enough to stay in the caches of a core."""

WORKSPACE_BYTES: Final = 10
"""Bytes of a workspace an element of a chunk, the totals left out: these take 4 a sum."""

PAYS_PRODUCTS: Final = 1 << 32
"""So many products take numpy about as much longer than numba as loading numba takes."""

_MOST_VIEWS: Final = 32

Read = Callable[[int, memoryview, int], None]
"""Fill a buffer from a source, given by its number, beginning at a position in bytes."""

Weights: TypeAlias = tuple[Floats, NDArray[numpy.uint8]]
"""What each sum multiplies the elements of a share with, and how it takes the products."""

SKIP: Final = 0
BEGIN: Final = 1
ADD: Final = 2
"""How a sum takes a product: not at all, as the first one, or after others."""


def weights_of(lane: Lane) -> list[Weights]:
    """The weights of each share of a lane; a sum begins with its first share."""
    begun: set[int] = set()
    result = []
    for share in lane.shares:
        modes = [SKIP] * len(share.coefficients)
        for number, coefficient in enumerate(share.coefficients):
            if coefficient is not None:
                modes[number] = ADD if number in begun else BEGIN
                begun.add(number)
        coefficients = [coefficient or 0.0 for coefficient in share.coefficients]
        result.append(
            (
                numpy.array(coefficients, dtype=numpy.float32),
                numpy.array(modes, dtype=numpy.uint8),
            )
        )
    return result


class Adder:
    """Adds products to totals by numpy.

    Args:
        elements: the most that are added at once.
    """

    def __init__(self, elements: int) -> None:
        self._product = numpy.empty(elements, dtype=numpy.float32)

    def add_floats(self, given: Floats, weights: Weights, origin: float, totals: Floats) -> None:
        """Add float32 numbers.

        Args:
            given: of shape (count,); is written over where there is an origin.
            weights: of as many sums as there are totals.
            origin: what is subtracted first.
            totals: of shape (sums, count).
        """
        if origin:
            # Before it is multiplied: what lies at the origin stays there to the last bit.
            numpy.subtract(given, numpy.float32(origin), out=given)
        product = self._product[: len(given)]
        for total, coefficient, mode in zip(totals, *weights, strict=True):
            if mode == BEGIN:
                numpy.multiply(given, coefficient, out=total)
            elif mode == ADD:
                numpy.multiply(given, coefficient, out=product)
                numpy.add(total, product, out=total)


class Kernels:
    """What adds: numpy, until so much was computed that compiling pays."""

    def __init__(self) -> None:
        self._products = 0
        self._compiled: type[compiled.Adder] | None = None
        self._looked = False

    def expect(self, products: int) -> None:
        """Say how many products will be computed, which may be what makes compiling pay."""
        self._products += products
        if self._products >= PAYS_PRODUCTS:
            self.compile()

    def compile(self) -> bool:
        """Compile, where numba is installed; return whether it is and gives the same bits."""
        if not self._looked and importlib.util.find_spec("numba") is not None:
            from . import compiled

            if _gives_equal_bits(compiled.Adder):
                self._compiled = compiled.Adder
        self._looked = True
        return self._compiled is not None

    def adder(self, elements: int) -> Adder | compiled.Adder:
        """An adder for one thread."""
        return Adder(elements) if self._compiled is None else self._compiled()


KERNELS: Final = Kernels()
"""Those of this process."""


def _gives_equal_bits(adder: type[compiled.Adder]) -> bool:
    """Whether machine code rounds as numpy does: a fused instruction would show here."""
    bits = numpy.arange(1 << 16, dtype=numpy.uint16)
    bits = bits[bits & 0x7F80 != 0x7F80]
    given = (bits.astype(numpy.uint32) << 16).view(numpy.float32)
    totals = numpy.empty((3, 1, len(bits)), dtype=numpy.float32)
    portable, other = Adder(len(bits)), adder()
    with numpy.errstate(all="ignore"):
        for mode, coefficient, origin in ((BEGIN, 0.7, 0.0), (ADD, -1 / 3, 0.1)):
            weights = (
                numpy.array([coefficient], dtype=numpy.float32),
                numpy.array([mode], dtype=numpy.uint8),
            )
            portable.add_floats(given.copy(), weights, origin, totals[0])
            other.add_floats(given, weights, origin, totals[1])
            other.add_brain(bits, weights, origin, totals[2])
    found = totals.view(numpy.uint32)
    return bool((found[0] == found[1]).all() and (found[0] == found[2]).all())


class Workspace:
    """Buffers that one thread reuses for all its sums.

    Args:
        elements: the most that will be summed at once.
        sums: how many sums are made at once.
    """

    __slots__ = ("_adder", "_lane", "_raw", "_totals", "_values", "_views", "_weights")

    def __init__(self, elements: int, sums: int) -> None:
        self._raw = bytearray(2 * elements)
        self._values = numpy.empty(elements, dtype=numpy.float32)
        self._totals = numpy.empty((sums, elements), dtype=numpy.float32)
        self._adder = KERNELS.adder(elements)
        self._lane: Lane | None = None
        self._weights: list[Weights] = []
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
        if lane is not self._lane:
            self._lane, self._weights = lane, weights_of(lane)
        views = self._views.get(count) or self._view(count)
        adder, origin = self._adder, lane.origin
        for share, weights in zip(lane.shares, self._weights, strict=True):
            raw, typed = views.by_dtype[share.dtype]
            read(share.source, raw, share.start + first * DTYPE_BYTES[share.dtype])
            if share.dtype == "BF16" and not isinstance(adder, Adder):
                adder.add_brain(views.bits, weights, origin, views.totals)
                continue
            if typed:
                # Goes through the list in one call, without a turn of the interpreter's lock.
                torch._foreach_copy_(views.grains, typed)
            adder.add_floats(views.values, weights, origin, views.totals)
        if origin:
            numpy.add(views.totals, numpy.float32(origin), out=views.totals)
        return views.totals

    def _view(self, count: int) -> _Views:
        values = self._values[:count]
        by_dtype: dict[str, tuple[memoryview, list[torch.Tensor]]] = {
            "F32": (values.data.cast("B"), [])
        }
        for name in TORCH_DTYPES.keys() - by_dtype:
            raw = memoryview(self._raw)[: count * DTYPE_BYTES[name]]
            by_dtype[name] = raw, grains(torch.frombuffer(raw, dtype=TORCH_DTYPES[name]))
        if len(self._views) >= _MOST_VIEWS:
            self._views.clear()
        sums = len(self._totals)
        self._views[count] = _Views(
            values,
            numpy.frombuffer(self._raw, dtype=numpy.uint16, count=count),
            self._totals.reshape(-1)[: sums * count].reshape(sums, count),
            grains(torch.from_numpy(values)),
            by_dtype,
        )
        return self._views[count]


@dataclass(frozen=True, slots=True)
class _Views:
    """The first elements of the buffers of a workspace; a dtype without grains is read as it is."""

    values: Floats
    bits: NDArray[numpy.uint16]
    totals: Floats
    grains: list[torch.Tensor]
    by_dtype: Mapping[str, tuple[memoryview, list[torch.Tensor]]]


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

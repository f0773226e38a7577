"""The arithmetic of kernels as machine code, made by numba where it is installed: the same bits.

numpy goes over all elements once for each operation, through the second cache of a core. Here a
block is converted, multiplied and added while it is in the first, which is several times as fast.
Importing this takes about a second, so `kernels` does it where that pays.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy

from .kernels import ADD, BEGIN

_BLOCK: Final = 1024


# Loops go over slices, whose indices are known to be in range: others are not vectorised.
def _add(
    values: Any, coefficients: Any, modes: Any, origin: Any, totals: Any, start: int, width: int
) -> None:
    if origin != 0:
        for j in range(len(values)):
            values[j] -= origin
    for number in range(len(coefficients)):
        coefficient = coefficients[number]
        first = number * width + start
        total = totals[first : first + len(values)]
        if modes[number] == BEGIN:
            for j in range(len(values)):
                total[j] = values[j] * coefficient
        elif modes[number] == ADD:
            # Never one instruction: without fastmath, LLVM may not contract these.
            for j in range(len(values)):
                total[j] = total[j] + values[j] * coefficient


def _add_brain(
    given: Any, bits: Any, values: Any, coefficients: Any, modes: Any, origin: Any, totals: Any
) -> None:
    for start in range(0, len(given), _BLOCK):
        part = given[start : start + _BLOCK]
        for j in range(len(part)):
            bits[j] = numpy.uint32(part[j]) << numpy.uint32(16)
        _add_compiled(values[: len(part)], coefficients, modes, origin, totals, start, len(given))


def _add_floats(
    given: Any, values: Any, coefficients: Any, modes: Any, origin: Any, totals: Any
) -> None:
    for start in range(0, len(given), _BLOCK):
        part = given[start : start + _BLOCK]
        for j in range(len(part)):
            values[j] = part[j]
        _add_compiled(values[: len(part)], coefficients, modes, origin, totals, start, len(given))


_WEIGHTS: Final = "float32[::1], uint8[::1], float32, float32[::1]"


def _compiled(function: Any, signature: str) -> Any:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}
    try:
        return numba.njit(signature, cache=True, **options)(function)
    except RuntimeError:  # There is no folder to keep machine code in.
        return numba.njit(signature, **options)(function)


_add_compiled = _compiled(_add, f"void(float32[::1], {_WEIGHTS}, int64, int64)")
_brain = _compiled(_add_brain, f"void(uint16[::1], uint32[::1], float32[::1], {_WEIGHTS})")
_floats = _compiled(_add_floats, f"void(float32[::1], float32[::1], {_WEIGHTS})")


class Adder:
    """Adds products to totals, as `kernels.Adder` does; one a thread."""

    def __init__(self) -> None:
        self._block = numpy.empty(_BLOCK, dtype=numpy.float32)
        self._bits = self._block.view(numpy.uint32)

    def add_brain(self, given: Any, weights: Any, origin: float, totals: Any) -> None:
        """Add bfloat16 numbers, given as unsigned integers."""
        _brain(given, self._bits, self._block, *weights, origin, totals.reshape(-1))

    def add_floats(self, given: Any, weights: Any, origin: float, totals: Any) -> None:
        """Add float32 numbers."""
        _floats(given, self._block, *weights, origin, totals.reshape(-1))

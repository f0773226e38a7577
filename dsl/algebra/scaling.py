"""The factor that LoRA puts on its update, exactly, and its rounding to float32."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from ..errors import IncompatibleError


@dataclass(frozen=True)
class Scaling:
    """alpha / rank, or alpha / sqrt(rank) with rsLoRA (Kalajdzievski 2023, arXiv:2312.03732)."""

    alpha: Fraction
    rank: int
    rslora: bool = False

    @property
    def signed_square(self) -> Fraction:
        """The square with the sign of the scaling: rational, so that it can be compared exactly."""
        square = self.alpha**2 / (self.rank if self.rslora else self.rank**2)
        return square if self.alpha >= 0 else -square

    @property
    def root(self) -> Fraction:
        """The square root of the rank, exact where it is rational, else that of float64."""
        root = math.isqrt(self.rank)
        return Fraction(root if root * root == self.rank else math.sqrt(self.rank))

    @cached_property
    def value(self) -> Fraction:
        """The scaling itself; with rsLoRA and a rank that is no square, to float64 rounding."""
        return self.alpha / (self.root if self.rslora else self.rank)

    @cached_property
    def rounded(self) -> float:
        """The scaling in float64."""
        return float(self.value)

    @property
    def plain_alpha(self) -> Fraction:
        """The alpha that gives this scaling at this rank without rsLoRA."""
        return self.alpha * self.root if self.rslora else self.alpha

    def times(self, coefficient: Fraction) -> float:
        """The product with a coefficient, rounded to float32.

        Raises:
            IncompatibleError: the product is too large or too small for float32.
        """
        return float32(coefficient * self.value)

    def __str__(self) -> str:
        rank = f"sqrt({self.rank})" if self.rslora else str(self.rank)
        return f"{float(self.value):.6g} (alpha {number(self.alpha)} / {rank})"


def number(value: Fraction) -> int | float:
    """A fraction as JSON has it: an integer where it is one."""
    return value.numerator if value.denominator == 1 else float(value)


@lru_cache(maxsize=4096)
def float32(value: Fraction) -> float:
    """The float32 number nearest to a fraction, ties to even.

    Raises:
        IncompatibleError: the value is not zero but rounds to zero, or is too large.

    >>> float32(Fraction(1, 10))
    0.10000000149011612
    """
    try:
        (bits,) = struct.unpack("<I", struct.pack("<f", float(value)))
    except OverflowError as error:
        raise _outside(value) from error
    # The way through float64 rounds twice, which can end one number beside the nearest.
    near = [_from_bits(bits + step) for step in (0, -1, 1)]
    nearest = min(filter(math.isfinite, near), key=lambda number: abs(Fraction(number) - value))
    if value and not nearest:
        raise _outside(value)
    return nearest


def _from_bits(bits: int) -> float:
    number: float = struct.unpack("<f", struct.pack("<I", bits & 0xFFFF_FFFF))[0]
    return number


def _outside(value: Fraction) -> IncompatibleError:
    digits = len(str(abs(value.numerator))) - len(str(value.denominator))
    return IncompatibleError(
        f"a coefficient times the scaling is about 1e{digits:+d}, outside of float32",
        hint="choose coefficients nearer to 1",
    )

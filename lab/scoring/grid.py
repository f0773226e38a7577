"""The values that a parameter is tuned over, exact: `l=0:1:0.1` or `l=0.3,0.5,0.7`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ..errors import SettingsError

MOST_VALUES: Final = 1000
_EXAMPLE: Final = "write NAME=START:STOP:STEP or NAME=VALUE,VALUE,..., such as l=0:1:0.1"
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d+)?|\d+/\d+)")


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter and the values that it may take, ascending."""

    name: str
    values: tuple[Fraction, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as an expression's parameters are written."""
        return tuple(as_text(value) for value in self.values)

    def between(self, best: Fraction, tried: Sequence[Fraction]) -> Axis:
        """The middles between a value and the nearest tried ones on both of its sides."""
        below = max((value for value in tried if value < best), default=None)
        above = min((value for value in tried if value > best), default=None)
        middles = [(best + other) / 2 for other in (below, above) if other is not None]
        return Axis(self.name, tuple(middles))


def parse_axis(text: str) -> Axis:
    """Read what a parameter is tuned over; both ends of a range belong to it.

    Raises:
        SettingsError: it cannot be read, or has no values or too many.

    >>> parse_axis("l=0:1:0.25").texts
    ('0', '0.25', '0.5', '0.75', '1')
    """
    name, equals, values = (part.strip() for part in text.partition("="))
    if not (equals and values and re.fullmatch(r"[A-Za-z_]\w*", name)):
        raise SettingsError(f"{text!r} does not say what to tune over: {_EXAMPLE}")
    parts = [part.strip() for part in values.split(":")]
    if len(parts) == 3:
        start, stop, step = (_number(part, text) for part in parts)
        if step <= 0 or stop < start:
            raise SettingsError(f"{text!r} goes nowhere: the step is above 0 and STOP is not below")
        count = int((stop - start) / step) + 1
        if count > MOST_VALUES:
            raise SettingsError(f"{text!r} has {count:,} values: {MOST_VALUES:,} are the most")
        return Axis(name, tuple(start + number * step for number in range(count)))
    if len(parts) != 1:
        raise SettingsError(f"{text!r} does not say what to tune over: {_EXAMPLE}")
    listed = {_number(part.strip(), text) for part in values.split(",")}
    return Axis(name, tuple(sorted(listed)))


def as_text(value: Fraction) -> str:
    """An exact number as an expression's parameter is written: a decimal if it is one.

    >>> as_text(Fraction(1, 8)), as_text(Fraction(1, 3))
    ('0.125', '1/3')
    """
    decimals = next(
        (n for n in range(19) if value.denominator and 10**n % value.denominator == 0), None
    )
    if decimals is None:
        return str(value)
    scaled = abs(value.numerator) * (10**decimals // value.denominator)
    digits = str(scaled).rjust(decimals + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


def _number(text: str, whole: str) -> Fraction:
    if not _NUMBER.fullmatch(text) or text.endswith("/0"):
        raise SettingsError(f"{text!r} in {whole!r} is not a number: {_EXAMPLE}")
    return Fraction(text)

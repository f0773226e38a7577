"""Exact numbers: from decimal text to fractions and back."""

import re
from fractions import Fraction

from .errors import LimitError, Span, quoted
from .limits import NUMBER_DIGITS, NUMBER_EXPONENT, SCALAR_BITS

_EXPONENT = re.compile(r"[eE]([+-]?)0*([0-9]*)$")


def exact(text: str, span: Span | None = None) -> Fraction:
    """Return the exact value of a decimal number: 0.1 is 1/10.

    Args:
        text: a number as the grammar has it, with or without a sign.
        span: the place of the number, for the error.

    Raises:
        LimitError: it has too many digits or too large an exponent.

    >>> exact("2.5e-1")
    Fraction(1, 4)
    """
    found = _EXPONENT.search(text)
    digits = text[: found.start()] if found else text
    if found and (len(found[2]) > 4 or int(found[2] or "0") > NUMBER_EXPONENT):
        message = (
            f"the exponent of {quoted(text)} is not within -{NUMBER_EXPONENT} to {NUMBER_EXPONENT}"
        )
        raise LimitError(message, span=span)
    if len(digits) > NUMBER_DIGITS:
        message = f"a number of {len(digits)} digits: at most {NUMBER_DIGITS} are allowed"
        raise LimitError(message, span=span)
    return Fraction(text)


def bounded(value: Fraction, span: Span | None = None) -> Fraction:
    """Return a computed number unless it has grown beyond all use.

    Raises:
        LimitError: the exact value has too many digits.
    """
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > SCALAR_BITS:
        message = "the exact value of this has too many digits"
        raise LimitError(
            message, span=span, hint="numbers are computed exactly: use fewer or rounder ones"
        )
    return value


def fraction_text(value: Fraction) -> str:
    """Return a number for a message: as a decimal where that is short, else as a fraction.

    >>> fraction_text(Fraction(3, 10)), fraction_text(Fraction(1, 3))
    ('0.3', '1/3')
    """
    decimal = decimal_text(value)
    if decimal is not None and len(decimal) <= 24:
        return decimal
    if max(abs(value.numerator), value.denominator) < 10**12:
        return str(value)
    try:
        return f"about {float(value):.6g}"
    except OverflowError:
        return "a huge number"


def decimal_text(value: Fraction) -> str | None:
    """Return a number as an exact decimal that the grammar reads, or None where there is none.

    >>> decimal_text(Fraction(-1, 8))
    '-0.125'
    """
    twos, odd = _power(value.denominator, 2)
    fives, rest = _power(odd, 5)
    if rest != 1:
        return None
    places = max(twos, fives)
    if places > NUMBER_EXPONENT + NUMBER_DIGITS:
        return None
    scaled = abs(value.numerator) * 10**places // value.denominator
    sign = "-" if value < 0 else ""
    zeros, scaled_odd = _power(scaled, 10) if scaled else (0, 0)
    if zeros > 15:
        return f"{sign}{scaled_odd}e{zeros - places}"
    if places > 20:
        return f"{sign}{scaled}e-{places}"
    digits = str(scaled).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def _power(value: int, base: int) -> tuple[int, int]:
    """Return how often a base divides a value, and what is left."""
    count = 0
    while value % base == 0:
        value //= base
        count += 1
    return count, value

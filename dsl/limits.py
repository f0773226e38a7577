"""How large a program may be; length, nesting and operands are counted before it is parsed."""

from dataclasses import dataclass

NUMBER_DIGITS = 300
"""Digits that one number may have, without its exponent."""

NUMBER_EXPONENT = 300
"""Magnitude that the decimal exponent of a number may have."""

SCALAR_BITS = 8192
"""Bits that the numerator and the denominator of a computed number may have."""

LANGUAGE_TURNS = 64
"""Times that a chain of languages may turn between | and - without parentheses."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a program.

    Attributes:
        length: characters of the whole text.
        nesting: depth of brackets, calls and unary minuses in each other.
        operands: numbers, names, texts and languages in all.
    """

    length: int = 200_000
    nesting: int = 64
    operands: int = 50_000


DEFAULT = Limits()

"""How large a program may be; counted on its tokens, before it is parsed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a program.

    Attributes:
        length: characters of the whole text.
        nesting: depth of brackets, calls and unary minuses in each other.
        operands: numbers, names, selectors, references and languages in all.
        exponent: magnitude of the decimal exponent of a number.
        digits: digits of one number, exponent not counted.
    """

    length: int = 200_000
    nesting: int = 64
    operands: int = 20_000
    exponent: int = 300
    digits: int = 300


DEFAULT = Limits()

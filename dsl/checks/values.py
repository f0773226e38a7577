"""What an expression is, as far as it is known without any adapter."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from ..syntax import Expression, Product, Sum

ValueType: TypeAlias = Literal["scalar", "adapter", "adapters"]

IN_WORDS: Mapping[ValueType, str] = {
    "scalar": "a number",
    "adapter": "an adapter",
    "adapters": "a set of adapters",
}
_LONGEST_SNIPPET = 40


@dataclass(frozen=True, slots=True)
class Value:
    """The type of an expression, and its exact value where it is a number."""

    type: ValueType
    scalar: Fraction = Fraction(0)


def snippet(source: str, expression: Expression) -> str:
    """Return the text of an expression for a hint, or `...` where that is long."""
    text = source[expression.span.start : expression.span.end]
    return text if len(text) <= _LONGEST_SNIPPET and text.isprintable() else "..."


def factor_snippet(source: str, expression: Expression) -> str:
    """Return the text of an expression as it can stand beside `*`."""
    text = snippet(source, expression)
    bare = isinstance(expression, (Sum, Product)) and not text.startswith("(")
    return f"({text})" if bare else text

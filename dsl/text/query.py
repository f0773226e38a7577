"""Queries on the catalogue: `language = pt and steps >= 5000 and not withdrawn`.

The result is made of plain tuples, so that who answers queries needs nothing of this room.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import DslError, LimitError, ParseError, Span, quoted
from ..fields import FIELDS, FieldKind
from ..limits import DEFAULT
from .filters import build_filter, comparison_example, field_kind
from .parse import parse_rule
from .tree import plain

if TYPE_CHECKING:
    from lark import Token

Condition: TypeAlias = tuple[Any, ...]
"""("and", conditions), ("or", conditions), ("not", condition), ("flag", field) or
("compare", field, operator, value) with an int, a float or a str as its value."""

_NOT = frozenset({"not"})
_LARGEST_INTEGER = 2**63 - 1


def parse_query(source: str, fields: Mapping[str, FieldKind] = FIELDS) -> Condition:
    """Return the condition that a query means; an empty query is `("and", ())`.

    Args:
        source: the query.
        fields: the fields that may be asked for, and what their values are.

    Raises:
        ParseError: the text is no query, or a field is unknown or compared wrongly.
        LimitError: the query is too long or too deeply nested.
        LanguageError: a language is no language code.

    >>> parse_query("task = xlsum and not withdrawn")
    ('and', (('compare', 'task', '=', 'xlsum'), ('not', ('flag', 'withdrawn'))))
    """
    node = parse_rule("query", source, QueryBuilder, DEFAULT, _NOT)
    try:
        return _condition(node, fields)
    except DslError as error:
        raise error.located(source) from None


class QueryBuilder:
    """The methods that lark calls with the children of a rule.

    The fields are not known while the grammar is compiled: the leaves keep their tokens.
    """

    def query(self, children: list[Condition]) -> Condition:
        """A condition or nothing."""
        return children[0] if children else ("and", ())

    def alternative(self, children: list[Condition]) -> Condition:
        """Conditions joined by `or`."""
        return ("or", tuple(children))

    def conjunction(self, children: list[Condition]) -> Condition:
        """Conditions joined by `and`."""
        return ("and", tuple(children))

    def inverted(self, children: list[Any]) -> Condition:
        """`not condition`."""
        return ("not", children[1])

    def grouped(self, children: list[Any]) -> Condition:
        """`(condition)`."""
        condition: Condition = children[1]
        return condition

    def flag(self, children: list["Token"]) -> Condition:
        """A field alone."""
        return ("flag", children[0])

    def comparison(self, children: list["Token"]) -> Condition:
        """`FIELD operator value`."""
        return ("compare", *children)


def _condition(node: Condition, fields: Mapping[str, FieldKind]) -> Condition:
    kind, *parts = node
    if kind in ("and", "or"):
        return (kind, tuple(_condition(part, fields) for part in parts[0]))
    if kind == "not":
        return ("not", _condition(parts[0], fields))
    if kind == "flag":
        return _flag(parts[0], fields)
    return _comparison(parts[0], parts[1], parts[2], fields)


def _flag(token: "Token", fields: Mapping[str, FieldKind]) -> Condition:
    name, span = plain(token)
    if name.lower() in ("and", "or"):
        raise ParseError(f"expected a condition but found {quoted(name)}", span=span)
    kind = field_kind(name, span, fields)
    if kind != "flag":
        hint = f"for example {comparison_example(name, kind)}"
        raise ParseError(f"expected a comparison after {quoted(name)}", span=span, hint=hint)
    return ("flag", name)


def _comparison(
    name: "Token", operator: "Token", value: "Token", fields: Mapping[str, FieldKind]
) -> Condition:
    built = build_filter(plain(name), plain(operator), plain(value), fields)
    if isinstance(built.value, str):
        return ("compare", built.field, built.operator, built.value)
    return ("compare", built.field, built.operator, _machine_number(built.value, plain(value)[1]))


def _machine_number(value: Fraction, span: Span) -> int | float:
    """Return a number as databases have it: a 64-bit integer where it is one, else a float."""
    if value.denominator == 1 and abs(value) <= _LARGEST_INTEGER:
        return int(value)
    try:
        return float(value)
    except OverflowError:
        raise LimitError("this number is too large", span=span) from None

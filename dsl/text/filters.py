"""Conditions on fields: the same in a selector's filters and in a query."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import cast

from ..errors import LanguageError, ParseError, Span, did_you_mean, quoted
from ..fields import FieldKind
from ..languages import normalize
from ..number import exact
from ..syntax import Filter, FilterOperator

_OPERATORS: Mapping[FieldKind, tuple[str, ...]] = {
    "text": ("=", "!=", "~"),
    "language": ("=", "!=", "~"),
    "number": ("=", "!=", "<", "<=", ">", ">="),
    "date": ("=", "!=", "<", "<=", ">", ">="),
}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9.]+)?)?)?)?.{0,6}")
_EXAMPLES: Mapping[FieldKind, str] = {
    "text": "{field} = xlsum",
    "language": "{field} = pt",
    "number": "{field} >= 5000",
    "date": "{field} >= 2026-01-31",
}


def field_kind(name: str, span: Span, fields: Mapping[str, FieldKind]) -> FieldKind:
    """Return what the values of a field are.

    Raises:
        ParseError: there is no such field.
    """
    if name not in fields:
        hint = did_you_mean(name, fields) or f"the fields are {', '.join(fields)}"
        raise ParseError(f"unknown field {quoted(name)}", span=span, hint=hint)
    return fields[name]


def comparison_example(name: str, kind: FieldKind) -> str:
    """Return how a field is compared, for a hint."""
    return _EXAMPLES[kind].format(field=name)


def build_filter(
    name: tuple[str, Span],
    operator: tuple[str, Span],
    value: tuple[str, Span],
    fields: Mapping[str, FieldKind],
) -> Filter:
    """Make a condition from its three parts, each with its place.

    Values are read as the field demands: `dataset_revision = 12` compares a text.

    Raises:
        ParseError: there is no such field, or it cannot be compared in this way.
        LanguageError: the value should be a language code and is none.
    """
    span = Span(name[1].start, value[1].end)
    kind = field_kind(*name, fields)
    if kind == "flag":
        raise ParseError(
            f"'{name[0]}' is a flag: it is not compared with anything",
            span=span,
            hint=f"in a query write '{name[0]}' or 'not {name[0]}' alone",
        )
    if operator[0] not in _OPERATORS[kind]:
        article = "a number" if kind == "number" else "a text"
        raise ParseError(
            f"'{name[0]}' is {article}: it cannot be compared with '{operator[0]}'",
            span=operator[1],
            hint=f"compare it with one of {' '.join(_OPERATORS[kind])}",
        )
    comparison = cast(FilterOperator, operator[0])
    return Filter(name[0], comparison, _value(name[0], kind, comparison, *value), span)


def _value(
    name: str, kind: FieldKind, operator: FilterOperator, text: str, span: Span
) -> Fraction | str:
    if kind == "number":
        if not _NUMBER.fullmatch(text):
            hint = f"for example {comparison_example(name, kind)}"
            raise ParseError(
                f"'{name}' is a number and {quoted(text)} is not", span=span, hint=hint
            )
        return exact(text, span)
    if kind == "date" and not _DATE.fullmatch(text):
        hint = f"for example {comparison_example(name, kind)}"
        raise ParseError(f"{quoted(text)} is not a date", span=span, hint=hint)
    if kind == "language" and operator != "~":
        return _languages(text, span)
    return text


def _languages(text: str, span: Span) -> str:
    """Return the normal form of one or more codes joined by commas."""
    try:
        return ",".join(sorted({normalize(part.strip()) for part in text.split(",")}))
    except LanguageError as error:
        error.span = span
        raise

"""Filter trees to SQL: bound parameters only, and two truth values.

A tree is nested tuples, so that no other room's classes are needed::

    ("and", (c, ...))  ("or", (c, ...))  ("not", c)
    ("compare", FIELD, OPERATOR, VALUE)  ("flag", FIELD)

with the operators ``= != < <= > >= ~`` (``~``: contains, ignoring case). A field that a version
does not have is equal to nothing, smaller and greater than nothing, and contains nothing; so
``task != xlsum`` holds for a version without a task, and so does ``not steps >= 5000`` for one
without steps. SQL's third truth value never shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Text,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    or_,
    true,
)
from sqlalchemy.orm import InstrumentedAttribute

from ..errors import QueryError, did_you_mean
from .columns import UtcDateTime
from .models import Adapter, Version, Withdrawal

Condition = tuple[Any, ...]
"""A filter tree as described above."""

EVERYTHING: Condition = ("and", ())
"""The condition that holds for every version."""

MOST_COMPARISONS = 500
"""SQLite compiles an expression at most 1000 levels deep."""

DEEPEST_NESTING = 24
"""SQLite's parser keeps at most 100 unfinished pieces."""


def _known_here(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """A column that says nothing of weights that are not here."""
    return case((Version.here == true(), column))


_TEXTS: Mapping[str, ColumnElement[Any] | InstrumentedAttribute[Any]] = {
    "name": Adapter.name,
    "kind": Version.kind,
    "language": Version.language,
    "task": Version.task,
    "dataset": Version.dataset,
    "dataset_revision": Version.dataset_revision,
    "objective": Version.objective,
    "base": Version.base_model,
    "base_revision": Version.base_revision,
    "peft": Version.peft_type,
    "dtype": Version.dtype,
    "license": Version.license,
    "note": Version.note,
    "source": Version.source,
    "digest": _known_here(Version.digest),
    "config_digest": Version.config_digest,
}
_NUMBERS: Mapping[str, ColumnElement[Any] | InstrumentedAttribute[Any]] = {
    "rank": Version.rank,
    "alpha": Version.alpha,
    "parameters": Version.parameters,
    "steps": Version.steps,
    "batch_size": Version.batch_size,
    "learning_rate": Version.learning_rate,
    "seed": Version.seed,
    "size": _known_here(Version.size_bytes),
    "version": Version.number,
}
_TIMES: Mapping[str, InstrumentedAttribute[Any]] = {"created": Version.created_at}
_FLAGS: Mapping[str, ColumnElement[bool]] = {
    "here": Version.here == true(),
    "withdrawn": Withdrawal.version_id.is_not(None),
}

COLUMNS: Mapping[str, ColumnElement[Any] | InstrumentedAttribute[Any]] = {
    **_TEXTS,
    **_NUMBERS,
    **_TIMES,
    **_FLAGS,
}
"""What every field of a query stands for; rows are versions with their adapter and withdrawal."""

_DIGESTS = ("digest", "config_digest")
_ORDER = ("<", "<=", ">", ">=")


def to_sql(condition: Condition) -> ColumnElement[bool]:
    """Compile a filter tree for rows of Version joined with Adapter and, outer, Withdrawal.

    ``created`` is compared with ISO 8601 text in UTC; a value that is only a year, month or day
    stands for the whole of it. A digest may be given with ``sha256:`` before it, and shortened.
    ``peft`` ignores case. ``language`` is the normal form, several joined by commas in any order.

    Raises QueryError for an unknown field, a comparison that a field does not have, and a
    condition that is too long or too deep to be asked.
    """
    if _count(condition) > MOST_COMPARISONS:
        raise QueryError(
            f"{_count(condition)} comparisons in one query are too many: at most "
            f"{MOST_COMPARISONS}; ask several times"
        )
    return _compile(condition)


def column_of(field: str) -> ColumnElement[Any] | InstrumentedAttribute[Any]:
    """Return what `field` stands for.

    Raises QueryError for an unknown field.
    """
    if field not in COLUMNS:
        raise QueryError(
            f"unknown field {field!r}{did_you_mean(field, COLUMNS)} "
            f"(fields: {', '.join(sorted(COLUMNS))})"
        )
    return COLUMNS[field]


def _count(condition: Condition) -> int:
    match condition:
        case ("and" | "or", parts):
            return sum(map(_count, parts))
        case ("not", part):
            return _count(part)
        case _:
            return 1


def _compile(condition: Condition, negated: bool = False, depth: int = 0) -> ColumnElement[bool]:
    # Negations are moved inwards, which two truth values allow: what is left of the nesting is
    # "and" within "or" within "and", and SQLite's parser has a small stack.
    if depth > DEEPEST_NESTING:
        raise QueryError(
            f"'and' and 'or' within each other more than {DEEPEST_NESTING} deep: write it flatter"
        )
    match condition:
        case ("and" | "or" as word, tuple(parts)):
            compiled = [_compile(part, negated, depth + 1) for part in parts]
            both = (word == "and") != negated
            return and_(true(), *compiled) if both else or_(false(), *compiled)
        case ("not", tuple(part)):
            return _compile(part, not negated, depth)
        case ("flag", str(field)):
            column_of(field)
            if field not in _FLAGS:
                raise QueryError(f"{field!r} is not yes or no: compare it with a value")
            return not_(_FLAGS[field]) if negated else _FLAGS[field]
        case ("compare", str(field), str(operator), value):
            column_of(field)
            compared = _compare(field, operator, value)
            return not_(compared) if negated else compared
        case _:
            raise QueryError(f"{condition!r} is not a condition")


def _compare(field: str, operator: str, value: object) -> ColumnElement[bool]:
    if operator not in ("=", "!=", "~", *_ORDER):
        raise QueryError(f"unknown operator {operator!r}: write one of = != < <= > >= ~")
    if field in _FLAGS:
        raise QueryError(f"{field!r} is yes or no: write '{field}' or 'not {field}'")
    if field in _NUMBERS:
        return _compare_number(field, operator, value)
    if field in _TIMES and isinstance(value, int):
        value = str(value)
    if not isinstance(value, str):
        raise QueryError(f'{field!r} is text: quote the value, {field} {operator} "{value}"')
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise QueryError(f"{value!r} holds a character that is not text")
    if field in _TIMES:
        return _compare_time(field, operator, value)
    if operator in _ORDER:
        raise QueryError(f"{field!r} is text and has no order: compare it with =, != or ~")
    return _compare_text(field, operator, value)


def _compare_number(field: str, operator: str, value: object) -> ColumnElement[bool]:
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
        raise QueryError(f"{field!r} is a number, and {value!r} is not")
    if operator == "~":
        raise QueryError(f"{field!r} is a number: ~ is for text, compare it with = != < <= > >=")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise QueryError(f"{field!r} cannot be compared with {value}: the number is too large")
    # The literal's own type counts, not the column's: 5000.5 must not be rounded to the integer
    # that a column of integers would make of it.
    whole = int(value)
    if value == whole and -(2**63) <= whole < 2**63:
        return _ordered(_NUMBERS[field], operator, literal(whole, BigInteger()))
    return _ordered(_NUMBERS[field], operator, literal(float(value), Double()))


def _compare_text(field: str, operator: str, value: str) -> ColumnElement[bool]:
    column: ColumnElement[Any] | InstrumentedAttribute[Any] = _TEXTS[field]
    if operator == "~":
        return _contains(column, value)
    if field in _DIGESTS:
        return _compare_digest(column, operator, value.removeprefix("sha256:").lower())
    if field == "language":
        value = ",".join(sorted({tag.strip() for tag in value.split(",")}))
    if field == "peft":
        column, value = func.upper(column), value.upper()
    return _ordered(column, operator, literal(value, Text()))


def _compare_digest(
    column: ColumnElement[Any] | InstrumentedAttribute[Any], operator: str, prefix: str
) -> ColumnElement[bool]:
    if not prefix or set(prefix) - set("0123456789abcdef"):
        raise QueryError(f"{prefix!r} is not a digest: write its hex digits, or the first of them")
    begins = and_(column.is_not(None), column.startswith(prefix))
    return begins if operator == "=" else not_(begins)


def _contains(column: Any, value: str) -> ColumnElement[bool]:
    escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = func.lower(literal(f"%{escaped}%", Text()))
    return and_(column.is_not(None), func.lower(column).like(pattern, escape="\\"))


def _ordered(column: Any, operator: str, value: ColumnElement[Any]) -> ColumnElement[bool]:
    match operator:
        case "=":
            return and_(column.is_not(None), column == value)
        case "!=":
            return or_(column.is_(None), column != value)
        case _:
            return and_(column.is_not(None), column.op(operator, is_comparison=True)(value))


def _compare_time(field: str, operator: str, value: str) -> ColumnElement[bool]:
    column = _TIMES[field]
    start, end = (literal(instant, UtcDateTime()) for instant in _span(field, value))
    match operator:
        case "=":
            return and_(column >= start, column < end)
        case "!=":
            return or_(column < start, column >= end)
        case "<":
            return column < start
        case "<=":
            return column < end
        case ">":
            return column >= end
        case ">=":
            return column >= start
        case _:
            raise QueryError(f"{field!r} is a time: ~ is for text, compare it with = != < <= > >=")


def _span(field: str, value: str) -> tuple[datetime, datetime]:
    parts = value.split("-")
    try:
        match [int(part) for part in parts if part.isdecimal() and part.isascii()]:
            case [year] if len(parts) == 1:
                return datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
            case [year, month] if len(parts) == 2:
                start = datetime(year, month, 1, tzinfo=UTC)
                return start, (start + timedelta(days=31)).replace(day=1)
            case [year, month, day] if len(parts) == 3:
                start = datetime(year, month, day, tzinfo=UTC)
                return start, start + timedelta(days=1)
            case _:
                start = datetime.fromisoformat(value)
                start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
                return start, start + timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise QueryError(
            f"{field!r} cannot be compared with {value!r}: write a year, a month, a day or an "
            'instant, like 2026, 2026-03, 2026-03-31 or "2026-03-31T12:00:00"'
        ) from error

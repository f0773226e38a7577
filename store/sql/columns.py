"""Column types that give the same Python value on every supported database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware datetimes in, aware datetimes in UTC out.

    SQLite keeps no time zone, so it is given UTC without one: text of a fixed width, whose order is
    that of the instants.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware datetime into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: an instant needs one")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back the instant in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonObject(TypeDecorator[dict[str, Any]]):
    """A JSON object; NULL where there is none, never the JSON word null."""

    impl = JSON(none_as_null=True)
    cache_ok = True


class JsonList(TypeDecorator[list[Any]]):
    """A JSON array of any JSON values."""

    impl = JSON(none_as_null=True)
    cache_ok = True


class JsonTexts(TypeDecorator[tuple[str, ...]]):
    """A tuple of texts, kept as a JSON array."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(
        self, value: tuple[str, ...] | None, dialect: Dialect
    ) -> list[str] | None:
        """Hand JSON the list that it knows."""
        return None if value is None else list(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> tuple[str, ...] | None:
        """Give back a tuple."""
        return None if value is None else tuple(value)


class CodePointOrder(GenericFunction[Any]):
    """A column to sort by: texts by code points, whatever the locale of the database."""

    inherit_cache = True


@compiles(CodePointOrder)
def _plain(element: CodePointOrder, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(CodePointOrder, "postgresql")
def _collated(element: CodePointOrder, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(element.clauses, **options)
    (argument,) = element.clauses
    return f'{column} COLLATE "C"' if isinstance(argument.type, String) else column

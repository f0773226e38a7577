"""Reading versions in a session: by condition, in an order, and what is said of unknown ones."""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from ..errors import QueryError, UnknownVersionError, did_you_mean
from ..records import VersionRecord
from .columns import CodePointOrder
from .conditions import column_of
from .models import Adapter, Version
from .rows import is_latest, records_of, select_records, select_versions

_PREFIX = re.compile(r"[0-9a-f]{6,64}")


def read_versions(
    session: Session,
    *conditions: ColumnElement[bool],
    order: tuple[ColumnElement[object], ...] = (),
    limit: int | None = None,
) -> list[VersionRecord]:
    """Return the versions for which all `conditions` hold; among equals by name and number."""
    query = select_records().where(*conditions)
    query = query.order_by(*order, *order_by("name"), Version.number).limit(limit)
    return records_of(session, query)


def read_version(session: Session, name: str, number: int | None) -> Version:
    """Return the rows of version `number` of `name`, or of the latest one.

    Raises UnknownVersionError, with near misses, when there is no such name or version.
    """
    chosen = is_latest() if number is None else Version.number == number
    row: Version | None = session.scalar(select_versions().where(Adapter.name == name, chosen))
    if row is None:
        raise unknown_version(session, name, number)
    return row


def order_by(sort: str) -> tuple[ColumnElement[object], ...]:
    """Return the order by a field, ``-`` before it for descending; unknown values come last.

    Raises QueryError for an unknown field.
    """
    column = CodePointOrder(column_of(sort.removeprefix("-")))
    return ((column.desc() if sort.startswith("-") else column.asc()).nulls_last(),)


def digest_prefix(digest: str) -> str:
    """Return `digest` if it can be the beginning of a sha256.

    Raises QueryError when it cannot.
    """
    if not _PREFIX.fullmatch(digest):
        raise QueryError(f"{digest!r} is not the beginning of a sha256: 6 to 64 hex digits")
    return digest


def unknown_version(session: Session, name: str, number: int | None) -> UnknownVersionError:
    """Return the error for a name that is not there, or that has no such version."""
    names = list(session.scalars(select(Adapter.name)))
    if name not in names:
        return UnknownVersionError(f"no adapter is named {name!r}{did_you_mean(name, names)}")
    query = select(func.max(Version.number)).join(Version.adapter).where(Adapter.name == name)
    highest = session.scalar(query)
    known = "only v1" if highest == 1 else f"v1 to v{highest}"
    return UnknownVersionError(f"{name!r} has no version {number}: it has {known}")

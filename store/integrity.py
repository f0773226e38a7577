"""Whether the database is sound, and its entries as they were written."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import text
from sqlalchemy.orm import Session

from .errors import RecordError
from .provenance import provenance_digest
from .records import NewVersion
from .sql.models import Version
from .sql.rows import select_versions, version_record


def read_problems(session: Session) -> list[str]:
    """Return what is wrong with the database's file (SQLite) and with the entries, in sentences."""
    return _file_problems(session) + [
        problem
        for row in session.scalars(select_versions().order_by(Version.id))
        for problem in _entry_problems(row)
    ]


def _file_problems(session: Session) -> list[str]:
    if session.connection().dialect.name != "sqlite":
        return []  # PostgreSQL checks its pages as it reads them.
    found = [str(row[0]) for row in session.execute(text("PRAGMA integrity_check"))]
    broken = session.execute(text("PRAGMA foreign_key_check")).all()
    found += [f"a row of {row[0]!r} refers to none of {row[2]!r}" for row in broken]
    return [f"the catalogue is damaged: {problem}" for problem in found if problem != "ok"]


def _entry_problems(row: Version) -> list[str]:
    record = version_record(row)
    values = {item.name: getattr(record, item.name) for item in fields(NewVersion)}
    try:
        found = provenance_digest(NewVersion(**values))
    except RecordError as error:
        return [f"{record.label}: the catalogue's entry was changed: {error}"]
    if found != row.provenance_digest:
        return [f"{record.label}: the catalogue's entry was changed since it was written"]
    return []

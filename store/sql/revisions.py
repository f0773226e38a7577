"""Which revision of the tables this code works on, told without importing Alembic."""

from __future__ import annotations

import re

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from ..errors import NoCatalogError, SchemaError

SCHEMA_REVISIONS = (
    "0001_catalogue",
    "0002_recipes",
    "0003_repositories",
    "0004_listings",
    "0005_training",
    "0006_warnings",
    "0007_pending",
)
SCHEMA_REVISION = SCHEMA_REVISIONS[-1]
_OURS = re.compile(r"\d{4}_[a-z_]+")


def current_revision(session: Session) -> str | None:
    """Return the revision that the database says it is at, or None when it is no catalogue."""
    if not inspect(session.connection()).has_table("alembic_version"):
        return None
    revision: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def check_revision(session: Session, location: str) -> None:
    """Let only a database at this code's revision pass; `location` is what messages call it.

    Raises NoCatalogError for a database without a catalogue, SchemaError for an older or newer one.
    """
    revision = current_revision(session)
    if revision == SCHEMA_REVISION:
        return
    if revision is None:
        raise NoCatalogError(f"no catalogue at {location}: run 'isogloss init'")
    if revision in SCHEMA_REVISIONS:
        raise SchemaError(
            f"the catalogue at {location} was made by an older isogloss (its tables are at "
            f"{revision}, this isogloss needs {SCHEMA_REVISION}): run 'isogloss db upgrade'"
        )
    if not _OURS.fullmatch(revision):
        raise SchemaError(
            f"the database at {location} is another program's: its tables are at {revision}, "
            "which is no revision of isogloss; give another database"
        )
    raise SchemaError(
        f"the catalogue at {location} was made by a newer isogloss (its tables are at {revision}, "
        f"this isogloss knows {SCHEMA_REVISION}): upgrade isogloss"
    )

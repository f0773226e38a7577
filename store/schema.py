"""Making the catalogue's tables and moving them between releases: the only home of Alembic.

The revisions travel inside the installed package. Each change runs in one transaction, so that a
process that is killed leaves the old tables or the new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from .errors import NoCatalogError, SchemaError
from .sql.database import PATIENCE_SECONDS, Database
from .sql.failures import in_words
from .sql.revisions import SCHEMA_REVISION, SCHEMA_REVISIONS, check_revision, current_revision

_ADVISORY_LOCK = 0x150611055
_VERSION_TABLE = "alembic_version"
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Revision:
    """A state of the tables: its id, the one before it, and what it brought, in a sentence."""

    id: str
    previous: str | None
    summary: str


def create(url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Make the tables at `url`; nothing happens to a catalogue of this release.

    An SQLite file's folder is made too.

    Raises SchemaError for a catalogue of another release, and for a database that has tables of
    something else, which are left alone; StorageError when the database cannot be made.
    """

    def work(session: Session) -> None:
        if current_revision(session) is not None:
            check_revision(session, database.location)
            return
        taken = sorted(set(inspect(session.connection()).get_table_names()) - {_VERSION_TABLE})
        if taken:
            more = f" and {len(taken) - _NAMED} more" if len(taken) > _NAMED else ""
            raise SchemaError(
                f"{database.location} is no catalogue, but has tables of something else: "
                f"{', '.join(taken[:_NAMED])}{more}; give an empty database"
            )
        _upgrade(session, SCHEMA_REVISION)

    with _opened(url, patience_seconds, create=True) as database:
        if database.path is not None:
            with in_words(database.path.parent):
                database.path.parent.mkdir(parents=True, exist_ok=True)
        _in_turn(database, work)


def upgrade(
    url: str, revision: str = SCHEMA_REVISION, *, patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """Move the tables at `url` up to `revision`; the adapters stay.

    Raises NoCatalogError where there is no catalogue, SchemaError for one of a newer release.
    """

    def work(session: Session) -> None:
        _check_known(session, database.location)
        _upgrade(session, revision)

    with _opened(url, patience_seconds) as database:
        _in_turn(database, work)


def downgrade(url: str, revision: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Move the tables at `url` down to `revision` (``base``: none), losing what newer ones hold.

    Raises NoCatalogError where there is no catalogue, SchemaError for one of a newer release.
    """

    def work(session: Session) -> None:
        _check_known(session, database.location)
        with _config(session) as config:
            command.downgrade(config, revision)

    with _opened(url, patience_seconds) as database:
        _in_turn(database, work)


def current(url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> str | None:
    """Return the revision that the tables at `url` are at, or None when there are none.

    Raises NoCatalogError when there is no database either.
    """
    with _opened(url, patience_seconds) as database:
        return database.read(current_revision)


def history() -> list[Revision]:
    """Return all revisions, the first one first."""
    with _config(None) as config:
        scripts = ScriptDirectory.from_config(config)
        return [
            Revision(script.revision, _previous(script.down_revision), script.doc)
            for script in reversed(list(scripts.walk_revisions()))
        ]


def _previous(down_revision: str | tuple[str, ...] | list[str] | None) -> str | None:
    if down_revision is None or isinstance(down_revision, str):
        return down_revision
    raise SchemaError(f"the revisions branch at {', '.join(down_revision)}")


@contextmanager
def _opened(url: str, patience_seconds: float, *, create: bool = False) -> Iterator[Database]:
    # SQLite changes a table by copying it, which foreign keys would turn into deletions.
    database = Database(url, create=create, foreign_keys=False, patience_seconds=patience_seconds)
    try:
        yield database
    finally:
        database.close()


def _in_turn(database: Database, work: Callable[[Session], None]) -> None:
    def alone(session: Session) -> None:
        if database.path is None:
            session.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        work(session)
        if database.path is not None and session.execute(text("PRAGMA foreign_key_check")).all():
            raise SchemaError(
                f"the catalogue at {database.location} has rows that refer to nothing"
            )

    database.write(alone)


def _check_known(session: Session, location: str) -> None:
    revision = current_revision(session)
    if revision is None:
        raise NoCatalogError(f"no catalogue at {location}: run 'isogloss init'")
    if revision not in SCHEMA_REVISIONS:
        check_revision(session, location)


def _upgrade(session: Session, revision: str) -> None:
    with _config(session) as config:
        command.upgrade(config, revision)


@contextmanager
def _config(session: Session | None) -> Iterator[Config]:
    with as_file(files("isogloss.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        if session is not None:
            config.attributes["connection"] = session.connection()
        yield config


__all__ = ["SCHEMA_REVISION", "Revision", "create", "current", "downgrade", "history", "upgrade"]

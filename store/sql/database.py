"""Transactions on the catalogue's database: waiting, repeating, and errors in words.

A unit of work is a function of a session, so that it can be run again when another process got in
the way. On SQLite a writer takes the lock at once (BEGIN IMMEDIATE: a lock that is asked for half
way cannot be waited for); on PostgreSQL a writer repeats what lost a race.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from ..errors import DamagedCatalogError, NoCatalogError, StorageError, StoreError
from .engine import parse_url, postgresql_engine, sqlite_engine, sqlite_path

PATIENCE_SECONDS = 60.0

_T = TypeVar("_T")

# unique_violation, serialization_failure, deadlock_detected, lock_not_available
_LOST_RACES = ("23505", "40001", "40P01", "55P03")
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


class Database:
    """A catalogue's database.

    `url` is ``sqlite:///path`` or ``postgresql://user@host/name`` (psycopg 3). Nothing is connected
    and nothing is made until the first transaction; only with `create` may an SQLite file be made.
    A transaction waits for other processes up to `patience_seconds`. Usable from several threads;
    a forked process opens its own.

    Raises DatabaseUrlError for an address that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        create: bool = False,
        foreign_keys: bool = True,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.url = parse_url(url)
        self.path = sqlite_path(self.url)
        self.patience_seconds = patience_seconds
        if self.path is None:
            self._engine = postgresql_engine(self.url, patience=patience_seconds)
        else:
            self._engine = sqlite_engine(
                self.path, create=create, foreign_keys=foreign_keys, patience=patience_seconds
            )

    @property
    def location(self) -> str:
        """The file, or the address without its password: what messages name."""
        return str(self.path) if self.path else self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def read(self, work: Callable[[Session], _T]) -> _T:
        """Run `work` in a transaction that only reads, and return what it returns.

        Raises StorageError, NoCatalogError or DamagedCatalogError when the database cannot do it.
        """
        return self._run(work, write=False)

    def write(self, work: Callable[[Session], _T]) -> _T:
        """Run `work` in a transaction that writes; it is run again when it lost a race.

        Raises StorageError, NoCatalogError or DamagedCatalogError when the database cannot do it.
        """
        return self._run(work, write=True)

    def write_alone(self, tables: str, work: Callable[[Session], None]) -> None:
        """Run `work` while nobody else can write to `tables`, joined by commas."""

        def alone(session: Session) -> None:
            if self.path is None:
                session.execute(text(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))
            work(session)

        self.write(alone)

    def _run(self, work: Callable[[Session], _T], *, write: bool) -> _T:
        engine = self._engine.execution_options(isogloss_write=write)
        deadline = time.monotonic() + self.patience_seconds
        pause_seconds = 0.005
        while True:
            try:
                with Session(engine, expire_on_commit=False) as session, session.begin():
                    session.connection()  # Begins: a writer has its lock before `work` runs.
                    return work(session)
            except DBAPIError as error:
                if not _lost_race(error) or time.monotonic() > deadline:
                    words = self._in_words(error)
                    if words is None:
                        raise
                    raise words from error
            except PoolTimeoutError as error:
                raise self._busy() from error
            time.sleep(random.uniform(0, pause_seconds))
            pause_seconds = min(pause_seconds * 2, 0.5)

    def _busy(self) -> StorageError:
        return StorageError(
            f"the catalogue at {self.location} has been busy for {self.patience_seconds:g} s: "
            "another process is writing to it; try again when that is done"
        )

    def _in_words(self, error: DBAPIError) -> StoreError | None:
        if isinstance(error.orig, sqlite3.Error):
            return self._sqlite_in_words(error.orig)
        state = getattr(error.orig, "sqlstate", None)
        if state in _LOST_RACES:
            return self._busy()
        # Classes 08, 53, 57, 58: connection, resources, intervention, system; None: no connection.
        # 25006 and 42501: a read-only server, a user without the right.
        if state is None or state[:2] in ("08", "53", "57", "58") or state in ("25006", "42501"):
            reason = " ".join(str(error.orig).split())
            return StorageError(f"the database at {self.location} refuses: {reason}")
        return None

    def _sqlite_in_words(self, error: sqlite3.Error) -> StoreError | None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            return self._busy()
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return DamagedCatalogError(
                f"{self.location} is not a catalogue, or a damaged one: {error}"
            )
        if code == sqlite3.SQLITE_CANTOPEN and self.path and not self.path.exists():
            return NoCatalogError(f"no catalogue at {self.location}: run 'isogloss init'")
        reasons = {
            sqlite3.SQLITE_FULL: "the disk is full: make room, then try again",
            sqlite3.SQLITE_READONLY: "it is read-only: check its permissions and its folder's",
            sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check its permissions and its folder's",
            sqlite3.SQLITE_PERM: "it cannot be opened: check its permissions and its folder's",
            sqlite3.SQLITE_IOERR: f"the disk fails ({error})",
        }
        if code in reasons:
            return StorageError(f"the catalogue at {self.location} cannot be used: {reasons[code]}")
        return None


def _lost_race(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _BUSY
    return getattr(error.orig, "sqlstate", None) in _LOST_RACES

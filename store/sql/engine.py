"""Addresses of databases, and the engines for them: what SQLite and PostgreSQL each need set."""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from ..errors import DatabaseUrlError

_SQLITE = ("sqlite", "sqlite+pysqlite")
_POSTGRESQL = ("postgres", "postgresql", "postgresql+psycopg")

_to_json = partial(json.dumps, allow_nan=False, separators=(",", ":"))


def parse_url(address: str) -> URL:
    """Read ``sqlite:///path`` or ``postgresql://user@host/name``, with the driver filled in.

    The path of SQLite is taken as it is written: a ``%`` or a ``?`` in it means itself.

    Raises DatabaseUrlError for another database or driver, and for SQLite without a file.
    """
    # Not read by SQLAlchemy, whose releases disagree on what is quoted in a path.
    scheme, _, path = address.partition(":///")
    if scheme in _SQLITE and path not in ("", ":memory:"):
        return URL.create("sqlite+pysqlite", database=path)
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise DatabaseUrlError(
            f"{address!r} is not the address of a database: write sqlite:///path/catalog.sqlite3 "
            "or postgresql://user@host/name"
        ) from error
    if url.drivername in _SQLITE:
        raise DatabaseUrlError(
            f"{address!r} names no file: write sqlite:///path/catalog.sqlite3 "
            "(four slashes for an absolute path)"
        )
    if url.drivername not in _POSTGRESQL:
        raise DatabaseUrlError(
            f"no catalogue can be kept in {url.drivername!r}: only sqlite:///path and "
            "postgresql://user@host/name are known"
        )
    return url.set(drivername="postgresql+psycopg")


def sqlite_path(url: URL) -> Path | None:
    """Return the file of an SQLite address, absolute, or None for a database server."""
    if not url.drivername.startswith("sqlite"):
        return None
    return Path(str(url.database)).absolute()


def sqlite_engine(path: Path, *, create: bool, foreign_keys: bool, patience: float) -> Engine:
    """Return an engine for the SQLite file at `path`.

    Only with `create` may the file be made, and only then is it put into WAL mode, which it keeps:
    opening somebody else's database must not change it. `patience` is in seconds.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={'rwc' if create else 'rw'}",
            uri=True,
            timeout=patience,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _configure(connection, create=create, foreign_keys=foreign_keys)
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        "sqlite+pysqlite://", creator=connect, poolclass=QueuePool, json_serializer=_to_json
    )
    event.listen(engine, "begin", _begin)
    return engine


def postgresql_engine(url: URL, *, patience: float) -> Engine:
    """Return an engine for the PostgreSQL database at `url`; `patience` is in seconds.

    Raises DatabaseUrlError when psycopg is not installed.
    """
    try:
        return create_engine(
            url,
            connect_args={
                "connect_timeout": max(2, round(patience)),
                "application_name": "isogloss",
            },
            json_serializer=_to_json,
            pool_pre_ping=True,
        )
    except ImportError as error:
        raise DatabaseUrlError(
            "a catalogue in PostgreSQL needs psycopg: pip install 'isogloss[postgresql]'"
        ) from error


def _configure(connection: sqlite3.Connection, *, create: bool, foreign_keys: bool) -> None:
    connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
    # FULL: a committed version outlives a power cut, which NORMAL does not promise under WAL.
    connection.execute("PRAGMA synchronous=FULL")
    if create:
        connection.execute("PRAGMA journal_mode=WAL")
    # SQLite's own lower() knows ASCII only; `~` ignores case in every script.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("isogloss_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

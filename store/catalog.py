"""The catalogue: what adapters there are, what is known of each, and what each was made of.

Every method is one short transaction; what it returns is a value without a tie to the database.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from .columns import CodePointOrder
from .conditions import EVERYTHING, Condition, column_of, to_sql
from .database import PATIENCE_SECONDS, Database
from .errors import BlobError, QueryError, UnknownVersionError, did_you_mean
from .models import Adapter, Composition, Version, Withdrawal
from .provenance import provenance_digest
from .records import Added, NewVersion, VersionRecord
from .revisions import check_revision
from .rows import is_latest, select_versions, version_record, version_row

_PREFIX = re.compile(r"[0-9a-f]{6,64}")


class Catalog:
    """A catalogue of adapters in an SQLite file or a PostgreSQL database.

    Made by `open` or `create`; close it, or use it as a context manager. Several threads may share
    one; another process opens its own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> Self:
        """Open the catalogue at `url`: ``sqlite:///path`` or ``postgresql://user@host/name``.

        Other processes' writing is waited for up to `patience_seconds`. Nothing is made or changed.

        Raises NoCatalogError where there is none, SchemaError when it belongs to another release of
        isogloss, DatabaseUrlError and StorageError when the database cannot be reached.
        """
        database = Database(url, patience_seconds=patience_seconds)
        try:
            database.read(lambda session: check_revision(session, database.location))
        except BaseException:
            database.close()
            raise
        return cls(database)

    @classmethod
    def create(cls, url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> Self:
        """Make the catalogue at `url` unless it is there already, and open it.

        Raises SchemaError for a catalogue of another release, StorageError when it cannot be made.
        """
        from . import schema  # Alembic is slow to import, and only needed here.

        schema.create(url, patience_seconds=patience_seconds)
        return cls.open(url, patience_seconds=patience_seconds)

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.close()

    def __enter__(self) -> Self:
        """Return the catalogue, to be closed on leaving."""
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def location(self) -> str:
        """The file, or the address without its password."""
        return self._database.location

    def add(self, new: NewVersion, *, stored: Callable[[str], bool] | None = None) -> Added:
        """Record `new` as the next version of its name, or find that it is there already.

        It is there when the latest version, or the highest one should that be withdrawn, has the
        same content and provenance. `stored` tells whether the weights of a digest lie in the blob
        store (``blobs.contains``); it is asked inside the transaction, which `gc` cannot overlap.

        Raises RecordError for a value that cannot be recorded, BlobError when the weights are gone.
        """
        digest = provenance_digest(new)

        def work(session: Session) -> Added:
            adapter = session.scalar(
                select(Adapter).where(Adapter.name == new.name).with_for_update()
            )
            now = datetime.now(UTC)
            if adapter is None:
                adapter = Adapter(name=new.name, created_at=now)
            versions = _latest_and_highest(session, adapter) if adapter.id else []
            for row in versions:
                if row.provenance_digest == digest:
                    return Added(version_record(row), created=False)
            number = max((row.number for row in versions), default=0) + 1
            row = version_row(new, adapter, number, now)
            session.add(row)
            session.flush()
            if stored is not None and not stored(new.digest):
                raise BlobError(
                    f"the weights of {new.name!r} (sha256 {new.digest}) are not in the store: "
                    "write them, then add again"
                )
            return Added(version_record(row), created=True)

        return self._database.write(work)

    def get(self, name: str, number: int | None = None) -> VersionRecord:
        """Return version `number` of `name`, or the latest one.

        The latest is the highest that is not withdrawn; where all are, the highest.

        Raises UnknownVersionError, with near misses, when there is no such name or version.
        """
        chosen = is_latest() if number is None else Version.number == number

        def work(session: Session) -> VersionRecord:
            row = session.scalar(select_versions().where(Adapter.name == name, chosen))
            if row is None:
                raise _unknown(session, name, number)
            return version_record(row)

        return self._database.read(work)

    def versions(self, name: str) -> list[VersionRecord]:
        """Return all versions of `name`, the first one first.

        Raises UnknownVersionError, with near misses, when there is no such name.
        """

        def work(session: Session) -> list[VersionRecord]:
            found = _records(session, Adapter.name == name)
            if not found:
                raise _unknown(session, name, None)
            return found

        return self._database.read(work)

    def find(
        self,
        condition: Condition = EVERYTHING,
        *,
        sort: str | None = None,
        limit: int | None = None,
        latest: bool = True,
    ) -> list[VersionRecord]:
        """Return the versions for which `condition` holds (see `conditions` for what that is).

        With `latest` only the latest version of each name is asked. `sort` is a field, with ``-``
        before it for descending order; versions without the field come last either way. Otherwise,
        and among equals, the order is by name and version.

        Raises QueryError for an unknown field, or a comparison that a field does not have.
        """
        chosen = to_sql(condition)
        order = _order(sort) if sort else ()
        if limit is not None and limit < 0:
            raise QueryError(f"limit {limit} is negative")

        def work(session: Session) -> list[VersionRecord]:
            conditions = (chosen, is_latest()) if latest else (chosen,)
            return _records(session, *conditions, order=order, limit=limit)

        return self._database.read(work)

    def by_digest(self, weights: str, config: str | None = None) -> list[VersionRecord]:
        """Return the versions whose weights' digest begins with `weights`: 6 to 64 hex digits.

        With `config` the digest of the effective configuration begins with that too.

        Raises QueryError for what is not the beginning of a sha256.
        """
        conditions = [Version.digest.startswith(_prefix(weights))]
        if config is not None:
            conditions.append(Version.config_digest.startswith(_prefix(config)))
        return self._database.read(lambda session: _records(session, *conditions))

    def composed(self, plan_digest: str, dtype: str) -> VersionRecord | None:
        """Return the newest version that was composed by this plan into `dtype`, if there is one.

        Withdrawn versions are not considered.
        """
        conditions = (
            Composition.plan_digest == plan_digest,
            Composition.dtype == dtype,
            Withdrawal.version_id.is_(None),
        )

        def work(session: Session) -> VersionRecord | None:
            row = session.scalar(
                select_versions()
                .join(Version.composition)
                .where(*conditions)
                .order_by(Version.id.desc())
                .limit(1)
            )
            return None if row is None else version_record(row)

        return self._database.read(work)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        query = select(Adapter.name)
        return sorted(self._database.read(lambda session: session.scalars(query).all()))

    def tasks(self) -> list[str]:
        """Return all tasks that a version is for, sorted."""
        query = select(Version.task).where(Version.task.is_not(None)).distinct()
        found = self._database.read(lambda session: session.scalars(query).all())
        return sorted(task for task in found if task is not None)

    def referenced_digests(self) -> frozenset[str]:
        """Return the digests of all weights that a version refers to."""
        query = select(Version.digest).distinct()
        return frozenset(self._database.read(lambda session: session.scalars(query).all()))


def _records(
    session: Session,
    *conditions: ColumnElement[bool],
    order: tuple[ColumnElement[object], ...] = (),
    limit: int | None = None,
) -> list[VersionRecord]:
    query = select_versions().where(*conditions)
    query = query.order_by(*order, *_order("name"), Version.number).limit(limit)
    return [version_record(row) for row in session.scalars(query)]


def _order(sort: str) -> tuple[ColumnElement[object], ...]:
    column = CodePointOrder(column_of(sort.removeprefix("-")))
    return ((column.desc() if sort.startswith("-") else column.asc()).nulls_last(),)


def _latest_and_highest(session: Session, adapter: Adapter) -> list[Version]:
    of_adapter = Version.adapter_id == adapter.id
    highest = select(func.max(Version.number)).where(of_adapter).scalar_subquery()
    query = select_versions().where(of_adapter, is_latest() | (Version.number == highest))
    return list(session.scalars(query.order_by(Version.number)))


def _prefix(digest: str) -> str:
    if not _PREFIX.fullmatch(digest):
        raise QueryError(f"{digest!r} is not the beginning of a sha256: 6 to 64 hex digits")
    return digest


def _unknown(session: Session, name: str, number: int | None) -> UnknownVersionError:
    names = list(session.scalars(select(Adapter.name)))
    if name not in names:
        return UnknownVersionError(f"no adapter is named {name!r}{did_you_mean(name, names)}")
    query = select(func.max(Version.number)).join(Version.adapter).where(Adapter.name == name)
    highest = session.scalar(query)
    known = "only v1" if highest == 1 else f"v1 to v{highest}"
    return UnknownVersionError(f"{name!r} has no version {number}: it has {known}")

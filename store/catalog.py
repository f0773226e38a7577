"""The catalogue: what adapters there are, what is known of each, and what each was made of.

Every method is one short transaction; what it returns is a value without a tie to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Self

from sqlalchemy import select, true
from sqlalchemy.orm import Session

from .errors import QueryError, RecordError
from .evaluations import Evaluations
from .integrity import read_problems
from .lineage import Lineage, read_lineage
from .listings import Listings
from .provenance import provenance_digest
from .publications import Publications
from .recipes import Recipes
from .records import Added, NewVersion, VersionRecord, Withdrawn, check_text
from .repositories.repository import Repositories, referenced_digests
from .repositories.tables import RepositoryFile
from .sql.conditions import EVERYTHING, Condition, to_sql
from .sql.database import PATIENCE_SECONDS, Database
from .sql.models import Adapter, Composition, Version, Withdrawal
from .sql.reading import digest_prefix, order_by, read_version, read_versions, unknown_version
from .sql.revisions import check_revision
from .sql.rows import is_latest, select_versions, version_record
from .sql.writing import add_version, withdraw_version

_BATCH = 100


class Catalog:
    """A catalogue of adapters in an SQLite file or a PostgreSQL database.

    Made by `open` or `create`; close it, or use it as a context manager. Several threads may share
    one; another process opens its own. `recipes`, `repositories`, `evaluations`, `listings` and
    `publications` are kept in it too.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.evaluations = Evaluations(database)
        self.listings = Listings(database)
        self.publications = Publications(database)
        self.recipes = Recipes(database)
        self.repositories = Repositories(database)

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
        same content and provenance; and a version that waits for the weights of this source and
        commit becomes what `new` is. `stored` tells whether the weights of a digest lie in the blob
        store (``blobs.contains``); it is asked inside the transaction, which `collect` cannot
        overlap, so that no version is ever recorded without its weights.

        Raises RecordError for a value that cannot be recorded, BlobError when the weights are gone.
        """
        provenance = provenance_digest(new)
        return self._database.write(lambda session: add_version(session, new, provenance, stored))

    def withdraw(self, name: str, number: int, reason: str) -> Withdrawn:
        """Mark version `number` of `name` as one that should no longer be chosen.

        It is kept, but is not the latest one any more while another is left. The outcome lists what
        was made of it. Saying the same again changes nothing.

        Raises UnknownVersionError when there is no such version, RecordError for an empty reason,
        and when it was withdrawn for another reason before.
        """
        check_text("reason", reason)
        if not reason.strip():
            raise RecordError(f"{name}@v{number} cannot be withdrawn without a reason")
        return self._database.write(lambda session: withdraw_version(session, name, number, reason))

    def get(self, name: str, number: int | None = None) -> VersionRecord:
        """Return version `number` of `name`, or the latest one.

        The latest is the highest that is not withdrawn; where all are, the highest.

        Raises UnknownVersionError, with near misses, when there is no such name or version.
        """
        return self._database.read(
            lambda session: version_record(read_version(session, name, number))
        )

    def versions(self, name: str) -> list[VersionRecord]:
        """Return all versions of `name`, the first one first.

        Raises UnknownVersionError, with near misses, when there is no such name.
        """

        def work(session: Session) -> list[VersionRecord]:
            found = read_versions(session, Adapter.name == name)
            if not found:
                raise unknown_version(session, name, None)
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
        conditions = [to_sql(condition)]
        if latest:
            conditions.append(is_latest())
        order = order_by(sort) if sort else ()
        if limit is not None and limit < 0:
            raise QueryError(f"limit {limit} is negative")
        if limit is not None and limit >= 2**63:
            raise QueryError(f"limit {limit} is more than any catalogue can hold")
        return self._database.read(
            lambda session: read_versions(session, *conditions, order=order, limit=limit)
        )

    def by_digest(self, weights: str, config: str | None = None) -> list[VersionRecord]:
        """Return the versions whose weights' digest begins with `weights`: 6 to 64 hex digits.

        Weights that are not here yet have no digest that anybody could name. With `config` the
        digest of the effective configuration begins with that too.

        Raises QueryError for what is not the beginning of a sha256.
        """
        conditions = [Version.digest.startswith(digest_prefix(weights)), Version.here == true()]
        if config is not None:
            conditions.append(Version.config_digest.startswith(digest_prefix(config)))
        return self._database.read(lambda session: read_versions(session, *conditions))

    def composed(self, plan_digest: str, dtype: str) -> VersionRecord | None:
        """Return the newest version that was composed by this plan into `dtype`, if there is one.

        Withdrawn versions are not considered.
        """
        query = (
            select_versions()
            .join(Version.composition)
            .where(Composition.plan_digest == plan_digest, Composition.dtype == dtype)
            .where(Withdrawal.version_id.is_(None), Version.here == true())
            .order_by(Version.id.desc())
            .limit(1)
        )

        def work(session: Session) -> VersionRecord | None:
            row = session.scalar(query)
            return None if row is None else version_record(row)

        return self._database.read(work)

    def ancestors(self, name: str, number: int | None = None) -> Lineage:
        """Return what version `number` of `name`, or the latest one, was made of, to the roots.

        Raises UnknownVersionError, with near misses, when there is no such name or version.
        """
        return self._database.read(
            lambda session: read_lineage(session, name, number, upwards=True)
        )

    def descendants(self, name: str, number: int | None = None) -> Lineage:
        """Return what was made of version `number` of `name`, or of the latest one, to the leaves.

        Raises UnknownVersionError, with near misses, when there is no such name or version.
        """
        return self._database.read(
            lambda session: read_lineage(session, name, number, upwards=False)
        )

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
        """Return the digests of all content that a version or a repository refers to."""
        query = select(Version.digest).distinct()
        return frozenset(
            self._database.read(
                lambda session: {*session.scalars(query), *referenced_digests(session)}
            )
        )

    def with_unreferenced(self, digests: Iterable[str], act: Callable[[str], None]) -> None:
        """Call `act` for each of `digests` that nothing refers to, while nothing can be added."""
        candidates = sorted(set(digests))
        for start in range(0, len(candidates), _BATCH):
            batch = candidates[start : start + _BATCH]
            self._database.write_alone(
                f"{Version.__tablename__}, {RepositoryFile.__tablename__}",
                partial(_with_unreferenced, digests=batch, act=act),
            )

    def integrity_problems(self) -> list[str]:
        """Return what is wrong with the database's file and with the entries in it, in sentences.

        An entry is read against the digest of content and provenance that it was written with.
        """
        return self._database.read(read_problems)


def _with_unreferenced(session: Session, digests: list[str], act: Callable[[str], None]) -> None:
    referenced = {
        digest
        for column in (Version.digest, RepositoryFile.digest)
        for digest in session.scalars(select(column).where(column.in_(digests)))
    }
    for digest in digests:
        if digest not in referenced:
            act(digest)

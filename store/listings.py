"""What hubs list: which repositories were read at which commit, and what became of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from .errors import RecordError
from .provenance import provenance_digest
from .records import Added, NewVersion, check_text
from .sql.database import Database
from .sql.models import Listing as ListingRow
from .sql.writing import add_version

_MOST_NAMES = 500
"""SQLite takes so many values, and more, in one statement."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository as it was at a commit.

    Attributes:
        reason: why it was not catalogued; None where it was.
        version: what it is to be catalogued as; None where nothing is new, and in what is read.
    """

    repo: str
    commit: str
    reason: str | None = None
    version: NewVersion | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """The outcome of recording a listing: what it was added as, if it was to be."""

    listing: Listing
    added: Added | None


class Listings:
    """The listings of hubs that a catalogue was filled from (``catalog.listings``)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, endpoint: str, repos: Collection[str]) -> dict[str, Listing]:
        """Return what is known of those of `repos` that were read before, by their names."""
        names = sorted(repos)

        def work(session: Session) -> dict[str, Listing]:
            return {row.repo: _listing(row) for row in _rows(session, endpoint, names)}

        return self._database.read(work)

    def record(self, endpoint: str, listings: Sequence[Listing]) -> list[Listed]:
        """Note what was read, and add its versions, in one transaction.

        Raises RecordError for what cannot be recorded, and for a repository that is there twice;
        nothing is recorded then.
        """
        digests = [provenance_digest(one.version) if one.version else "" for one in listings]
        for one in listings:
            for what in ("repo", "commit", "reason"):
                check_text(what, getattr(one, what) or "")
        if len({one.repo for one in listings}) < len(listings):
            raise RecordError("a repository is listed twice")

        def work(session: Session) -> list[Listed]:
            rows = {row.repo: row for row in _rows(session, endpoint, [x.repo for x in listings])}
            listed = {}
            # In one order for all who record at once: in two, each could wait for the other.
            for one, digest in sorted(zip(listings, digests, strict=True), key=_by_repo):
                row = rows.get(one.repo) or ListingRow(endpoint=endpoint, repo=one.repo)
                row.commit_sha, row.reason, row.read_at = one.commit, one.reason, datetime.now(UTC)
                session.add(row)
                added = add_version(session, one.version, digest, None) if one.version else None
                listed[one.repo] = Listed(one, added)
            return [listed[one.repo] for one in listings]

        return self._database.write(work)


def _rows(session: Session, endpoint: str, repos: Sequence[str]) -> list[ListingRow]:
    found: list[ListingRow] = []
    for start in range(0, len(repos), _MOST_NAMES):
        named = ListingRow.repo.in_(repos[start : start + _MOST_NAMES])
        found += session.scalars(select(ListingRow).where(ListingRow.endpoint == endpoint, named))
    return found


def _by_repo(pair: tuple[Listing, str]) -> str:
    return pair[0].repo


def _listing(row: ListingRow) -> Listing:
    return Listing(row.repo, row.commit_sha, row.reason)

"""Where versions were published: endpoint, repository, tag and commit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from .records import check_text
from .sql.database import Database
from .sql.models import Publication, Version
from .sql.reading import read_version


@dataclass(frozen=True, slots=True)
class PublicationRecord:
    """A place where a version was published: endpoint, repository, tag, commit; when, in UTC."""

    endpoint: str
    repo: str
    tag: str | None
    commit: str
    created_at: datetime


class Publications:
    """The publications of a catalogue's versions (``catalog.publications``)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, name: str, number: int, *, endpoint: str, repo: str, tag: str | None, commit: str
    ) -> PublicationRecord:
        """Note that version `number` of `name` is at `commit` of `repo`; the same again is no news.

        A commit that was noted with another tag gets this one.

        Raises UnknownVersionError when there is no such version.
        """
        for what, text in (("endpoint", endpoint), ("repository", repo), ("tag", tag or "")):
            check_text(what, text)

        def work(session: Session) -> PublicationRecord:
            version = read_version(session, name, number)
            row = session.scalar(
                select(Publication).where(
                    Publication.version_id == version.id,
                    Publication.endpoint == endpoint,
                    Publication.repo == repo,
                    Publication.commit_sha == commit,
                )
            )
            if row is None:
                row = Publication(
                    version_id=version.id,
                    endpoint=endpoint,
                    repo=repo,
                    commit_sha=commit,
                    created_at=datetime.now(UTC),
                )
                session.add(row)
            row.tag = tag
            session.flush()
            return _record(row)

        return self._database.write(work)

    def of(self, name: str, number: int) -> list[PublicationRecord]:
        """Return where version `number` of `name` was published, the first place first.

        Raises UnknownVersionError when there is no such version.
        """

        def work(session: Session) -> list[PublicationRecord]:
            version = read_version(session, name, number)
            return _published(session, Publication.version_id == version.id)

        return self._database.read(work)

    def repositories(self, endpoint: str) -> frozenset[str]:
        """Return the repositories at an endpoint that anything was published to from here."""
        query = select(Publication.repo).where(Publication.endpoint == endpoint).distinct()
        return frozenset(self._database.read(lambda session: session.scalars(query).all()))

    def of_content(self, digest: str, config_digest: str) -> list[PublicationRecord]:
        """Return where versions of that content were published, the first place first."""
        versions = select(Version.id).where(
            Version.digest == digest, Version.config_digest == config_digest
        )
        return self._database.read(
            lambda session: _published(session, Publication.version_id.in_(versions))
        )


def _published(session: Session, condition: ColumnElement[bool]) -> list[PublicationRecord]:
    query = select(Publication).where(condition).order_by(Publication.id)
    return [_record(row) for row in session.scalars(query)]


def _record(row: Publication) -> PublicationRecord:
    return PublicationRecord(row.endpoint, row.repo, row.tag, row.commit_sha, row.created_at)

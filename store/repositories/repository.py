"""Repositories: commits of files under branches and tags, each moved in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from sqlalchemy import delete, func, insert, or_, select, true
from sqlalchemy.orm import Session

from ..errors import MovedHeadError, NameUsedError, RecordError, UnknownRepositoryError
from ..sql.database import Database
from ..sql.models import Version
from .commits import read_commit, read_files, record_commit
from .records import (
    MAIN,
    Change,
    CommitRecord,
    HeldFile,
    RefRecord,
    RepositoryRecord,
    Snapshot,
)
from .refs import add_ref, delete_ref, drop_oldest_tags, read_refs, resolve
from .tables import (
    Repository,
    RepositoryCommit,
    RepositoryFile,
    RepositoryRef,
    RepositoryUpload,
)


class Repositories:
    """The repositories of a catalogue (``catalog.repositories``)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        owner: str,
        name: str,
        *,
        author: str,
        first: Change,
        stored: Callable[[str], bool],
        private: bool = False,
    ) -> RepositoryRecord:
        """Make a repository whose main branch has the commit `first`.

        Raises NameUsedError when there is one of the name, whatever its case.
        """

        def work(session: Session) -> RepositoryRecord:
            now = datetime.now(UTC)
            row = Repository(
                owner=owner,
                name=name,
                key=_key(owner, name),
                private=private,
                created_at=now,
                updated_at=now,
            )
            _refuse_taken(session, owner, name)
            session.add(row)
            session.flush()
            commit = record_commit(session, row.id, None, first, author, stored)
            add_ref(session, row.id, RefRecord("branch", MAIN, commit.sha))
            return _record(row)

        return self._database.write(work)

    def get(self, owner: str, name: str) -> RepositoryRecord:
        """Return a repository.

        Raises UnknownRepositoryError when there is none of the name.
        """
        return self._database.read(lambda session: _record(_row(session, owner, name)))

    def all(self) -> list[RepositoryRecord]:
        """Return all repositories, by name."""
        query = select(Repository).order_by(Repository.key)
        return self._database.read(lambda s: [_record(row) for row in s.scalars(query)])

    def delete(self, owner: str, name: str) -> None:
        """Delete a repository with all its commits; `collect` removes the content later.

        Raises UnknownRepositoryError.
        """

        def work(session: Session) -> None:
            row = _row(session, owner, name, lock=True)
            commits = select(RepositoryCommit.id).where(RepositoryCommit.repository_id == row.id)
            session.execute(delete(RepositoryFile).where(RepositoryFile.commit_id.in_(commits)))
            for table in (RepositoryCommit, RepositoryRef, RepositoryUpload):
                session.execute(delete(table).where(table.repository_id == row.id))
            session.delete(row)

        self._database.write(work)

    def move(self, owner: str, name: str, to_owner: str, to_name: str) -> None:
        """Give a repository another name.

        Raises UnknownRepositoryError, and NameUsedError when the other name is in use.
        """

        def work(session: Session) -> None:
            row = _row(session, owner, name, lock=True)
            if _key(to_owner, to_name) != row.key:
                _refuse_taken(session, to_owner, to_name)
            row.owner, row.name, row.key = to_owner, to_name, _key(to_owner, to_name)
            row.updated_at = datetime.now(UTC)

        self._database.write(work)

    def set_private(self, owner: str, name: str, private: bool) -> None:
        """Say whether only some may see a repository.

        Raises UnknownRepositoryError.
        """

        def work(session: Session) -> None:
            _row(session, owner, name, lock=True).private = private

        self._database.write(work)

    def refs(self, repository: RepositoryRecord) -> list[RefRecord]:
        """Return the branches and tags of a repository, by name."""
        return self._database.read(lambda session: read_refs(session, repository.id))

    def snapshot(self, repository: RepositoryRecord, revision: str) -> Snapshot:
        """Return the commit that a branch, a tag or a sha means, with its files.

        Raises UnknownRevisionError, with near misses, when it means none.
        """

        def work(session: Session) -> Snapshot:
            row = read_commit(session, repository.id, resolve(session, repository.id, revision))
            return Snapshot(_commit_record(row), read_files(session, row.id))

        return self._database.read(work)

    def history(self, repository: RepositoryRecord, revision: str) -> list[CommitRecord]:
        """Return a commit and all before it, the newest first.

        Raises UnknownRevisionError.
        """

        def work(session: Session) -> list[CommitRecord]:
            sha: str | None = resolve(session, repository.id, revision)
            query = select(RepositoryCommit).where(RepositoryCommit.repository_id == repository.id)
            by_sha = {row.sha: row for row in session.scalars(query)}
            found = []
            while sha is not None:
                found.append(_commit_record(by_sha[sha]))
                sha = by_sha[sha].parent_sha
            return found

        return self._database.read(work)

    def commit(
        self,
        repository: RepositoryRecord,
        branch: str,
        change: Change,
        *,
        author: str,
        stored: Callable[[str], bool],
        parent: str | None = None,
        pending: str | None = None,
    ) -> CommitRecord:
        """Put a commit on a branch, in one transaction; one without an effect is the head itself.

        With `parent` the branch must still be there. `stored` tells whether the content of a digest
        lies in the blob store; it is asked inside the transaction, which `collect` cannot overlap.
        With `pending`, the repository's address, it is noted there until `settle` that the commit
        is still to be catalogued.

        Raises UnknownRevisionError for an unknown branch, MovedHeadError when it is not at
        `parent`, RecordError for paths that cannot be, BlobError when content is not there.
        """

        def work(session: Session) -> CommitRecord:
            row = _row(session, repository.owner, repository.name, lock=True)
            head = resolve(session, row.id, branch, kinds=("branch",))
            if parent is not None and parent != head:
                raise MovedHeadError(
                    f"the branch {branch!r} of {repository.full_name} is at {head}, "
                    f"not at {parent}: read it again"
                )
            base = read_commit(session, row.id, head)
            commit = record_commit(session, row.id, base, change, author, stored)
            ref = session.get_one(RepositoryRef, (row.id, "branch", branch))
            ref.sha = commit.sha
            row.updated_at = datetime.now(UTC)
            row.pending = pending or row.pending
            return _commit_record(commit)

        return self._database.write(work)

    def pending(self) -> list[tuple[RepositoryRecord, str]]:
        """Return the repositories whose head is still to be catalogued, with their addresses."""
        query = select(Repository).where(Repository.pending.is_not(None)).order_by(Repository.key)
        return self._database.read(
            lambda session: [(_record(row), str(row.pending)) for row in session.scalars(query)]
        )

    def settle(self, repository: RepositoryRecord, sha: str) -> None:
        """Note that the commit `sha` was catalogued; what came on top of it is pending still."""

        def work(session: Session) -> None:
            query = select(Repository).where(Repository.id == repository.id).with_for_update()
            row = session.scalar(query)
            if row is not None and resolve(session, row.id, MAIN, kinds=("branch",)) == sha:
                row.pending = None

        self._database.write(work)

    def add_ref(
        self, repository: RepositoryRecord, kind: str, name: str, revision: str
    ) -> RefRecord:
        """Make a branch or a tag at what `revision` means.

        Raises NameUsedError when it is there, UnknownRevisionError, and RecordError for a name
        that cannot be one.
        """

        def work(session: Session) -> RefRecord:
            row = _row(session, repository.owner, repository.name, lock=True)
            ref = RefRecord(kind, name, resolve(session, row.id, revision))
            add_ref(session, row.id, ref)
            return ref

        return self._database.write(work)

    def delete_ref(self, repository: RepositoryRecord, kind: str, name: str) -> None:
        """Delete a branch or a tag; its commits stay.

        Raises UnknownRevisionError when it is not there, RecordError for the main branch.
        """
        if (kind, name) == ("branch", MAIN):
            raise RecordError(f"the branch {MAIN!r} cannot be deleted")
        self._database.write(lambda session: delete_ref(session, repository.id, kind, name))

    def shelve(
        self,
        repository: RepositoryRecord,
        tag: str,
        change: Change,
        *,
        author: str,
        created_at: datetime,
        stored: Callable[[str], bool],
        most: int,
    ) -> CommitRecord:
        """Put a commit beside all branches, under a tag; the oldest go when there are `most`.

        The same change by the same author at the same instant is the same commit. Of several that
        bring one tag the first stays.

        Raises BlobError when content is not there.
        """

        def work(session: Session) -> CommitRecord:
            row = _row(session, repository.owner, repository.name, lock=True)
            known = session.get(RepositoryRef, (row.id, "tag", tag))
            if known is not None:
                return _commit_record(read_commit(session, row.id, known.sha))
            made = record_commit(session, row.id, None, change, author, stored, created_at)
            add_ref(session, row.id, RefRecord("tag", tag, made.sha))
            drop_oldest_tags(session, row.id, most)
            return _commit_record(made)

        return self._database.write(work)

    def note_upload(self, repository: RepositoryRecord, digest: str) -> None:
        """Note that the content of `digest` was sent to a repository."""

        def work(session: Session) -> None:
            _row(session, repository.owner, repository.name, lock=True)
            if session.get(RepositoryUpload, (repository.id, digest)) is None:
                now = datetime.now(UTC)
                values = {"repository_id": repository.id, "digest": digest, "created_at": now}
                session.execute(insert(RepositoryUpload).values(values))

        self._database.write(work)

    def holders(self, digests: Collection[str]) -> dict[str, frozenset[int | None]]:
        """Return which repositories have each content, by id; None stands for the catalogue.

        They have it in a commit, or it was sent to them.
        """
        asked = sorted(set(digests))

        def work(session: Session) -> dict[str, frozenset[int | None]]:
            found: dict[str, set[int | None]] = {digest: set() for digest in asked}
            for start in range(0, len(asked), 500):
                batch = asked[start : start + 500]
                committed = (
                    select(RepositoryFile.digest, RepositoryCommit.repository_id)
                    .join(RepositoryCommit, RepositoryCommit.id == RepositoryFile.commit_id)
                    .where(RepositoryFile.digest.in_(batch))
                    .distinct()
                )
                sent = select(RepositoryUpload.digest, RepositoryUpload.repository_id).where(
                    RepositoryUpload.digest.in_(batch)
                )
                for query in (committed, sent):
                    for digest, repository in session.execute(query):
                        found[digest].add(repository)
                known = select(Version.digest).where(
                    or_(Version.digest.in_(batch), Version.original_digest.in_(batch)),
                    Version.here == true(),
                )
                for digest in session.scalars(known):
                    found.setdefault(digest, set()).add(None)
            return {digest: frozenset(holders) for digest, holders in found.items()}

        return self._database.read(work)

    def contents(self) -> list[HeldFile]:
        """Return every content that a commit refers to, once, with a place where it is used."""
        first = (
            select(RepositoryFile.digest, func.min(RepositoryFile.commit_id).label("commit_id"))
            .group_by(RepositoryFile.digest)
            .subquery()
        )
        query = (
            select(RepositoryFile, RepositoryCommit.sha, Repository.owner, Repository.name)
            .join(
                first,
                (RepositoryFile.digest == first.c.digest)
                & (RepositoryFile.commit_id == first.c.commit_id),
            )
            .join(RepositoryCommit, RepositoryCommit.id == RepositoryFile.commit_id)
            .join(Repository, Repository.id == RepositoryCommit.repository_id)
            .order_by(RepositoryFile.commit_id, RepositoryFile.path)
        )

        def work(session: Session) -> list[HeldFile]:
            found: dict[str, HeldFile] = {}
            for file, sha, owner, name in session.execute(query):
                held = HeldFile(file.digest, file.size_bytes, f"{owner}/{name}", sha, file.path)
                found.setdefault(file.digest, held)
            return list(found.values())

        return self._database.read(work)


def referenced_digests(session: Session) -> set[str]:
    """Return the digests of all content that a commit refers to."""
    return set(session.scalars(select(RepositoryFile.digest).distinct()))


def _key(owner: str, name: str) -> str:
    return f"{owner}/{name}".lower()


def _row(session: Session, owner: str, name: str, *, lock: bool = False) -> Repository:
    query = select(Repository).where(Repository.key == _key(owner, name))
    # The lock on the repository makes PostgreSQL's writers go one after the other.
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise UnknownRepositoryError(f"there is no repository {owner}/{name}")
    return row


def _refuse_taken(session: Session, owner: str, name: str) -> None:
    query = select(Repository).where(Repository.key == _key(owner, name))
    if (row := session.scalar(query)) is not None:
        raise NameUsedError(f"there is a repository {row.owner}/{row.name} already")


def _record(row: Repository) -> RepositoryRecord:
    return RepositoryRecord(
        row.id, row.owner, row.name, row.private, row.created_at, row.updated_at
    )


def _commit_record(row: RepositoryCommit) -> CommitRecord:
    return CommitRecord(
        sha=row.sha,
        parent=row.parent_sha,
        tree=row.tree_oid,
        title=row.title,
        message=row.message,
        author=row.author,
        created_at=row.created_at,
    )

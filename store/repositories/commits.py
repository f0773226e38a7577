"""Writing and reading commits in a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from ..errors import BlobError, RecordError, UnknownRevisionError
from ..records import check_text
from .git_objects import commit_oid, tree_oids
from .records import Change, FileRecord, check_path, check_tree
from .tables import RepositoryCommit, RepositoryFile

_MOST_FILES = 20_000


def read_commit(session: Session, repository_id: int, sha: str) -> RepositoryCommit:
    """Return a commit of a repository.

    Raises UnknownRevisionError when there is none.
    """
    query = select(RepositoryCommit).where(
        RepositoryCommit.repository_id == repository_id, RepositoryCommit.sha == sha
    )
    row = session.scalar(query)
    if row is None:
        raise UnknownRevisionError(f"there is no commit {sha}")
    return row


def read_files(session: Session, commit_id: int) -> tuple[FileRecord, ...]:
    """Return the files of a commit, sorted by path (by code points)."""
    rows = session.scalars(select(RepositoryFile).where(RepositoryFile.commit_id == commit_id))
    files = [
        FileRecord(row.path, row.digest, row.size_bytes, row.oid, row.lfs, row.changed_in)
        for row in rows
    ]
    return tuple(sorted(files, key=lambda file: file.path))


def record_commit(
    session: Session,
    repository_id: int,
    base: RepositoryCommit | None,
    change: Change,
    author: str,
    stored: Callable[[str], bool],
    created_at: datetime | None = None,
) -> RepositoryCommit:
    """Record what `change` makes of the commit `base`; without an effect, that is `base`.

    Raises RecordError for paths that cannot be, BlobError when content is not there.
    """
    check_text("title", change.title)
    check_text("message", change.message)
    before = read_files(session, base.id) if base is not None else ()
    files = _changed(before, change)
    oids = tree_oids((path, file.oid) for path, file in files.items())
    if base is not None and oids[""] == base.tree_oid:
        return base
    now = created_at or datetime.now(UTC)
    parent = base.sha if base is not None else None
    message = f"{change.title}\n\n{change.message}".strip()
    sha = commit_oid(oids[""], parent, author, now, message)
    query = select(RepositoryCommit).where(
        RepositoryCommit.repository_id == repository_id, RepositoryCommit.sha == sha
    )
    if (same := session.scalar(query)) is not None:
        return same  # The same on the same in the same second, after a branch was put back.
    row = RepositoryCommit(
        repository_id=repository_id,
        sha=sha,
        parent_sha=parent,
        tree_oid=oids[""],
        title=change.title,
        message=change.message,
        author=author,
        created_at=now.replace(microsecond=0),
    )
    session.add(row)
    session.flush()
    _insert_files(
        session, row.id, [replace(f, changed_in=f.changed_in or sha) for f in files.values()]
    )
    for file in change.put:
        if not stored(file.digest):
            raise BlobError(
                f"the content of {file.path!r} (sha256 {file.digest}) is not in the store: "
                "upload it, then commit again"
            )
    return row


def _changed(before: tuple[FileRecord, ...], change: Change) -> dict[str, FileRecord]:
    files = {file.path: file for file in before}
    for path in change.deleted_files:
        if files.pop(path, None) is None:
            raise RecordError(f"{path!r} cannot be deleted: there is no such file")
    for folder in change.deleted_folders:
        inside = [path for path in files if path.startswith(folder.rstrip("/") + "/")]
        if not inside:
            raise RecordError(f"{folder!r} cannot be deleted: there is no such folder")
        for path in inside:
            del files[path]
    for file in change.put:
        check_path(file.path)
        old = files.get(file.path)
        same = old is not None and (old.oid, old.lfs) == (file.oid, file.lfs)
        files[file.path] = old if old is not None and same else replace(file, changed_in="")
    check_tree(files)
    if len(files) > _MOST_FILES:
        raise RecordError(f"{len(files)} files are too many for a commit: {_MOST_FILES} at most")
    return files


def _insert_files(session: Session, commit_id: int, files: list[FileRecord]) -> None:
    if not files:
        return
    session.execute(
        insert(RepositoryFile),
        [
            {
                "commit_id": commit_id,
                "path": file.path,
                "digest": file.digest,
                "size_bytes": file.size_bytes,
                "oid": file.oid,
                "lfs": file.lfs,
                "changed_in": file.changed_in,
            }
            for file in files
        ],
    )

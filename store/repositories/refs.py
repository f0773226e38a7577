"""Branches and tags in a session, and what a revision means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ..errors import NameUsedError, RecordError, UnknownRevisionError, did_you_mean
from .records import RefRecord
from .tables import RepositoryCommit, RepositoryFile, RepositoryRef

_SHA = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")
_MOST_NAME_LENGTH = 240
_KINDS = ("branch", "tag")


def check_ref_name(name: str) -> None:
    """Let only a text pass that git, too, takes for a branch or a tag, and that is no sha.

    Raises RecordError.
    """
    bad = ".." in name or name.endswith((".", ".lock", "/")) or name.startswith("refs/")
    if not _NAME.fullmatch(name) or bad or _SHA.fullmatch(name) or len(name) > _MOST_NAME_LENGTH:
        raise RecordError(
            f"{name[:80]!r} cannot name a branch or a tag: use letters, digits, '.', '_', '-', '+' "
            "and '/' between parts"
        )


def resolve(
    session: Session, repository_id: int, revision: str, *, kinds: Sequence[str] = _KINDS
) -> str:
    """Return the sha that a revision means: a branch, else a tag, else a sha in full.

    Raises UnknownRevisionError, with near misses.
    """
    by_kind = {
        ref.kind: ref.sha for ref in read_refs(session, repository_id) if ref.name == revision
    }
    for kind in kinds:
        if kind in by_kind:
            return by_kind[kind]
    if kinds == _KINDS and _SHA.fullmatch(revision):
        query = select(RepositoryCommit.sha).where(
            RepositoryCommit.repository_id == repository_id, RepositoryCommit.sha == revision
        )
        if session.scalar(query) is not None:
            return revision
    names = [ref.name for ref in read_refs(session, repository_id) if ref.kind in kinds]
    what = "branch" if kinds == ("branch",) else "branch, tag or commit"
    raise UnknownRevisionError(
        f"there is no {what} {revision[:260]!r}{did_you_mean(revision[:260], names)}"
    )


def read_refs(session: Session, repository_id: int) -> list[RefRecord]:
    """Return all branches and tags, by name."""
    rows = session.scalars(
        select(RepositoryRef).where(RepositoryRef.repository_id == repository_id)
    )
    found = [RefRecord(row.kind, row.name, row.sha) for row in rows]
    return sorted(found, key=lambda ref: (ref.kind, ref.name))


def add_ref(session: Session, repository_id: int, ref: RefRecord) -> None:
    """Add a branch or a tag.

    Raises NameUsedError when it is there, RecordError for a name that cannot be one.
    """
    check_ref_name(ref.name)
    known = session.get(RepositoryRef, (repository_id, ref.kind, ref.name))
    if known is not None:
        raise NameUsedError(f"there is a {ref.kind} {ref.name!r} already, at {known.sha}")
    session.add(
        RepositoryRef(
            repository_id=repository_id,
            kind=ref.kind,
            name=ref.name,
            sha=ref.sha,
            created_at=datetime.now(UTC),
        )
    )
    session.flush()


def delete_ref(session: Session, repository_id: int, kind: str, name: str) -> None:
    """Delete a branch or a tag.

    Raises UnknownRevisionError when it is not there.
    """
    names = [ref.name for ref in read_refs(session, repository_id) if ref.kind == kind]
    if name not in names:
        raise UnknownRevisionError(f"there is no {kind} {name!r}{did_you_mean(name, names)}")
    session.delete(session.get_one(RepositoryRef, (repository_id, kind, name)))


def drop_oldest_tags(session: Session, repository_id: int, most: int) -> None:
    """Delete the oldest tags beyond `most`, with their commits where no other ref has these."""
    mine = RepositoryRef.repository_id == repository_id
    tags = select(RepositoryRef).where(mine, RepositoryRef.kind == "tag")
    newest_first = tags.order_by(RepositoryRef.created_at.desc(), RepositoryRef.name)
    for ref in session.scalars(newest_first.offset(most)).all():
        session.delete(ref)
        session.flush()
        if session.scalar(select(RepositoryRef.name).where(mine, RepositoryRef.sha == ref.sha)):
            continue
        same = (RepositoryCommit.repository_id == repository_id, RepositoryCommit.sha == ref.sha)
        commits = select(RepositoryCommit.id).where(*same)
        session.execute(delete(RepositoryFile).where(RepositoryFile.commit_id.in_(commits)))
        session.execute(delete(RepositoryCommit).where(*same))

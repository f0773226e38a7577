"""The tables of repositories: files under names, in commits that never change.

A commit holds its whole list of files, so that reading one never walks a history.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..sql.models import Base


class Repository(Base):
    """A repository; `key` is its name in lower case, under which no second one may be made.

    `pending` is its address while the head of the main branch is still to be catalogued.
    """

    __tablename__ = "repositories"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(96))
    name: Mapped[str] = mapped_column(String(96))
    key: Mapped[str] = mapped_column(String(200), unique=True)
    private: Mapped[bool]
    pending: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class RepositoryCommit(Base):
    """A commit: what changed, by whom, on top of what."""

    __tablename__ = "repository_commits"
    __table_args__ = (UniqueConstraint("repository_id", "sha"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(ForeignKey("repositories.id"))
    sha: Mapped[str] = mapped_column(String(40))
    parent_sha: Mapped[str | None] = mapped_column(String(40))
    tree_oid: Mapped[str] = mapped_column(String(40))
    title: Mapped[str]
    message: Mapped[str]
    author: Mapped[str] = mapped_column(String(96))
    created_at: Mapped[datetime]


class RepositoryFile(Base):
    """A file of a commit, by content; `changed_in` is the commit that brought it."""

    __tablename__ = "repository_files"
    __table_args__ = (Index(None, "digest"),)

    commit_id: Mapped[int] = mapped_column(ForeignKey("repository_commits.id"), primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    oid: Mapped[str] = mapped_column(String(40))
    lfs: Mapped[bool]
    changed_in: Mapped[str] = mapped_column(String(40))


class RepositoryRef(Base):
    """A name for a commit: a branch, which commits move, or a tag, which they do not."""

    __tablename__ = "repository_refs"
    __table_args__ = (CheckConstraint("kind IN ('branch', 'tag')", name="kind"),)

    repository_id: Mapped[int] = mapped_column(ForeignKey("repositories.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(String(250), primary_key=True)
    sha: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]


class RepositoryUpload(Base):
    """The note that a large file was sent to a repository, whose commits may then name it.

    Its digest alone is no proof of having it: locks name the digests of other people's files.
    """

    __tablename__ = "repository_uploads"
    __table_args__ = (Index(None, "digest"),)

    repository_id: Mapped[int] = mapped_column(ForeignKey("repositories.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]

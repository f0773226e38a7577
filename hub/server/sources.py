"""Where repositories come from: a common face for stored, catalogued and composed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ...store import BlobStore, Catalog, CommitRecord, FileRecord, RefRecord, Snapshot
from ...store.repositories.records import RepositoryRecord


@dataclass(frozen=True, slots=True)
class Edition:
    """A commit with its files; `contents` are those, by digest, that lie in no blob."""

    snapshot: Snapshot
    contents: Mapping[str, bytes] = field(default_factory=dict)

    def content(self, file: FileRecord, blobs: BlobStore) -> bytes | Path:
        """The content of a file: itself, or where it lies."""
        held = self.contents.get(file.digest)
        return held if held is not None else blobs.path(file.digest)

    def file(self, path: str) -> FileRecord | None:
        """The file at `path`, if there is one."""
        return next((file for file in self.snapshot.files if file.path == path), None)


class Source(Protocol):
    """A repository, wherever it comes from."""

    @property
    def owner(self) -> str:
        """Before the slash."""

    @property
    def name(self) -> str:
        """After the slash."""

    @property
    def private(self) -> bool:
        """Whether only those see it who may see the owner's."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""

    @property
    def updated_at(self) -> datetime:
        """When it was last written."""

    def refs(self) -> list[RefRecord]:
        """Its branches and tags."""

    def edition(self, revision: str) -> Edition:
        """What a revision means.

        Raises:
            UnknownRevisionError: it means nothing here.
        """

    def history(self, revision: str) -> list[CommitRecord]:
        """A commit and all before it, the newest first.

        Raises:
            UnknownRevisionError: it means nothing here.
        """


@dataclass(frozen=True, slots=True)
class RecordedSource:
    """A repository of the store."""

    catalog: Catalog
    record: RepositoryRecord

    @property
    def owner(self) -> str:
        """Before the slash."""
        return self.record.owner

    @property
    def name(self) -> str:
        """After the slash."""
        return self.record.name

    @property
    def private(self) -> bool:
        """Whether only those see it who may see the owner's."""
        return self.record.private

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        return self.record.created_at

    @property
    def updated_at(self) -> datetime:
        """When it was last written."""
        return self.record.updated_at

    def refs(self) -> list[RefRecord]:
        """Its branches and tags."""
        return self.catalog.repositories.refs(self.record)


@dataclass(frozen=True, slots=True)
class StoredSource(RecordedSource):
    """A repository that was made and pushed to."""

    def edition(self, revision: str) -> Edition:
        """What a branch, a tag or a sha means."""
        return Edition(self.catalog.repositories.snapshot(self.record, revision))

    def history(self, revision: str) -> list[CommitRecord]:
        """A commit and all before it, the newest first."""
        return self.catalog.repositories.history(self.record, revision)

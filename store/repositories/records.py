"""What repositories are made of, as frozen values without a tie to a database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ..errors import RecordError

MAIN = "main"
"""The branch that every repository has."""

_MOST_PATH_BYTES = 1024
_MOST_PART_BYTES = 255
_FORBIDDEN_PARTS = ("", ".", "..", ".git")


@dataclass(frozen=True, slots=True)
class RepositoryRecord:
    """A repository: its name, who may see it, and when it was last written."""

    id: int
    owner: str
    name: str
    private: bool
    created_at: datetime
    updated_at: datetime

    @property
    def full_name(self) -> str:
        """``owner/name``."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of a commit.

    `digest` is the sha256 of its content, `oid` what git calls it: the id of the content, or, with
    `lfs`, of the pointer that git would keep. `changed_in` is the commit that brought it.
    """

    path: str
    digest: str
    size_bytes: int
    oid: str
    lfs: bool
    changed_in: str = ""


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """A commit; its `sha` is computed as git does."""

    sha: str
    parent: str | None
    tree: str
    title: str
    message: str
    author: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A commit with all its files, sorted by path."""

    commit: CommitRecord
    files: tuple[FileRecord, ...]


@dataclass(frozen=True, slots=True)
class HeldFile:
    """Content that a commit refers to, with one of the places where it does."""

    digest: str
    size_bytes: int
    repository: str
    commit: str
    path: str

    @property
    def label(self) -> str:
        """The place, for people."""
        return f"{self.path} of {self.repository} at {self.commit[:12]}"


@dataclass(frozen=True, slots=True)
class RefRecord:
    """A name for a commit; `kind` is ``branch`` or ``tag``."""

    kind: str
    name: str
    sha: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does: files to put, and paths of files and folders to delete."""

    title: str
    message: str = ""
    put: tuple[FileRecord, ...] = ()
    deleted_files: tuple[str, ...] = ()
    deleted_folders: tuple[str, ...] = ()


def check_path(path: str) -> None:
    """Let only a path pass that means one file below a folder, on every system.

    Raises RecordError for an absolute path, one that leads outside or into ``.git``, one with
    control characters or a backslash, and one that is too long.
    """
    parts = path.split("/")
    wrong = (
        any(part.lower() in _FORBIDDEN_PARTS for part in parts)
        or any(ord(character) < 32 or ord(character) == 127 for character in path)
        or "\\" in path
        or any(0xD800 <= ord(character) <= 0xDFFF for character in path)
    )
    if wrong:
        raise RecordError(
            f"{path!r} is not the path of a file in a repository: write it like 'folder/file.txt', "
            "without '..', '.git', backslashes and control characters"
        )
    if len(path.encode()) > _MOST_PATH_BYTES or max(len(p.encode()) for p in parts) > (
        _MOST_PART_BYTES
    ):
        raise RecordError(
            f"the path {path[:60]!r}... is too long: {_MOST_PATH_BYTES} bytes are the most, and "
            f"{_MOST_PART_BYTES} for each part"
        )


def check_tree(paths: Iterable[str]) -> None:
    """Let only paths pass that can lie beside each other on every file system.

    Raises RecordError where two differ in case only, or one is a folder of the other.
    """
    known: dict[str, str] = {}
    for path in paths:
        other = known.setdefault(path.lower(), path)
        if other != path:
            raise RecordError(f"{other!r} and {path!r} are one file on many systems: rename one")
    folders: dict[str, str] = {}
    for path in known.values():
        folder = path
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder.lower() in known:
                raise RecordError(
                    f"{known[folder.lower()]!r} cannot be a file and the folder of {path!r}"
                )
            other = folders.setdefault(folder.lower(), folder)
            if other != folder:
                raise RecordError(f"the folders {other!r} and {folder!r} differ in case only")

"""Weights on disk, addressed by their sha256.

A blob lies at ``ab/cdef...`` and is read-only; it comes there by renaming a finished, synced
temporary file, so it is whole or not there, whatever gets killed. What a crash can leave is a file
in ``tmp``, or a blob that no version refers to.

Between a blob's arrival and the version that refers to it, only its age protects it from `gc`. So
whoever writes a blob that is there already makes it young again, and `remove_if_older` looks at the
age and removes in one step: both hold a lock on the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import BlobError
from .sql.failures import in_words

_DIGEST = re.compile(r"[0-9a-f]{64}")
# Few enough to be still in a core's caches when they are hashed.
_CHUNK_BYTES = 1 << 17
# From so many bytes on, hashing them beside writing them gains more than a thread costs.
_LARGE_BYTES = 1 << 18
# From so many bytes on, a blob goes to the disk past the page cache. It must be there before it is
# committed anyway, and gets there while it is hashed; gigabytes of it would push other files out.
_DIRECT_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored file: its sha256, its size, and whether this writer brought it."""

    digest: str
    size_bytes: int
    created: bool


class BlobStore:
    """The blobs under the folder `root`, which is made when the first one is written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def writer(self, size_bytes: int = 0) -> BlobWriter:
        """Return a writer for one blob; a context manager (see BlobWriter).

        `size_bytes` is what the blob will have about, where that is known: so much is reserved on
        the disk beforehand, and large ones are written without a detour through the page cache.
        """
        return BlobWriter(self, size_bytes)

    def path(self, digest: str) -> Path:
        """Return the file that holds `digest`.

        Raises BlobError when it is not there.
        """
        path = self.place(digest)
        if not path.is_file():
            raise BlobError(f"weights are missing: no file {path} (sha256 {digest})")
        return path

    def place(self, digest: str) -> Path:
        """Return where `digest` lies, or would.

        Raises BlobError for what is not a sha256 in hex.
        """
        if not _DIGEST.fullmatch(digest):
            raise BlobError(f"{digest!r} is not a sha256: 64 lower-case hex digits")
        return self.root / digest[:2] / digest[2:]

    def contains(self, digest: str) -> bool:
        """Whether `digest` is stored."""
        return self.place(digest).is_file()

    def size_bytes(self, digest: str) -> int:
        """Return the size of the file that holds `digest`.

        Raises BlobError when it is not there.
        """
        return self.path(digest).stat().st_size

    def verify(self, digest: str) -> None:
        """Read the file that holds `digest` again.

        Raises BlobError when it is missing, cannot be read, or is no longer what its digest says.
        """
        path = self.path(digest)
        found, chunk = sha256(), memoryview(bytearray(_CHUNK_BYTES))
        try:
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(chunk):
                    found.update(chunk[:count])
        except OSError as error:
            raise BlobError(f"weights cannot be read: {path}: {error.strerror}") from error
        if found.hexdigest() != digest:
            raise BlobError(f"weights are damaged: {path} has sha256 {found.hexdigest()}")

    def soundness(self, digest: str) -> bool | None:
        """Whether the file that holds `digest` is what it says; None where there is no file."""
        if not self.contains(digest):
            return None
        try:
            self.verify(digest)
        except BlobError:
            return False
        return True

    def digests(self) -> list[str]:
        """Return the digests of all stored files, sorted."""
        return sorted(
            folder.name + file.name
            for folder in _listed(self.root)
            if len(folder.name) == 2
            for file in _listed(folder)
            if _DIGEST.fullmatch(folder.name + file.name)
        )

    def temporaries(self) -> list[Path]:
        """Return the files that writers, living or dead, have not finished; sorted."""
        return sorted(_listed(self.root / "tmp"))

    def remove(self, digest: str) -> None:
        """Remove the file that holds `digest`, if it is there."""
        with in_words(self.root), suppress(FileNotFoundError):
            self.place(digest).unlink()

    def remove_if_older(self, digest: str, seconds: float) -> int | None:
        """Remove the file that holds `digest` if nobody wrote it for so many seconds.

        Returns how many bytes it had, or None if it was not removed.
        """
        path = self.place(digest)
        with in_words(self.root), self.locked():
            return _unlink_if_older(path, seconds)

    def remove_temporary(self, path: Path, seconds: float) -> int | None:
        """Remove a temporary file if it was not written for so many seconds and its writer is gone.

        Returns how many bytes it had, or None if it was not removed.
        """
        with in_words(self.root), suppress(FileNotFoundError, BlockingIOError), path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _unlink_if_older(path, seconds)
        return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock, shared by all processes on this machine."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class BlobWriter:
    """Writes one blob, hashing as it goes, in a thread of its own where that is worth it.

    Used as a context manager: leaving without `commit` removes the temporary file. Disk full and a
    read-only folder are StorageErrors.
    """

    def __init__(self, store: BlobStore, reserved_bytes: int = 0) -> None:
        self._store = store
        self._reserved_bytes = reserved_bytes
        self._hash = sha256()
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._size_bytes = 0
        self._is_direct = False

    def __enter__(self) -> Self:
        """Open the temporary file."""
        root = self._store.root
        with in_words(root):
            if not root.is_dir():
                root.mkdir(parents=True, exist_ok=True)
                _sync_folder(root.parent)
            (root / "tmp").mkdir(exist_ok=True)
            self._open(root / "tmp")
        return self

    def _open(self, folder: Path) -> None:
        while True:
            self._descriptor, name = tempfile.mkstemp(dir=folder)
            self._temporary = Path(name)
            # A lock that dies with its holder tells a writer at work from one that was killed.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if os.fstat(self._descriptor).st_nlink:
                self._reserve()
                if self._reserved_bytes >= _DIRECT_BYTES:
                    self._bypass_page_cache(True)
                return
            os.close(self._descriptor)  # Taken for a dead writer's before it was locked.

    def _reserve(self) -> None:
        if not self._reserved_bytes or not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(self._descriptor, 0, self._reserved_bytes)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                os.close(self._descriptor)
                self._temporary.unlink(missing_ok=True)
                raise

    def _bypass_page_cache(self, whether: bool) -> None:
        if not hasattr(os, "O_DIRECT"):
            return
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & ~os.O_DIRECT
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | os.O_DIRECT * whether)
        except OSError as error:
            if error.errno != errno.EINVAL:  # Not every file system can.
                raise
            return
        self._is_direct = whether

    def write(self, buffer: bytes | bytearray | memoryview) -> None:
        """Append all of `buffer` to the blob; most quickly where it is mapped memory."""
        view = memoryview(buffer).cast("B")
        self._size_bytes += len(view)
        if len(view) < _LARGE_BYTES:
            self._hash.update(view)
            self._append(view)
            return
        hashed = self._hasher.submit(self._hash.update, view)
        try:
            self._append(view)
        finally:
            hashed.result()

    def _append(self, view: memoryview) -> None:
        with in_words(self._store.root):
            while view:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except OSError as error:
                    if error.errno != errno.EINVAL or not self._is_direct:
                        raise
                    # Only whole pages go directly: not the end, and no buffer that lies astray.
                    self._bypass_page_cache(False)

    @property
    def digest(self) -> str:
        """The sha256 of what was written up to now."""
        return self._hash.hexdigest()

    def commit(self) -> Blob:
        """Give the blob its place, unless an equal one is there already.

        One that is there is read again, and replaced if the disk damaged it. When `commit` returns,
        the blob is on the disk to stay, and young: `gc` leaves it alone.
        """
        digest = self._hash.hexdigest()
        place = self._store.place(digest)
        with in_words(self._store.root):
            if self._reserved_bytes > self._size_bytes:
                os.ftruncate(self._descriptor, self._size_bytes)
            os.fchmod(self._descriptor, 0o444)
            os.fsync(self._descriptor)
            place.parent.mkdir(exist_ok=True)
            created = self._settle(digest, place)
            _sync_folder(place.parent)
            _sync_folder(self._store.root)
        return Blob(digest, self._size_bytes, created)

    def _settle(self, digest: str, place: Path) -> bool:
        while True:
            found = self._store.soundness(digest)
            with self._store.locked():
                if found is None and place.exists():
                    continue  # Somebody else's, who was quicker: is it sound?
                if found and place.exists():
                    os.utime(place)
                    return False
                os.utime(self._descriptor)
                self._temporary.replace(place)
                return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hasher.shutdown()
        os.close(self._descriptor)
        with suppress(FileNotFoundError):
            self._temporary.unlink()


def _unlink_if_older(path: Path, seconds: float) -> int | None:
    try:
        status = path.stat()
        if time.time() - status.st_mtime < seconds:
            return None
        path.unlink()
    except FileNotFoundError:
        return None
    return status.st_size


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Files as commits have them, and their way into the store."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from ...store import BlobStore, FileRecord
from ...store.repositories.git_objects import blob_oid, pointer

_PIECE_BYTES = 1 << 20


def small_file(path: str, content: bytes) -> FileRecord:
    """A file that is kept as it is."""
    return FileRecord(path, sha256(content).hexdigest(), len(content), blob_oid(content), lfs=False)


def large_file(path: str, digest: str, size_bytes: int) -> FileRecord:
    """A file in whose place git would keep a pointer."""
    return FileRecord(path, digest, size_bytes, blob_oid(pointer(digest, size_bytes)), lfs=True)


def keep_small(blobs: BlobStore, path: str, content: bytes) -> FileRecord:
    """Put a small file's content among the blobs, and say what it is as a file at `path`."""
    with blobs.writer() as writer:
        writer.write(content)
        writer.commit()
    return small_file(path, content)


def keep_large(blobs: BlobStore, path: str, place: Path) -> FileRecord:
    """Put the content of the file at `place` among the blobs; it becomes a file at `path`."""
    with blobs.writer() as writer, place.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            writer.write(piece)
        blob = writer.commit()
    return large_file(path, blob.digest, blob.size_bytes)

"""Collecting garbage: weights that nothing refers to, and files that dead writers left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from .blobs import BlobStore
from .catalog import Catalog
from .errors import BlobError

GRACE = timedelta(days=1)
"""Between writing weights and recording their version passes far less than this."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed: digests of weights, temporary files, and how many bytes they had."""

    digests: tuple[str, ...]
    temporaries: tuple[Path, ...]
    freed_bytes: int


def collect(catalog: Catalog, blobs: BlobStore, *, grace: timedelta = GRACE) -> Collected:
    """Remove the weights that no version refers to, and temporary files without a writer.

    Only what was not written for the time of `grace` is removed; weights that somebody wrote again
    count as written. Versions can be added meanwhile: the references are read again while no
    version can be added, and the age is looked at in one step with the removal.

    Raises StorageError when a file cannot be removed.
    """
    seconds = max(grace.total_seconds(), 0.0)
    digests: list[str] = []
    freed_bytes = 0

    def remove(digest: str) -> None:
        nonlocal freed_bytes
        try:
            size_bytes = blobs.size_bytes(digest)
        except BlobError:
            return  # Somebody else collects too.
        if blobs.remove_if_older(digest, seconds):
            digests.append(digest)
            freed_bytes += size_bytes

    stored = blobs.digests()
    catalog.with_unreferenced(set(stored) - catalog.referenced_digests(), remove)
    temporaries = []
    for path in blobs.temporaries():
        size_bytes = path.stat().st_size if path.exists() else 0
        if blobs.remove_temporary(path, seconds):
            temporaries.append(path)
            freed_bytes += size_bytes
    return Collected(tuple(digests), tuple(temporaries), freed_bytes)

"""Collecting garbage: weights that nothing refers to, and files that dead writers left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from .blobs import BlobStore
from .catalog import Catalog

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
    freed_by_digest: dict[str, int] = {}

    def remove(digest: str) -> None:
        size_bytes = blobs.remove_if_older(digest, seconds)
        if size_bytes is not None:
            freed_by_digest[digest] = size_bytes

    catalog.with_unreferenced(set(blobs.digests()) - catalog.referenced_digests(), remove)
    freed_by_path = {
        path: size_bytes
        for path in blobs.temporaries()
        if (size_bytes := blobs.remove_temporary(path, seconds)) is not None
    }
    return Collected(
        digests=tuple(freed_by_digest),
        temporaries=tuple(freed_by_path),
        freed_bytes=sum(freed_by_digest.values()) + sum(freed_by_path.values()),
    )

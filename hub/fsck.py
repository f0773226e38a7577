"""Proving that catalogue and weights agree."""

from __future__ import annotations

from dataclasses import dataclass

from ..dsl.configuration import config_digest
from ..store import BlobError, BlobStore, Catalog


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What a full check found.

    Attributes:
        checked: versions and blobs that were looked at.
        problems: damage: a person must act. Empty when all is well.
        unreferenced: digests of blobs that no version refers to; harmless.
        temporaries: files of writers that were interrupted; harmless.
    """

    checked: int
    problems: tuple[str, ...]
    unreferenced: tuple[str, ...]
    temporaries: tuple[str, ...]


def check_all(catalog: Catalog, blobs: BlobStore) -> FsckReport:
    """Rehash every blob and follow every reference."""
    problems: list[str] = []
    stored = set(blobs.digests())
    records = catalog.find(("and", ()), latest=False)
    for record in records:
        if record.digest not in stored:
            problems.append(f"the weights of {record.label} are missing (sha256 {record.digest})")
        if config_digest(record.config) != record.config_digest:
            problems.append(f"the configuration of {record.label} was changed")
    for digest in sorted(stored):
        try:
            blobs.verify(digest)
        except BlobError as error:
            problems.append(str(error))
    unreferenced = sorted(stored - set(catalog.referenced_digests()))
    return FsckReport(
        checked=len(records) + len(stored),
        problems=tuple(problems),
        unreferenced=tuple(unreferenced),
        temporaries=tuple(str(path) for path in blobs.temporaries()),
    )

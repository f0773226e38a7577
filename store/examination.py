"""Proving that catalogue and weights agree: the store's half of fsck."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .blobs import BlobStore
from .catalog import Catalog
from .errors import BlobError
from .records import VersionRecord


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    `problems` are sentences, each naming what it is about; `checked` counts the weights that were
    read and `versions` the versions that refer to them. `unreferenced` weights and `temporaries`
    are no problem: a killed process leaves them, one at work has them too, and `collect` removes
    them.
    """

    problems: tuple[str, ...]
    versions: int
    checked: int
    unreferenced: tuple[str, ...]
    temporaries: tuple[Path, ...]


def examine(
    catalog: Catalog, blobs: BlobStore, *, progress: Callable[[int, int], None] | None = None
) -> Examination:
    """Read every version and all the weights that they refer to again.

    `progress` is told how many weights were read, of how many. Versions can be added meanwhile.
    """
    problems = catalog.integrity_problems()
    stored = blobs.digests()
    temporaries = blobs.temporaries()
    versions_by_digest: defaultdict[str, list[VersionRecord]] = defaultdict(list)
    for version in catalog.find(latest=False):
        versions_by_digest[version.digest].append(version)
    for checked, (digest, versions) in enumerate(versions_by_digest.items()):
        if progress is not None:
            progress(checked, len(versions_by_digest))
        problems += _weight_problems(blobs, digest, versions)
    referenced = catalog.referenced_digests()
    return Examination(
        problems=tuple(problems),
        versions=sum(map(len, versions_by_digest.values())),
        checked=len(versions_by_digest),
        unreferenced=tuple(digest for digest in stored if digest not in referenced),
        temporaries=tuple(temporaries),
    )


def _weight_problems(blobs: BlobStore, digest: str, versions: list[VersionRecord]) -> list[str]:
    labels = ", ".join(version.label for version in versions)
    try:
        size_bytes = blobs.size_bytes(digest)
        blobs.verify(digest)
    except BlobError as error:
        return [f"{labels}: {error}"]
    return [
        f"{version.label}: its weights have {size_bytes} bytes, the catalogue says "
        f"{version.size_bytes}"
        for version in versions
        if version.size_bytes != size_bytes
    ]

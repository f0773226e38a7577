"""Proving that catalogue and weights agree: the store's half of fsck."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .blobs import BlobStore
from .catalog import Catalog
from .errors import BlobError


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    `problems` are sentences, each naming what it is about; `checked` counts the files that were
    read, `versions` the versions, and `awaited` those of them whose weights are still to be
    fetched. `unreferenced` weights and `temporaries` are no problem: a killed process leaves them,
    one at work has them too, and `collect` removes them.
    """

    problems: tuple[str, ...]
    versions: int
    awaited: int
    checked: int
    unreferenced: tuple[str, ...]
    temporaries: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _User:
    """What refers to content: a version, or a file of a repository; `has` is for messages."""

    label: str
    has: str
    size_bytes: int


def examine(
    catalog: Catalog, blobs: BlobStore, *, progress: Callable[[int, int], None] | None = None
) -> Examination:
    """Read every version again, and all content that versions and repositories refer to.

    `progress` is told how many files were read, of how many. Versions can be added meanwhile.
    """
    problems = catalog.integrity_problems()
    stored = blobs.digests()
    temporaries = blobs.temporaries()
    users_by_digest, versions, awaited = _users(catalog)
    for checked, (digest, users) in enumerate(users_by_digest.items()):
        if progress is not None:
            progress(checked, len(users_by_digest))
        problems += _content_problems(blobs, digest, users)
    referenced = catalog.referenced_digests()
    return Examination(
        problems=tuple(problems),
        versions=versions,
        awaited=awaited,
        checked=len(users_by_digest),
        unreferenced=tuple(digest for digest in stored if digest not in referenced),
        temporaries=tuple(temporaries),
    )


def _users(catalog: Catalog) -> tuple[dict[str, list[_User]], int, int]:
    """Who refers to each content; how many versions there are, and how many wait for theirs."""
    found: defaultdict[str, list[_User]] = defaultdict(list)
    versions = catalog.find(latest=False)
    for version in versions:
        if version.here:
            user = _User(version.label, "weights have", version.size_bytes)
            found[version.digest].append(user)
    for file in catalog.repositories.contents():
        if file.digest not in found:
            found[file.digest] = [_User(file.label, "content has", file.size_bytes)]
    return dict(found), len(versions), sum(not version.here for version in versions)


def _content_problems(blobs: BlobStore, digest: str, users: list[_User]) -> list[str]:
    labels = ", ".join(user.label for user in users)
    try:
        size_bytes = blobs.size_bytes(digest)
        blobs.verify(digest)
    except BlobError as error:
        return [f"{labels}: {error}"]
    return [
        f"{user.label}: its {user.has} {size_bytes} bytes, the catalogue says {user.size_bytes}"
        for user in users
        if user.size_bytes != size_bytes
    ]

"""Adapters that are catalogued by their metadata, while their weights are still at a hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..dsl.errors import NotFoundError
from ..store import BlobStore, VersionRecord

Bring: TypeAlias = Callable[[Sequence[VersionRecord]], None]
"""Gets the weights of versions that wait for them."""

Look: TypeAlias = Callable[[VersionRecord], Path]
"""Gives a file that has the header of a version's weights, and none of them."""


@dataclass(frozen=True, slots=True)
class Download:
    """Weights that would have to be fetched.

    Attributes:
        label: of the version, `name@v1`.
        source: the address of the repository. `commit`: sha, by which it is pinned.
    """

    label: str
    source: str
    commit: str
    size_bytes: int


def refuse_awaited(records: Sequence[VersionRecord]) -> None:
    """Say that weights are not here, where nobody is to fetch them.

    Raises:
        NotFoundError: always, unless there are no records.
    """
    for record in records:
        raise NotFoundError(
            f"the weights of {record.label} are not here yet: only its metadata was imported",
            hint=f"'isogloss pull' fetches them from {record.source} at {record.source_revision}",
        )


def weights_of(record: VersionRecord, blobs: BlobStore, look: Look | None = None) -> Path:
    """The file of a version's weights, or what `look` gives where they are not here.

    Raises:
        BlobError: they are lost.
    """
    return blobs.path(record.digest) if record.here or look is None else look(record)

"""Weights of catalogued adapters that are not here yet: fetched when needed, or looked at.

What arrives becomes the version that waited for it: of the commit that it was catalogued at, and
checked as every pull is. To look at an adapter is to read the header of its file, where it is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from ...store import BlobStore, Catalog, VersionRecord
from ..addition import add_folder
from ..awaited import Download
from ..cards.card import RemotePlace
from ..errors import IntegrityError, RemoteError, RemoteNotFoundError
from ..peft_folder import WEIGHTS_NAME
from .client import HubClient
from .names import split_source
from .pull import fetched, said_of

_FIRST_BYTES = 64 << 10
_MOST_HEADER_BYTES = 32 << 20


def bring(catalog: Catalog, blobs: BlobStore, client: HubClient, record: VersionRecord) -> None:
    """Fetch the weights of a version that waits for them; complete, or nothing changes.

    Raises:
        RemoteError: the hub refuses or fails, or it is another one that holds them.
        RefusedSourceError, SourceError, IntegrityError, WeightsError: what came is not taken.
    """
    repo, commit = _place(client, record)
    with _naming(record), fetched(client, repo, commit) as folder:
        place = RemotePlace(str(record.source), commit)
        added = add_folder(catalog, blobs, folder, said_of(record), place)
    if added.version.version != record.version:
        raise IntegrityError(
            f"what {repo} holds at commit {commit[:12]} is not what {record.label} was catalogued "
            f"as; it is {added.version.label} now"
        )


class Looking:
    """Gives files with the headers of weights that are at a hub: as long as these, full of holes.

    A context manager: the files are gone when its block ends.

    Args:
        client: makes the client of the hub, once it is needed.
    """

    def __init__(self, client: Callable[[], HubClient]) -> None:
        self._client = client
        self._folder = TemporaryDirectory(prefix="isogloss-")
        self._downloads: dict[str, Download] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def downloads(self) -> tuple[Download, ...]:
        """What was looked at, by label."""
        return tuple(self._downloads[label] for label in sorted(self._downloads))

    def __call__(self, record: VersionRecord) -> Path:
        """The file of a version.

        Raises:
            RemoteError: the hub refuses or fails. IntegrityError: its file is no such file.
        """
        client = self._client()
        repo, commit = _place(client, record)
        with _naming(record):
            header, size_bytes = _header(client, repo, commit)
        path = Path(self._folder.name) / f"{record.digest}.safetensors"
        with path.open("wb") as file:
            file.write(header)
            file.truncate(size_bytes)
        download = Download(record.label, str(record.source), commit, size_bytes)
        self._downloads[record.label] = download
        return path


def _header(client: HubClient, repo: str, commit: str) -> tuple[bytes, int]:
    first = client.read(repo, commit, WEIGHTS_NAME, length=_FIRST_BYTES)
    data, size_bytes = first.data, first.size_bytes
    length = struct.unpack("<Q", data[:8])[0] + 8 if len(data) >= 8 else 0
    if not 8 < length <= min(size_bytes, _MOST_HEADER_BYTES):
        raise IntegrityError(f"{WEIGHTS_NAME} of {repo} is no safetensors file")
    if length > len(data):
        rest = length - len(data)
        data += client.read(repo, commit, WEIGHTS_NAME, start=len(data), length=rest).data
    return data[:length], size_bytes


def _place(client: HubClient, record: VersionRecord) -> tuple[str, str]:
    """Repository and commit of a version's weights."""
    address = split_source(record.source or "")
    if address is None or not record.source_revision:
        raise RemoteNotFoundError(
            f"the weights of {record.label} are not here, and nothing says where they are"
        )
    endpoint, repo = address
    if endpoint != client.endpoint:
        # Another hub must not be sent the token of this one.
        raise RemoteNotFoundError(
            f"the weights of {record.label} are not here yet; they are at {endpoint}, not at "
            f"{client.endpoint}: set HF_ENDPOINT={endpoint} to fetch them"
        )
    return repo, record.source_revision


@contextmanager
def _naming(record: VersionRecord) -> Iterator[None]:
    try:
        yield
    except RemoteError as error:
        raise type(error)(f"the weights of {record.label} are not here yet: {error}") from error

"""Pulling an adapter: pinned to a commit, complete or not at all, and checked byte for byte."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

from ...dsl.meaning.lock import LOCK_NAME
from ...dsl.meaning.reference import is_adapter_name
from ...store import Added, BlobStore, Catalog, VersionRecord
from ..addition import add_folder
from ..cards.card import RemotePlace
from ..errors import IntegrityError, RefusedSourceError, RemoteNotFoundError, SourceError
from ..peft_folder import CARD_NAME, CONFIG_NAME, TOKENIZER_NAME, TRAINER_STATE_NAME, WEIGHTS_NAME
from ..provenance import Provenance
from .client import HubClient, RemoteFile
from .names import RemoteReference, check_paths, is_commit, source_url
from .release import ReleaseFile

_NEEDED = (CONFIG_NAME, WEIGHTS_NAME)
_TAKEN = (*_NEEDED, CARD_NAME, LOCK_NAME, TOKENIZER_NAME, TRAINER_STATE_NAME)
_PICKLED = "adapter_model.bin"


def pull(
    catalog: Catalog,
    blobs: BlobStore,
    client: HubClient,
    reference: RemoteReference,
    said: Provenance,
) -> Added:
    """Put a repository's adapter into the catalogue, under its own name unless another is given.

    What is here already is not fetched, and then no hub is asked when a commit is named.

    Raises:
        RemoteError: the hub refuses, fails, or has no such thing.
        RefusedSourceError: pickled weights. SourceError: a file, or what is said of it.
        IntegrityError: bytes that are not what the hub's hashes, or the lock, say.
    """
    name = said.name or reference.repo
    if not is_adapter_name(name):
        raise SourceError(f"'{name}' cannot be a name in the catalogue; give another with --name")
    plain = _is_plain(said)
    if plain and reference.revision and is_commit(reference.revision):
        known = _known(catalog, client, reference.repo, reference.revision, name)
        if known is not None and _is_sound(blobs, known):
            return Added(known, created=False)
    commit = _commit_of(client, reference)
    if commit is None:
        raise RemoteNotFoundError(f"{reference.repo} is empty")
    known = _known(catalog, client, reference.repo, commit, name) if plain else None
    if known is not None:
        if _is_sound(blobs, known):
            return Added(known, created=False)
        said = said_of(known)
    with fetched(client, reference.repo, commit) as folder:
        place = RemotePlace(source_url(client.endpoint, reference.repo), commit)
        return add_folder(catalog, blobs, folder, replace(said, name=name), place)


@contextmanager
def fetched(client: HubClient, repo: str, commit: str) -> Iterator[Path]:
    """A folder with the files of an adapter at a commit, for as long as the block runs.

    Raises:
        RemoteError, RefusedSourceError, IntegrityError: as `pull`.
    """
    tree = client.tree(repo, commit)
    check_paths(tree, _TAKEN)
    _refuse_incomplete(repo, tree)
    with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
        for name in _TAKEN:
            if name in tree:
                _fetch(client, repo, commit, tree[name], Path(folder))
        yield Path(folder)


def _commit_of(client: HubClient, reference: RemoteReference) -> str | None:
    try:
        return client.head(reference.repo, reference.revision)
    except RemoteNotFoundError as error:
        if not re.fullmatch(r"[0-9a-f]{4,39}", reference.revision or ""):
            raise
        raise RemoteNotFoundError(
            f"{error}; if {reference.revision!r} is the beginning of a commit: a hub knows commits "
            "by their whole sha, of 40 digits"
        ) from error


def said_of(record: VersionRecord) -> Provenance:
    """What was said of a version when it was imported, to be said of its weights again."""
    return Provenance(
        kind=None if record.composition else record.kind,
        languages=record.languages_given or None,
        task=record.task,
        name=record.name,
        license=record.license,
    )


def _fetch(client: HubClient, repo: str, commit: str, remote: RemoteFile, folder: Path) -> None:
    path = client.download(repo, commit, remote.path, folder)
    if path != folder / remote.path or path.is_symlink() or not path.is_file():
        raise IntegrityError(f"{remote.path} of {repo} did not arrive as a file")
    if not ReleaseFile(remote.path, path).equals(remote):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        raise IntegrityError(
            f"{remote.path} of {repo} came damaged: {path.stat().st_size} bytes with sha256 "
            f"{found}, the hub says {remote.size_bytes} bytes with "
            f"{remote.sha256 or 'git hash ' + remote.git_sha1}. Nothing was kept; try again"
        )


def _refuse_incomplete(repo: str, tree: Mapping[str, RemoteFile]) -> None:
    missing = [name for name in _NEEDED if name not in tree]
    if WEIGHTS_NAME in missing and _PICKLED in tree:
        raise RefusedSourceError(
            f"{repo} holds {_PICKLED} alone, a pickle, which can run code when it is loaded; "
            f"ask its owner for {WEIGHTS_NAME}, or convert it where you trust it and add the folder"
        )
    if missing:
        raise RemoteNotFoundError(f"{repo} is no PEFT adapter: it holds no {', '.join(missing)}")


def _is_plain(said: Provenance) -> bool:
    """Whether nothing is said but a name."""
    return all(getattr(said, one.name) is None for one in fields(said) if one.name != "name")


def _is_sound(blobs: BlobStore, record: VersionRecord) -> bool:
    """Whether a version's weights are here, as they were."""
    return record.here and blobs.soundness(record.digest) is True


def _known(
    catalog: Catalog, client: HubClient, repo: str, commit: str, name: str
) -> VersionRecord | None:
    source = source_url(client.endpoint, repo)
    same = ("and", (("compare", "name", "=", name), ("compare", "source", "=", source)))
    found = catalog.find(same, latest=False)
    return next((one for one in found if one.source_revision == commit), None)

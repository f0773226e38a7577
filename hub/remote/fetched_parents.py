"""Parents that are not in the catalogue, fetched for as long as a proof takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ...dsl.meaning.lock import LockedAdapter
from ...dsl.meaning.plan import AdapterKey
from ...dsl.tensors.blueprint import Operand
from ...dsl.tensors.configuration import config_digest
from ...dsl.tensors.tensorfile import canonicalize
from ...store import BlobStore, Catalog, UnknownVersionError
from ..errors import IntegrityError, RemoteNotFoundError
from ..peft_folder import read_folder
from ..provenance import Provenance, corrected_config
from .client import HubClient
from .names import split_source
from .places import locked_place, published_place
from .pull import fetched

Fetch = Callable[[LockedAdapter], Operand]


@contextmanager
def fetched_parents(catalog: Catalog, client: HubClient) -> Iterator[Fetch]:
    """A function that fetches a parent from the repository and commit that its lock names.

    What it fetches is gone when the block ends: a proof changes no catalogue.

    Raises (the function):
        UnknownVersionError: nobody says where the parent is.
        RemoteError: the hub refuses or fails. IntegrityError: it holds something else.
    """
    with ExitStack() as stack:
        yield lambda adapter: _operand(catalog, client, stack, adapter)


def _operand(
    catalog: Catalog, client: HubClient, stack: ExitStack, adapter: LockedAdapter
) -> Operand:
    label = f"{adapter.name}@v{adapter.version}"
    place = locked_place(adapter.source, adapter.source_revision) or published_place(
        catalog, adapter.key.weights, adapter.key.config
    )
    address = split_source(place.source) if place else None
    if place is None or address is None:
        raise UnknownVersionError(
            f"the parent {label} (sha256:{adapter.key.weights}) is not in this catalogue, and the "
            "lock does not say where it is published: add it from a folder"
        )
    endpoint, repo = address
    if endpoint != client.endpoint:
        # Another hub must not be sent the token of this one.
        raise RemoteNotFoundError(
            f"the parent {label} is published at {endpoint}, not at {client.endpoint}: "
            f"set HF_ENDPOINT={endpoint} to fetch it from there"
        )
    path = stack.enter_context(fetched(client, repo, place.commit))
    folder = read_folder(path)
    said = Provenance(base=adapter.base_model or None)
    config = corrected_config(said, folder)
    blobs = BlobStore(Path(path) / "blobs")
    with blobs.writer() as writer:
        canonicalize(folder.weights, writer.write)
        digest = writer.commit().digest
    found = AdapterKey(digest, config_digest(config))
    if found != adapter.key:
        raise IntegrityError(
            f"{repo} at commit {place.commit[:12]} does not hold the parent {label}: "
            f"its content is {found}, the lock says {adapter.key}"
        )
    return Operand(found, label, blobs.path(digest), config, folder.tokenizer_digest)

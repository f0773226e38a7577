"""Where parents can be fetched: what the lock says, and where this catalogue published them."""

from __future__ import annotations

from ...dsl.meaning.lock import Lock
from ...dsl.meaning.plan import AdapterKey
from ...store import Catalog, VersionRecord
from ..cards.card import RemotePlace
from .names import is_commit, source_url, split_source


def places_of(catalog: Catalog, lock: Lock) -> dict[AdapterKey, RemotePlace]:
    """The place of every adapter of a lock that has one."""
    found: dict[AdapterKey, RemotePlace] = {}
    for adapter in lock.adapters:
        place = locked_place(adapter.source, adapter.source_revision) or published_place(
            catalog, adapter.key.weights, adapter.key.config
        )
        if place is not None:
            found[adapter.key] = place
    return found


def locked_place(source: str | None, revision: str | None) -> RemotePlace | None:
    """The place that a recorded source stands for; None for a folder on a disk."""
    if not source or not revision or split_source(source) is None or not is_commit(revision):
        return None
    return RemotePlace(source, revision)


def published_place(catalog: Catalog, digest: str, config_digest: str) -> RemotePlace | None:
    """Where content was last published from this catalogue."""
    published = catalog.publications.of_content(digest, config_digest)
    if not published:
        return None
    latest = published[-1]
    return RemotePlace(source_url(latest.endpoint, latest.repo), latest.commit)


def place_of_version(catalog: Catalog, record: VersionRecord) -> RemotePlace | None:
    """Where a catalogued version can be fetched by others: whence it was pulled, or published."""
    return locked_place(record.source, record.source_revision) or published_place(
        catalog, record.digest, record.config_digest
    )

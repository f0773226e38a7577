"""Proving that catalogue and weights agree: the store's examination, and the configurations."""

from __future__ import annotations

from dataclasses import replace

from ..dsl.tensors.configuration import config_digest
from ..store import BlobStore, Catalog, Examination, examine


def check_all(catalog: Catalog, blobs: BlobStore) -> Examination:
    """Rehash all weights that a version refers to, and every configuration."""
    examined = examine(catalog, blobs)
    changed = tuple(
        f"{record.label}: its configuration was changed"
        for record in catalog.find(latest=False)
        if config_digest(record.config) != record.config_digest
    )
    return replace(examined, problems=examined.problems + changed)

"""Taking an adapter into the catalogue: inspected, made canonical, stored whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..dsl.algebra import inspect
from ..dsl.tensors.configuration import config_digest
from ..dsl.tensors.tensorfile import canonicalize, is_canonical, read_header
from ..store import Added, Blob, BlobStore, Catalog, NewVersion, VersionRecord, provenance_digest
from .cards.card import RemotePlace
from .composed_source import composed_version, read_lock_beside
from .doubts import changed_languages, mended_weights, unread_fields
from .errors import IntegrityError, NameTakenError
from .naming import refuse_other_kind
from .peft_folder import WEIGHTS_NAME, PeftFolder, read_folder
from .provenance import Provenance, describe


def add_folder(
    catalog: Catalog,
    blobs: BlobStore,
    source: str | Path,
    said: Provenance,
    place: RemotePlace | None = None,
) -> Added:
    """Add a PEFT folder as the next version of its name.

    A folder with a lock beside its weights is a composition, and keeps its lineage.

    Args:
        place: the repository and commit that the folder was fetched from.

    Raises:
        SourceError, RefusedSourceError: the folder or what is said of it.
        WeightsError: damaged weights. IncompatibleError: tensors that do not fit the configuration.
        IntegrityError: a lock that is not of the files beside it.
    """
    folder = read_folder(source)
    lock = read_lock_beside(folder)
    if lock is None:
        new, blob = _trained(catalog, blobs, folder, said)
    else:
        inspection = inspect(folder.config, read_header(folder.weights))
        blob = _store(blobs, folder)
        if blob.digest != lock.result.weights:
            raise IntegrityError(f"{WEIGHTS_NAME} is not in the canonical form that its lock names")
        new = composed_version(folder, lock, said, inspection, blob.size_bytes)
    before = catalog.find(("compare", "name", "=", new.name), latest=False)
    warnings = (*unread_fields(folder), *mended_weights(blob, catalog.by_digest(blob.digest)))
    if place is None:
        new = replace(new, source=str(folder.path))
    else:
        new = replace(new, source=place.source, source_revision=place.commit)
        known = _at_another_commit(before, new)
        if known is not None:
            return Added(known, created=False, warnings=warnings)
    added = catalog.add(new, stored=blobs.contains)
    if added.created:
        warnings += changed_languages(new, [one for one in before if one.withdrawn is None])
    return replace(added, warnings=warnings)


def _trained(
    catalog: Catalog, blobs: BlobStore, folder: PeftFolder, said: Provenance
) -> tuple[NewVersion, Blob]:
    described = describe(said, folder)
    refuse_other_kind(catalog, described["name"], described["kind"])
    if said.name is None:
        _refuse_other_base(catalog, described)
    inspection = inspect(described["config"], read_header(folder.weights))
    blob = _store(blobs, folder)
    new = NewVersion(
        **described,
        peft_type=inspection.peft_type,
        rank=inspection.rank,
        alpha=inspection.alpha,
        target_modules=inspection.modules,
        parameters=inspection.parameters,
        dtype=inspection.dtype,
        digest=blob.digest,
        config_digest=config_digest(described["config"]),
        original_digest=blob.digest if is_canonical(folder.weights) else _file_digest(folder),
        size_bytes=blob.size_bytes,
    )
    return new, blob


def _store(blobs: BlobStore, folder: PeftFolder) -> Blob:
    with blobs.writer(folder.weights.stat().st_size) as writer:
        canonicalize(folder.weights, writer.write)
        return writer.commit()


def _at_another_commit(versions: Sequence[VersionRecord], new: NewVersion) -> VersionRecord | None:
    """The same adapter from the same repository: a new card there is no new version here."""
    place = (new.source, new.source_revision, False)
    if any((one.source, one.source_revision, one.here) == place for one in versions):
        return None  # It was catalogued without its weights: these are they.
    for known in versions:
        plain = {one.name: getattr(known, one.name) for one in fields(NewVersion)}
        there = replace(NewVersion(**plain), source_revision=new.source_revision)
        if known.source == new.source and provenance_digest(there) == provenance_digest(new):
            return known
    return None


def _file_digest(folder: PeftFolder) -> str:
    with folder.weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_other_base(catalog: Catalog, fields: dict[str, Any]) -> None:
    """A name made up from task and language must not become another base model's next version."""
    versions = catalog.find(("compare", "name", "=", fields["name"]), latest=False)
    bases = {version.base_model for version in versions}
    if bases and fields["base_model"] not in bases:
        known = ", ".join(sorted(map(str, bases)))
        raise NameTakenError(
            f"'{fields['name']}' already names an adapter for {known}, "
            f"this one is for {fields['base_model']}; give it a name of its own with --name"
        )

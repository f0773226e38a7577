"""Taking an adapter into the catalogue: inspected, made canonical, stored whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..dsl.algebra import inspect
from ..dsl.configuration import config_digest
from ..dsl.tensorfile import canonicalize, read_header
from ..store import Added, BlobStore, Catalog, NewVersion
from .errors import NameTakenError
from .peft_folder import PeftFolder, read_folder
from .provenance import Provenance, describe


def add_folder(catalog: Catalog, blobs: BlobStore, source: str | Path, said: Provenance) -> Added:
    """Add a PEFT folder as the next version of its name.

    Raises:
        SourceError, RefusedSourceError: the folder or what is said of it.
        WeightsError: damaged weights. IncompatibleError: tensors that do not fit the configuration.
    """
    folder = read_folder(source)
    fields = describe(said, folder)
    if said.name is None:
        _refuse_other_base(catalog, fields)
    header = read_header(folder.weights)
    inspection = inspect(fields["config"], header)
    with blobs.writer() as writer:
        canonicalize(folder.weights, writer.write)
        blob = writer.commit()
    return catalog.add(
        NewVersion(
            **fields,
            peft_type=inspection.peft_type,
            rank=inspection.rank,
            alpha=inspection.alpha,
            target_modules=inspection.modules,
            parameters=inspection.parameters,
            dtype=inspection.dtype,
            source=str(folder.path),
            digest=blob.digest,
            config_digest=config_digest(fields["config"]),
            original_digest=_file_digest(folder),
            size_bytes=blob.size_bytes,
        ),
        stored=blobs.contains,
    )


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

"""Proving a composed adapter: every file against its digest, then made again and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..dsl.catalogue import label
from ..dsl.configuration import config_digest
from ..dsl.errors import DslError
from ..dsl.execute import execute
from ..dsl.lock import LOCK_NAME, Lock, lock_from_json, read_lock
from ..dsl.plan import AdapterKey
from ..dsl.recipe import Operand, prepare
from ..store import BlobError, BlobStore, Catalog, UnknownVersionError, VersionRecord
from .composition import operand
from .errors import IntegrityError, SourceError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was compared."""

    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that was compared and found equal."""

    target: str
    digest: str
    checks: tuple[Check, ...]


def verify_folder(catalog: Catalog, blobs: BlobStore, folder: Path) -> Verification:
    """Prove a folder that holds a lock; files may be symbolic links, as in the Hub's cache.

    Raises:
        SourceError: no lock. IntegrityError: a file, a parent or the result differs.
        UnknownVersionError: a parent is not in the catalogue.
    """
    path = folder / LOCK_NAME
    if not path.is_file():
        raise SourceError(f"'{folder}' holds no {LOCK_NAME}: isogloss did not compose it")
    try:
        lock = read_lock(path.read_bytes())
    except DslError as error:
        raise IntegrityError(f"'{path}': {error}") from error
    checks = [Check(LOCK_NAME, "its checksum and its plan agree")]
    for name, expected in sorted(lock.files.items()):
        if Path(name).name != name:
            raise IntegrityError(f"{LOCK_NAME} names a file outside of its folder: '{name}'")
        if not (folder / name).is_file():
            raise IntegrityError(f"'{folder / name}' is missing")
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise IntegrityError(
                f"'{folder / name}' was changed: its sha256 is {found}, the lock says {expected}"
            )
        checks.append(Check(name, f"sha256 {expected}"))
    checks += _made_again(catalog, blobs, lock, lock.files)
    return Verification(str(folder), lock.result.weights, tuple(checks))


def verify_version(catalog: Catalog, blobs: BlobStore, record: VersionRecord) -> Verification:
    """Prove a catalogued version: its weights, its configuration and, if composed, its making.

    Raises:
        IntegrityError: weights, configuration, lock, a parent or the result differ.
    """
    checks = _intact(blobs, record)
    if record.composition is not None:
        try:
            lock = lock_from_json(record.composition.lock)
        except DslError as error:
            raise IntegrityError(f"the lock of {label(record)}: {error}") from error
        if lock.result != AdapterKey(record.digest, record.config_digest):
            raise IntegrityError(f"the lock of {label(record)} is of another result")
        checks += _made_again(catalog, blobs, lock, {})
    return Verification(label(record), record.digest, tuple(checks))


def _intact(blobs: BlobStore, record: VersionRecord) -> list[Check]:
    """A version's weights and configuration against their digests."""
    try:
        blobs.verify(record.digest)
    except BlobError as error:
        raise IntegrityError(f"the weights of {label(record)}: {error}") from error
    if config_digest(record.config) != record.config_digest:
        raise IntegrityError(
            f"the configuration of {label(record)} was changed: its digest is "
            f"{config_digest(record.config)}, the catalogue says {record.config_digest}"
        )
    return [
        Check(f"weights of {label(record)}", f"sha256 {record.digest}"),
        Check(f"configuration of {label(record)}", f"sha256 {record.config_digest}"),
    ]


def _made_again(
    catalog: Catalog, blobs: BlobStore, lock: Lock, files: Mapping[str, str]
) -> list[Check]:
    """Compose from the lock alone, and compare with what it promises."""
    checks: list[Check] = []
    operands: dict[AdapterKey, Operand] = {}
    for adapter in lock.adapters:
        record = _parent(catalog, adapter.key, f"{adapter.name}@v{adapter.version}")
        checks += _intact(blobs, record)
        operands[adapter.key] = operand(record, blobs)
    recipe = prepare(lock.plan, operands, lock.dtype)
    hashed = hashlib.sha256()
    execute(recipe, hashed.update)
    if hashed.hexdigest() != lock.result.weights:
        raise IntegrityError(
            f"made again, the weights have sha256 {hashed.hexdigest()}, "
            f"the lock says {lock.result.weights}"
        )
    if config_digest(recipe.config) != lock.result.config:
        raise IntegrityError(
            f"made again, the configuration has digest {config_digest(recipe.config)}, "
            f"the lock says {lock.result.config}"
        )
    checks.append(Check("made again", f"equal bit for bit, sha256 {lock.result.weights}"))
    return checks


def _parent(catalog: Catalog, key: AdapterKey, name: str) -> VersionRecord:
    found = catalog.by_digest(key.weights, key.config)
    if not found:
        raise UnknownVersionError(
            f"the parent {name} (sha256:{key.weights}:{key.config}) is not in this catalogue: "
            "add it to prove how this adapter was made"
        )
    return found[-1]

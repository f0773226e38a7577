"""Proving a composed adapter: every file against its digest, then made again and compared."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..dsl.errors import DslError
from ..dsl.meaning.catalogue import label
from ..dsl.meaning.lock import LOCK_NAME, Lock, LockedAdapter, lock_from_json, read_lock
from ..dsl.meaning.plan import AdapterKey
from ..dsl.sizes import DEFAULT_MEMORY_BYTES
from ..dsl.tensors.blueprint import Blueprint, Operand, prepare
from ..dsl.tensors.closeness import farthest
from ..dsl.tensors.configuration import config_digest
from ..dsl.tensors.execute import execute
from ..dsl.tensors.making import made_ready
from ..store import BlobError, BlobStore, Catalog, UnknownVersionError, VersionRecord
from .composition import operand
from .errors import IntegrityError, SourceError
from .peft_folder import WEIGHTS_NAME
from .remote.fetched_parents import Fetch


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


def verify_folder(
    catalog: Catalog,
    blobs: BlobStore,
    folder: Path,
    fetch: Fetch | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Verification:
    """Prove a folder that holds a lock; files may be symbolic links, as in the Hub's cache.

    `fetch` gets the parents that are not in the catalogue; `memory_bytes` is the most that making
    it again may take.

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
    checks += _made_again(catalog, blobs, lock, folder / WEIGHTS_NAME, fetch, memory_bytes)
    return Verification(str(folder), lock.result.weights, tuple(checks))


def verify_version(
    catalog: Catalog,
    blobs: BlobStore,
    record: VersionRecord,
    fetch: Fetch | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Verification:
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
        weights = blobs.path(record.digest)
        checks += _made_again(catalog, blobs, lock, weights, fetch, memory_bytes)
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
    catalog: Catalog,
    blobs: BlobStore,
    lock: Lock,
    weights: Path,
    fetch: Fetch | None,
    memory_bytes: int,
) -> list[Check]:
    """Compose from the lock alone, and compare with what it promises."""
    checks: list[Check] = []
    operands: dict[AdapterKey, Operand] = {}
    for adapter in lock.adapters:
        found = catalog.by_digest(adapter.key.weights, adapter.key.config)
        if found:
            checks += _intact(blobs, found[-1])
            operands[adapter.key] = operand(found[-1], blobs)
        elif fetch is not None:
            operands[adapter.key] = fetch(adapter)
            checks.append(Check(f"fetched {adapter.name}", f"sha256 {adapter.key.weights}"))
        else:
            raise _missing(adapter)
    foreseen = prepare(lock.plan, operands, lock.dtype)
    _require_due_tolerance(lock, foreseen)
    with made_ready(foreseen, blobs.root / "tmp", memory_bytes) as ready:
        blueprint = ready.blueprint
        if config_digest(blueprint.config) != lock.result.config:
            raise IntegrityError(
                f"made again, the configuration has digest {config_digest(blueprint.config)}, "
                f"the lock says {lock.result.config}"
            )
        return [*checks, Check("made again", _compared(blobs, blueprint, lock, weights))]


def _require_due_tolerance(lock: Lock, foreseen: Blueprint) -> None:
    """Refuse a lock that allows more than the functions in it can differ by: it proves nothing."""
    due = foreseen.makings.tolerance if foreseen.makings else None
    if lock.tolerance is not None and (due is None or lock.tolerance > due):
        least = "this comes out the same to the bit" if due is None else f"{due:g} is due"
        raise IntegrityError(f"the lock allows a difference of {lock.tolerance:g}, where {least}")


def _compared(blobs: BlobStore, blueprint: Blueprint, lock: Lock, weights: Path) -> str:
    """Make the weights again and compare; to the bit, or within the tolerance of the lock."""
    hashed = hashlib.sha256()
    if lock.tolerance is None:
        execute(blueprint, hashed.update)
        if hashed.hexdigest() != lock.result.weights:
            raise IntegrityError(
                f"made again, the weights have sha256 {hashed.hexdigest()}, "
                f"the lock says {lock.result.weights}"
            )
        return f"equal bit for bit, sha256 {lock.result.weights}"
    with tempfile.NamedTemporaryFile(dir=blobs.root / "tmp") as file:
        execute(blueprint, file.write)
        file.seek(0)
        if hashlib.file_digest(file, "sha256").hexdigest() == lock.result.weights:
            return f"equal bit for bit, sha256 {lock.result.weights}"
        where, distance = farthest(blueprint.config, weights, Path(file.name))
    if distance > lock.tolerance:
        raise IntegrityError(
            f"made again, '{where}' differs by {distance:.2g} of its norm, and the lock allows "
            f"{lock.tolerance:g}"
        )
    return f"within {distance:.2g} of the norm at '{where}', and the lock allows {lock.tolerance:g}"


def _missing(adapter: LockedAdapter) -> UnknownVersionError:
    named = f"{adapter.name}@v{adapter.version}"
    return UnknownVersionError(
        f"the parent {named} (sha256:{adapter.key.weights}:{adapter.key.config}) is not in this "
        "catalogue: add it to prove how this adapter was made, or let --fetch get it where it is "
        "published"
    )

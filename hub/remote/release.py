"""A version as it is published: its files, byte for byte, and their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ...dsl.meaning.lock import LOCK_NAME, Lock, lock_from_json
from ...dsl.meaning.plan import AdapterKey
from ...dsl.tensors.blueprint import prepare
from ...store import BlobStore, Catalog, Score, VersionRecord
from ..assessment import distance_in_words, with_risks
from ..cards.card import write_card
from ..cards.facts import datasets_of, facts_of
from ..composition import operand
from ..errors import IntegrityError
from ..peft_folder import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, config_text
from .client import RemoteFile
from .places import places_of

SCORES_NAME = ".eval_results/isogloss.yaml"
# A card can be mended and scores come later; what a version is are the others.
BESIDE = (CARD_NAME, SCORES_NAME)


@dataclass(frozen=True)
class ReleaseFile:
    """One file to publish: where it goes, and its bytes or the file that holds them."""

    path: str
    content: bytes | Path

    @cached_property
    def size_bytes(self) -> int:
        """How long it is."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """Its sha256."""
        return self._hash(hashlib.sha256())

    @cached_property
    def git_sha1(self) -> str:
        """The name that git gives to its content."""
        return self._hash(hashlib.sha1(f"blob {self.size_bytes}\0".encode(), usedforsecurity=False))

    def equals(self, remote: RemoteFile | None) -> bool:
        """Whether a hub's file has this content, going by its hashes."""
        if remote is None or remote.size_bytes != self.size_bytes:
            return False
        if remote.sha256 is not None:
            return remote.sha256 == self.sha256
        return remote.git_sha1 == self.git_sha1

    def _hash(self, hashed: Any) -> str:
        if isinstance(self.content, bytes):
            hashed.update(self.content)
        else:
            with self.content.open("rb") as file:
                while block := file.read(1 << 20):
                    hashed.update(block)
        return str(hashed.hexdigest())


@dataclass(frozen=True, slots=True)
class Release:
    """All files of a version for one repository, and paths that would contradict them there."""

    files: tuple[ReleaseFile, ...]
    gone: tuple[str, ...]

    def same_version(self, tree: Mapping[str, RemoteFile]) -> bool:
        """Whether a tree holds this version: equal weights, configuration and lock."""
        kept = (one for one in self.files if one.path not in BESIDE)
        return all(one.equals(tree.get(one.path)) for one in kept) and not self._contradicted(tree)

    def differing(self, tree: Mapping[str, RemoteFile]) -> tuple[ReleaseFile, ...]:
        """The files that a tree lacks or has otherwise."""
        return tuple(one for one in self.files if not one.equals(tree.get(one.path)))

    def is_whole_in(self, tree: Mapping[str, RemoteFile]) -> bool:
        """Whether a tree holds every file, card included."""
        return not self.differing(tree) and not self._contradicted(tree)

    def beside(self) -> Release:
        """The card and the scores alone."""
        return Release(tuple(one for one in self.files if one.path in BESIDE), ())

    def _contradicted(self, tree: Mapping[str, RemoteFile]) -> bool:
        return any(path in tree for path in self.gone)


def make_release(
    catalog: Catalog, blobs: BlobStore, record: VersionRecord, repository: str, revision: str
) -> Release:
    """The files of a catalogued version, for a repository and the tag that it will have.

    Raises:
        IntegrityError: weights or lock are damaged. BlobError: the weights are lost.
    """
    blobs.verify(record.digest)
    config = config_text(record.config).encode()
    lock = lock_from_json(record.composition.lock) if record.composition else None
    scores = catalog.evaluations.of(record.name, record.version)
    facts = facts_of(record, lock, repository, revision)
    facts = replace(facts, datasets=_datasets(catalog, record), scores=scores)
    if lock is not None:
        distance, warnings = _assessed(catalog, blobs, lock)
        facts = replace(
            facts,
            places=places_of(catalog, lock),
            distance=distance,
            warnings=facts.warnings or warnings,
        )
    card = write_card(facts, lock)
    files = [
        ReleaseFile(WEIGHTS_NAME, blobs.path(record.digest)),
        ReleaseFile(CONFIG_NAME, config),
        ReleaseFile(CARD_NAME, card.encode()),
    ]
    if lock is not None:
        _check(lock, record, config)
        files.append(ReleaseFile(LOCK_NAME, lock.text().encode()))
    listed = _eval_results(scores)
    if listed:
        files.append(ReleaseFile(SCORES_NAME, listed))
    return Release(tuple(files), () if lock else (LOCK_NAME,))


def _check(lock: Lock, record: VersionRecord, config: bytes) -> None:
    """A lock promises the bytes that are beside it."""
    promised = lock.files.get(CONFIG_NAME)
    if lock.result != AdapterKey(record.digest, record.config_digest):
        raise IntegrityError(f"the lock of {record.label} is of another result")
    if promised is not None and promised != hashlib.sha256(config).hexdigest():
        raise IntegrityError(
            f"the configuration of {record.label} is not the one that its lock promises"
        )


def _assessed(catalog: Catalog, blobs: BlobStore, lock: Lock) -> tuple[str | None, tuple[str, ...]]:
    """Distance and warnings, as far as the parents' weights are here to tell."""
    parents: dict[AdapterKey, VersionRecord] = {}
    for adapter in lock.adapters:
        found = catalog.by_digest(adapter.key.weights, adapter.key.config)
        if not found or not blobs.contains(adapter.key.weights):
            return None, ()
        named = [one for one in found if (one.name, one.version) == (adapter.name, adapter.version)]
        parents[adapter.key] = (named or found)[-1]
    operands = {key: operand(parent, blobs) for key, parent in parents.items()}
    blueprint = prepare(lock.plan, operands, lock.dtype)
    if blueprint.makings is not None:
        # That would take as long as composing it.
        return None, ()
    blueprint = with_risks(blueprint, lock.plan, parents)
    return distance_in_words(blueprint), blueprint.warnings


def _datasets(catalog: Catalog, record: VersionRecord) -> list[str]:
    """Everything that it or an ancestor in this catalogue was trained on."""
    lineage = catalog.ancestors(record.name, record.version)
    versions = [record, *(version for node in lineage.nodes for version in node.versions)]
    return sorted({name for one in versions for name in datasets_of(one)})


def _eval_results(scores: list[Score]) -> bytes | None:
    """Scores in the form that the Hub reads today (`.eval_results/*.yaml`), by data set."""
    entries = []
    for one in scores:
        dataset: dict[str, Any] = {"id": one.dataset, "task_id": one.language}
        if one.dataset_revision:
            dataset["revision"] = one.dataset_revision
        entry: dict[str, Any] = {"dataset": dataset, "value": one.value}
        if one.created_at:
            entry["date"] = one.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        entry["notes"] = f"{one.metric}, {one.split}" + (
            f", n={one.examples}" if one.examples else ""
        )
        entries.append(entry)
    if not entries:
        return None
    return str(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)).encode()

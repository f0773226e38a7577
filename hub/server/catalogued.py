"""Catalogued adapters as repositories: versions as commits and tags, made of the records alone.

What a version's files say comes from what can never change of it, so that its commit is always
the same; scores, which come later, and withdrawals are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from ...dsl.meaning.lock import LOCK_NAME, lock_from_json
from ...store import (
    Catalog,
    CommitRecord,
    FileRecord,
    RefRecord,
    Snapshot,
    UnknownRevisionError,
    VersionRecord,
)
from ...store.errors import did_you_mean
from ...store.repositories.git_objects import commit_oid, tree_oids
from ...store.repositories.records import MAIN
from ..cards.card import write_card
from ..cards.facts import facts_of
from ..peft_folder import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, config_text
from .files import large_file, small_file
from .sources import Edition

_AUTHOR = "isogloss"


@dataclass(frozen=True, slots=True)
class CataloguedSource:
    """A name of the catalogue as a read-only repository of its versions, the first one first."""

    owner: str
    name: str
    versions: tuple[VersionRecord, ...]
    private: bool = False

    @property
    def created_at(self) -> datetime:
        """When the first version was added."""
        return self.versions[0].created_at

    @property
    def updated_at(self) -> datetime:
        """When the last version was added."""
        return self.versions[-1].created_at

    def refs(self) -> list[RefRecord]:
        """The main branch, which is the latest version, and a tag for every version."""
        commits = self._commits()
        tags = [
            RefRecord("tag", f"v{version.version}", commit.sha)
            for version, commit in zip(self.versions, commits, strict=True)
        ]
        return [RefRecord("branch", MAIN, commits[self._latest()].sha), *tags]

    def edition(self, revision: str) -> Edition:
        """What the main branch, a version or a sha means."""
        index = self._index(revision)
        files, contents = _files(self._full_name, self.versions[index])
        return Edition(Snapshot(self._commits()[index], files), contents)

    def history(self, revision: str) -> list[CommitRecord]:
        """The versions up to one, the newest first."""
        return self._commits()[: self._index(revision) + 1][::-1]

    @property
    def _full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    def _commits(self) -> list[CommitRecord]:
        commits: list[CommitRecord] = []
        for version in self.versions:
            parent = commits[-1].sha if commits else None
            commits.append(_commit(self._full_name, version, parent))
        return commits

    def _latest(self) -> int:
        """The highest that is not withdrawn; where all are, the highest."""
        kept = [i for i, version in enumerate(self.versions) if version.withdrawn is None]
        return kept[-1] if kept else len(self.versions) - 1

    def _index(self, revision: str) -> int:
        if revision == MAIN:
            return self._latest()
        names: Sequence[str] = [f"v{version.version}" for version in self.versions]
        if revision in names:
            return names.index(revision)
        shas = [commit.sha for commit in self._commits()]
        if revision in shas:
            return shas.index(revision)
        near = did_you_mean(revision[:260], [MAIN, *names])
        raise UnknownRevisionError(
            f"{self._full_name} has no branch, tag or commit {revision[:260]!r}{near}"
        )


def find_catalogued(
    catalog: Catalog, owner: str, name: str, default_owner: str
) -> CataloguedSource | None:
    """The repository that a name of the catalogue makes, unless all its versions are withdrawn."""
    wanted = [f"{owner}/{name}", *([name] if owner == default_owner else [])]
    same = ("or", tuple(("compare", "name", "=", one) for one in wanted))
    found = sources_of(catalog.find(same, latest=False), default_owner)
    return found[0] if found else None


def all_catalogued(catalog: Catalog, default_owner: str) -> list[CataloguedSource]:
    """Every repository that the catalogue makes."""
    return sources_of(catalog.find(latest=False), default_owner)


def sources_of(versions: Sequence[VersionRecord], default_owner: str) -> list[CataloguedSource]:
    """Versions grouped by their names, which have an owner or get the default one."""
    by_name: dict[str, list[VersionRecord]] = {}
    for version in versions:
        if version.here:  # What was only imported can be had where it is.
            by_name.setdefault(version.name, []).append(version)
    found = []
    for full_name, group in by_name.items():
        owner, slash, name = full_name.partition("/")
        if any(version.withdrawn is None for version in group):
            ordered = tuple(sorted(group, key=lambda version: version.version))
            found.append(
                CataloguedSource(owner, name, ordered)
                if slash
                else CataloguedSource(default_owner, full_name, ordered)
            )
    return found


def _commit(full_name: str, version: VersionRecord, parent: str | None) -> CommitRecord:
    files, _ = _files(full_name, version)
    tree = tree_oids((file.path, file.oid) for file in files)[""]
    title = f"v{version.version}"
    sha = commit_oid(tree, parent, _AUTHOR, version.created_at, title)
    return CommitRecord(sha, parent, tree, title, "", _AUTHOR, version.created_at)


def _files(
    full_name: str, version: VersionRecord
) -> tuple[tuple[FileRecord, ...], dict[str, bytes]]:
    return _files_of(full_name, _Frozen(version))


class _Frozen:
    """A record as a key: two of one content and provenance are equal."""

    def __init__(self, version: VersionRecord) -> None:
        self.version = version
        self._key = (version.name, version.version, version.digest, version.created_at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=4096)
def _files_of(full_name: str, frozen: _Frozen) -> tuple[tuple[FileRecord, ...], dict[str, bytes]]:
    version = frozen.version
    lock = lock_from_json(version.composition.lock) if version.composition else None
    card = write_card(facts_of(version, lock, full_name, f"v{version.version}"), lock)
    texts = {CONFIG_NAME: config_text(version.config), CARD_NAME: card}
    if lock is not None:
        texts[LOCK_NAME] = lock.text()
    small = [small_file(path, text.encode()) for path, text in texts.items()]
    weights = large_file(WEIGHTS_NAME, version.digest, version.size_bytes)
    contents = {file.digest: texts[file.path].encode() for file in small}
    return tuple(sorted([*small, weights], key=lambda file: file.path)), contents

"""Repositories on every database: commits, references, races, and what `collect` leaves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from isogloss.store import (
    BlobError,
    BlobStore,
    Catalog,
    Change,
    FileRecord,
    MovedHeadError,
    NameUsedError,
    RecordError,
    UnknownRepositoryError,
    UnknownRevisionError,
    collect,
)
from isogloss.store.repositories.git_objects import blob_oid, pointer, tree_oids
from isogloss.store.repositories.records import check_path


def file(path: str, content: bytes, *, lfs: bool = False) -> FileRecord:
    digest = sha256(content).hexdigest()
    oid = blob_oid(pointer(digest, len(content)) if lfs else content)
    return FileRecord(path, digest, len(content), oid, lfs)


def put(title: str, **contents: bytes) -> Change:
    return Change(title, put=tuple(file(name, content) for name, content in contents.items()))


def everything(_: str) -> bool:
    return True


@pytest.fixture
def write(catalog: Catalog) -> Callable[..., Any]:
    """Make acme/one, and return a function that commits to a branch of it."""
    first = put("initial commit", start=b"0")
    repository = catalog.repositories.create(
        "acme", "one", author="ann", first=first, stored=everything
    )

    def write(change: Change, *, branch: str = "main", parent: str | None = None) -> Any:
        return catalog.repositories.commit(
            repository, branch, change, author="ann", stored=everything, parent=parent
        )

    return write


def test_commits_follow_each_other(catalog: Catalog, write: Callable[..., Any]) -> None:
    repository = catalog.repositories.get("ACME", "One")
    assert repository.full_name == "acme/one"
    one = write(put("one", a=b"1"))
    two = write(Change("two", "why", (file("b/c", b"2"),), deleted_files=("start",)))
    history = catalog.repositories.history(repository, "main")
    assert [commit.title for commit in history] == ["two", "one", "initial commit"]
    assert two.parent == one.sha
    snapshot = catalog.repositories.snapshot(repository, "main")
    assert snapshot.commit == two
    assert [(f.path, f.changed_in) for f in snapshot.files] == [("a", one.sha), ("b/c", two.sha)]
    assert catalog.repositories.snapshot(repository, one.sha).commit == one
    emptied = write(Change("three", deleted_folders=("b",)))
    files = catalog.repositories.snapshot(repository, emptied.sha).files
    assert [f.path for f in files] == ["a"]


def test_a_commit_without_an_effect_is_the_head(write: Callable[..., Any]) -> None:
    one = write(put("one", a=b"1"))
    assert write(put("again", a=b"1")) == one


def test_a_moved_head_is_told(catalog: Catalog, write: Callable[..., Any]) -> None:
    one = write(put("one", a=b"1"))
    write(put("two", a=b"2"), parent=one.sha)
    with pytest.raises(MovedHeadError, match=one.sha):
        write(put("three", a=b"3"), parent=one.sha)
    repository = catalog.repositories.get("acme", "one")
    assert len(catalog.repositories.history(repository, "main")) == 3


def test_of_racing_commits_one_wins(catalog: Catalog, write: Callable[..., Any]) -> None:
    parent = write(put("one", a=b"1")).sha

    def race(number: int) -> bool:
        try:
            write(put(f"racer {number}", a=b"%d" % number), parent=parent)
        except MovedHeadError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(race, range(2, 8))) == [False] * 5 + [True]


def test_names_are_used_once(catalog: Catalog, write: Callable[..., Any]) -> None:
    repositories = catalog.repositories
    with pytest.raises(NameUsedError, match="acme/one"):
        repositories.create("Acme", "ONE", author="b", first=put("x"), stored=everything)
    repositories.create("acme", "two", author="b", first=put("x"), stored=everything, private=True)
    with pytest.raises(NameUsedError):
        repositories.move("acme", "two", "acme", "one")
    repositories.move("acme", "two", "other", "Two")
    assert [found.full_name for found in repositories.all()] == ["acme/one", "other/Two"]
    assert repositories.get("other", "two").private
    repositories.set_private("other", "two", False)
    assert not repositories.get("other", "two").private
    repositories.delete("other", "two")
    with pytest.raises(UnknownRepositoryError, match="other/two"):
        repositories.get("other", "two")


def test_branches_and_tags(catalog: Catalog, write: Callable[..., Any]) -> None:
    repositories, repository = catalog.repositories, catalog.repositories.get("acme", "one")
    one = write(put("one", a=b"1"))
    repositories.add_ref(repository, "tag", "v1", "main")
    repositories.add_ref(repository, "branch", "feature/x", "v1")
    two = write(put("two", a=b"2"), branch="feature/x")
    assert {(ref.kind, ref.name, ref.sha) for ref in repositories.refs(repository)} == {
        ("branch", "main", one.sha),
        ("branch", "feature/x", two.sha),
        ("tag", "v1", one.sha),
    }
    with pytest.raises(NameUsedError, match=one.sha):
        repositories.add_ref(repository, "tag", "v1", two.sha)
    with pytest.raises(UnknownRevisionError, match="no branch 'v1'"):
        write(put("three", a=b"3"), branch="v1")
    with pytest.raises(UnknownRevisionError, match="did you mean 'feature/x'"):
        repositories.snapshot(repository, "feature/y")
    with pytest.raises(RecordError, match="'main' cannot be deleted"):
        repositories.delete_ref(repository, "branch", "main")
    repositories.delete_ref(repository, "branch", "feature/x")
    with pytest.raises(UnknownRevisionError):
        repositories.delete_ref(repository, "branch", "feature/x")
    assert repositories.snapshot(repository, two.sha).commit == two


@pytest.mark.parametrize("name", ["", "a b", "../x", "a..b", "x.lock", "f" * 40, "-x", "a//b"])
def test_names_that_are_no_tags(catalog: Catalog, write: Callable[..., Any], name: str) -> None:
    repository = catalog.repositories.get("acme", "one")
    with pytest.raises(RecordError, match="cannot name"):
        catalog.repositories.add_ref(repository, "tag", name, "main")


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "../a", "a/../b", ".git/config", "a/.GIT/x", "a\\b", "a\nb", "a\0"]
)
def test_paths_that_lead_elsewhere(path: str) -> None:
    with pytest.raises(RecordError, match="not the path of a file"):
        check_path(path)


@pytest.mark.parametrize("names", [("a", "A"), ("a", "a/b"), ("x/a", "X/b")])
def test_paths_that_cannot_lie_together(write: Callable[..., Any], names: tuple[str, str]) -> None:
    with pytest.raises(RecordError):
        write(put("clash", **dict.fromkeys(names, b"1")))


def test_content_must_be_there(catalog: Catalog, write: Callable[..., Any]) -> None:
    repository = catalog.repositories.get("acme", "one")
    with pytest.raises(BlobError, match="'a'"):
        catalog.repositories.commit(
            repository, "main", put("x", a=b"1"), author="b", stored=lambda digest: False
        )
    assert len(catalog.repositories.history(repository, "main")) == 1


def test_shelved_commits_lie_beside_the_branches(
    catalog: Catalog, write: Callable[..., Any]
) -> None:
    repositories, repository = catalog.repositories, catalog.repositories.get("acme", "one")

    def shelve(tag: str, content: bytes) -> str:
        return repositories.shelve(
            repository,
            tag,
            put("composed", a=content),
            author="ann",
            created_at=datetime(2026, 1, 2, tzinfo=UTC),
            stored=everything,
            most=2,
        ).sha

    one, two = shelve("t1", b"1"), shelve("t2", b"2")
    assert shelve("t1", b"another") == one
    assert shelve("t3", b"2") == two
    assert repositories.snapshot(repository, "t3").commit.sha == two
    with pytest.raises(UnknownRevisionError):
        repositories.snapshot(repository, one)
    assert shelve("t4", b"1") == one
    assert repositories.snapshot(repository, two).commit.parent is None
    assert len(repositories.history(repository, "main")) == 1


def test_holders_are_told(catalog: Catalog, write: Callable[..., Any]) -> None:
    repository = catalog.repositories.get("acme", "one")
    write(put("one", a=b"1"))
    sent, committed = sha256(b"sent").hexdigest(), sha256(b"1").hexdigest()
    for _ in range(2):
        catalog.repositories.note_upload(repository, sent)
    holders = catalog.repositories.holders([sent, committed, "0" * 64])
    assert holders == {
        sent: frozenset({repository.id}),
        committed: frozenset({repository.id}),
        "0" * 64: frozenset(),
    }


def test_collect_leaves_what_a_commit_refers_to(
    catalog: Catalog, write: Callable[..., Any], tmp_path: Path
) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    for content in (b"kept", b"lost"):
        with blobs.writer() as writer:
            writer.write(content)
            writer.commit()
    write(put("one", a=b"kept"))
    collected = collect(catalog, blobs, grace=timedelta(0))
    assert collected.digests == (sha256(b"lost").hexdigest(),)
    assert blobs.contains(sha256(b"kept").hexdigest())


def test_ids_are_those_of_git(tmp_path: Path) -> None:
    contents = {"a.txt": b"1\n", "a/z": b"2", "a/b/c": b"", "a-b": b"3", "\u00e9": b"4"}
    for path, content in contents.items():
        place = tmp_path / (path if path != "a.txt" else "a.txt")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def git(*arguments: str) -> str:
        ran = subprocess.run(["git", *arguments], cwd=tmp_path, capture_output=True, check=True)
        return ran.stdout.decode().strip()

    git("init", "-q")
    git("add", ".")
    oids = tree_oids((path, blob_oid(content)) for path, content in contents.items())
    assert oids[""] == git("write-tree")
    assert oids["a"] == git("write-tree", "--prefix=a/")


def test_what_is_still_to_be_catalogued_is_noted_with_the_commit(catalog: Catalog) -> None:
    repositories, address = catalog.repositories, "https://hub.example/acme/a"
    record = repositories.create("acme", "a", author="ann", first=put("0"), stored=bool)

    def commit(title: str, pending: str | None = None) -> str:
        made = repositories.commit(
            record,
            "main",
            put(title, text=title.encode()),
            author="ann",
            stored=bool,
            pending=pending,
        )
        return made.sha

    assert repositories.pending() == []
    first, second = commit("1", address), commit("2", address)
    for sha, left in ((first, 1), (second, 0), (second, 0)):
        repositories.settle(record, sha)
        assert [place for _, place in repositories.pending()] == [address] * left
    commit("3")
    assert repositories.pending() == []

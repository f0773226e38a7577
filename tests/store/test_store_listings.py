"""What hubs list, and versions whose weights come later; the same on every database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest
from isogloss.store import (
    BlobError,
    BlobStore,
    Catalog,
    Change,
    FileRecord,
    Listing,
    NewVersion,
    RecordError,
    awaited_digest,
    collect,
    examine,
)
from isogloss.store.repositories import git_objects

Make = Callable[..., NewVersion]
HUB = "https://hub.example"
COMMIT = "1" * 40


def awaited(
    make: Make, name: str = "acme/a", commit: str = COMMIT, **changes: object
) -> NewVersion:
    source = f"{HUB}/{name}"
    values = {
        "name": name,
        "source": source,
        "source_revision": commit,
        "digest": awaited_digest(source, commit),
        "original_digest": None,
        "size_bytes": 0,
        "here": False,
    }
    return make(**{**values, **changes})


def arrived(
    make: Make, name: str = "acme/a", commit: str = COMMIT, **changes: object
) -> NewVersion:
    values = {"name": name, "source": f"{HUB}/{name}", "source_revision": commit}
    return make(**{**values, **changes})


def test_what_was_listed_is_known(catalog: Catalog, make_version: Make) -> None:
    assert catalog.listings.known(HUB, ["acme/a"]) == {}
    listed = catalog.listings.record(
        HUB,
        [
            Listing("acme/a", COMMIT, version=awaited(make_version)),
            Listing("acme/b", COMMIT, "gated"),
        ],
    )
    assert [one.added and one.added.version.label for one in listed] == ["acme/a@v1", None]
    assert catalog.listings.known(HUB, ["acme/a", "acme/b", "acme/c"]) == {
        "acme/a": Listing("acme/a", COMMIT),
        "acme/b": Listing("acme/b", COMMIT, "gated"),
    }
    assert catalog.listings.known("https://other.example", ["acme/a"]) == {}


def test_what_moved_is_a_new_version(catalog: Catalog, make_version: Make) -> None:
    for commit in (COMMIT, "2" * 40, "2" * 40):
        version = awaited(make_version, commit=commit)
        catalog.listings.record(HUB, [Listing("acme/a", commit, version=version)])
    versions = catalog.versions("acme/a")
    assert [one.source_revision for one in versions] == [COMMIT, "2" * 40]
    assert catalog.listings.known(HUB, ["acme/a"])["acme/a"].commit == "2" * 40


def test_more_than_one_statement_takes(catalog: Catalog, make_version: Make) -> None:
    names = [f"acme/a{number}" for number in range(1100)]
    catalog.listings.record(HUB, [Listing(name, COMMIT, "no language") for name in names])
    assert set(catalog.listings.known(HUB, names)) == set(names)


def test_all_of_a_batch_or_nothing(catalog: Catalog, make_version: Make) -> None:
    good = Listing("acme/a", COMMIT, version=awaited(make_version))
    for bad in (Listing("acme/b", COMMIT, "no\x00text"), Listing("acme/a", COMMIT)):
        with pytest.raises(RecordError):
            catalog.listings.record(HUB, [good, bad])
    assert catalog.names() == []
    assert catalog.listings.known(HUB, ["acme/a", "acme/b"]) == {}


def test_weights_that_are_not_here_have_a_place_and_no_size(make_version: Make) -> None:
    for changes in ({"source": None}, {"source_revision": None}, {"size_bytes": 5}):
        with pytest.raises(RecordError, match="are not here"):
            awaited(make_version, **changes)


def test_weights_arrive_in_their_version(catalog: Catalog, make_version: Make) -> None:
    waiting = catalog.add(awaited(make_version), stored=lambda digest: False).version
    assert not waiting.here
    new = arrived(make_version, rank=5)
    with pytest.raises(BlobError):
        catalog.add(new, stored=lambda digest: False)
    assert catalog.get("acme/a") == waiting
    came = catalog.add(new, stored=lambda digest: True)
    assert (came.created, came.version.label, came.version.here) == (True, "acme/a@v1", True)
    record = catalog.get("acme/a")
    for item in fields(NewVersion):
        assert getattr(record, item.name) == getattr(new, item.name), item.name
    assert record.created_at == waiting.created_at
    assert catalog.integrity_problems() == []
    assert not catalog.add(new).created


@pytest.mark.parametrize(
    "changes", [{"task": "qa"}, {"config_digest": "9" * 64}, {"source_revision": "2" * 40}]
)
def test_what_is_said_to_be_another_is_another(
    catalog: Catalog, make_version: Make, changes: dict[str, object]
) -> None:
    catalog.add(awaited(make_version))
    assert catalog.add(arrived(make_version, **changes)).version.label == "acme/a@v2"
    assert not catalog.get("acme/a", 1).here


def test_queries_tell_what_is_here(catalog: Catalog, make_version: Make) -> None:
    catalog.add(awaited(make_version))
    catalog.add(make_version(name="local"))
    names = {
        condition: [one.name for one in catalog.find(condition)]
        for condition in (
            ("flag", "here"),
            ("not", ("flag", "here")),
            ("compare", "size", "<", 10_000),
            ("compare", "digest", "=", awaited_digest(f"{HUB}/acme/a", COMMIT)),
            ("compare", "digest", "!=", "a" * 64),
        )
    }
    assert list(names.values()) == [["local"], ["acme/a"], ["local"], [], ["acme/a"]]
    assert [one.name for one in catalog.find(sort="size")] == ["local", "acme/a"]
    assert catalog.by_digest(awaited_digest(f"{HUB}/acme/a", COMMIT)) == []


def test_nothing_is_missing_that_was_never_here(
    catalog: Catalog, make_version: Make, tmp_path: Path
) -> None:
    catalog.add(awaited(make_version))
    blobs = BlobStore(tmp_path)
    examined = examine(catalog, blobs)
    assert (examined.problems, examined.versions, examined.checked) == ((), 1, 0)
    assert collect(catalog, blobs).digests == ()


def test_the_content_of_repositories_is_examined(catalog: Catalog, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    with blobs.writer() as writer:
        writer.write(b"a card")
        blob = writer.commit()
    oid = git_objects.blob_oid(b"a card")
    file = FileRecord("README.md", blob.digest, blob.size_bytes, oid, lfs=False)
    catalog.repositories.create(
        "acme", "a", author="ann", first=Change("first", put=(file,)), stored=blobs.contains
    )
    sound = examine(catalog, blobs)
    assert (sound.problems, sound.checked, sound.unreferenced) == ((), 1, ())
    blobs.remove(blob.digest)
    (problem,) = examine(catalog, blobs).problems
    assert problem.startswith("README.md of acme/a at ")
    assert "missing" in problem


def test_two_who_list_the_same_at_once(
    catalog: Catalog, catalog_url: str, make_version: Make
) -> None:
    listings = [
        Listing(f"acme/a{number}", COMMIT, version=awaited(make_version, f"acme/a{number}"))
        for number in range(8)
    ]

    def record(turn: int) -> int:
        with Catalog.open(catalog_url) as opened:
            rows = opened.listings.record(HUB, listings[:: 1 if turn % 2 else -1])
        return sum(one.added is not None and one.added.created for one in rows)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(record, range(4))) == 8
    assert [one.version for one in catalog.find(latest=False)] == [1] * 8

"""Collecting garbage and examining: what is referred to stays, and is proven."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread

import pytest
from isogloss.store import BlobError, BlobStore, Catalog, NewVersion, collect, examine
from isogloss.store.sql.database import Database
from sqlalchemy import text

Make = Callable[..., NewVersion]
HOUR = timedelta(hours=1)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def keep(catalog: Catalog, blobs: BlobStore, make_version: Make) -> Callable[[str], str]:
    """Store weights and a version that refers to them."""

    def add(name: str) -> str:
        digest = put(blobs, name)
        catalog.add(
            make_version(name=name, digest=digest, size_bytes=len(name)), stored=blobs.contains
        )
        return digest

    return add


Keep = Callable[[str], str]


def put(blobs: BlobStore, content: str) -> str:
    with blobs.writer() as writer:
        writer.write(content.encode())
        return writer.commit().digest


def age(path: Path, by: timedelta = 2 * HOUR) -> None:
    then = time.time() - by.total_seconds()
    os.utime(path, (then, then))


def test_only_what_nothing_refers_to_and_is_old_goes(
    catalog: Catalog, blobs: BlobStore, keep: Keep
) -> None:
    kept, withdrawn = keep("kept"), keep("withdrawn")
    catalog.withdraw("withdrawn", 1, "bad")
    old, young = put(blobs, "old"), put(blobs, "young")
    for digest in (kept, withdrawn, old):
        age(blobs.path(digest))
    left, fresh = blobs.root / "tmp" / "left", blobs.root / "tmp" / "fresh"
    left.write_bytes(b"12345")
    fresh.write_bytes(b"12345")
    age(left)
    collected = collect(catalog, blobs, grace=HOUR)
    assert collected.digests == (old,)
    assert collected.temporaries == (left,)
    assert collected.freed_bytes == len("old") + 5
    assert set(blobs.digests()) == {kept, withdrawn, young}
    assert blobs.temporaries() == [fresh]
    assert collect(catalog, blobs, grace=HOUR).digests == ()
    assert set(collect(catalog, blobs, grace=timedelta(0)).digests) == {young}
    assert set(blobs.digests()) == {kept, withdrawn}
    assert blobs.temporaries() == []


def test_the_default_grace_is_a_day(catalog: Catalog, blobs: BlobStore) -> None:
    young, old = put(blobs, "young"), put(blobs, "old")
    age(blobs.path(young), timedelta(hours=23))
    age(blobs.path(old), timedelta(hours=25))
    assert collect(catalog, blobs).digests == (old,)


def test_an_empty_store_has_no_garbage(catalog: Catalog, tmp_path: Path) -> None:
    collected = collect(catalog, BlobStore(tmp_path / "nowhere"))
    assert (collected.digests, collected.temporaries, collected.freed_bytes) == ((), (), 0)
    assert not (tmp_path / "nowhere").exists()


def test_weights_that_are_written_again_are_young_again(
    catalog: Catalog, blobs: BlobStore, make_version: Make
) -> None:
    digest = put(blobs, "old")
    age(blobs.path(digest))
    put(blobs, "old")
    assert collect(catalog, blobs, grace=HOUR).digests == ()
    catalog.add(make_version(digest=digest), stored=blobs.contains)
    blobs.verify(digest)


def test_weights_that_are_referred_to_meanwhile_stay(
    catalog: Catalog, blobs: BlobStore, make_version: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put(blobs, "old")
    age(blobs.path(digest))
    stale = catalog.referenced_digests()

    def add_afterwards(self: Catalog) -> frozenset[str]:
        # Somebody adds a version after the references were read, without writing the weights.
        catalog.add(make_version(digest=digest), stored=blobs.contains)
        return stale

    monkeypatch.setattr(Catalog, "referenced_digests", add_afterwards)
    assert collect(catalog, blobs, grace=HOUR).digests == ()
    blobs.verify(digest)


def test_a_version_waits_for_the_collector_and_then_lacks_its_weights(
    catalog: Catalog, catalog_url: str, blobs: BlobStore, make_version: Make
) -> None:
    digest = put(blobs, "old")
    at_it, done = Event(), []

    def add() -> None:
        at_it.wait(30)
        with Catalog.open(catalog_url) as other:
            try:
                other.add(make_version(digest=digest), stored=blobs.contains)
            except BlobError as error:
                done.append(str(error))

    def remove(unreferenced: str) -> None:
        at_it.set()
        time.sleep(0.3)  # The other one is well on its way, and must not get through.
        assert done == []
        blobs.remove(unreferenced)

    thread = Thread(target=add)
    thread.start()
    catalog.with_unreferenced([digest], remove)
    thread.join(60)
    assert len(done) == 1
    assert "are not in the store" in done[0]
    assert catalog.names() == []


def test_many_candidates(catalog: Catalog, blobs: BlobStore, keep: Keep) -> None:
    kept = {keep(f"kept{number}") for number in range(3)}
    for number in range(130):
        put(blobs, f"garbage{number}")
    assert len(collect(catalog, blobs, grace=timedelta(0)).digests) == 130
    assert set(blobs.digests()) == kept


def test_collecting_without_grace_while_others_add(
    catalog: Catalog, blobs: BlobStore, make_version: Make
) -> None:
    collected, failures, stop = [], [], Event()

    def add(thread: int) -> None:
        for number in range(12):
            content = f"{thread % 2}/{number}"  # Two threads write the same weights.
            while True:
                digest = put(blobs, content)
                new = make_version(name=f"a{thread}", digest=digest, size_bytes=len(content))
                try:
                    catalog.add(new, stored=blobs.contains)
                except BlobError as error:
                    failures.append(str(error))
                    continue
                break

    def clear() -> None:
        while not stop.is_set():
            collected.extend(collect(catalog, blobs, grace=timedelta(0)).digests)

    adders = [Thread(target=add, args=(number,)) for number in range(4)]
    collectors = [Thread(target=clear) for _ in range(2)]
    for thread in adders + collectors:
        thread.start()
    for thread in adders:
        thread.join()
    stop.set()
    for thread in collectors:
        thread.join()
    assert all("are not in the store" in failure for failure in failures)
    assert len(catalog.find(latest=False)) == 48
    assert examine(catalog, blobs).problems == ()
    assert set(blobs.digests()) == catalog.referenced_digests()


class TestExamining:
    def test_a_sound_store(self, catalog: Catalog, blobs: BlobStore, keep: Keep) -> None:
        for name in ("a", "b", "c"):
            keep(name)
        garbage = put(blobs, "garbage")
        left = blobs.root / "tmp" / "left"
        left.write_bytes(b"x")
        told: list[tuple[int, int]] = []
        found = examine(catalog, blobs, progress=lambda done, of: told.append((done, of)))
        assert found.problems == ()
        assert (found.versions, found.checked) == (3, 3)
        assert found.unreferenced == (garbage,)
        assert found.temporaries == (left,)
        assert told == [(0, 3), (1, 3), (2, 3)]

    def test_damage_is_found_and_named(
        self, catalog: Catalog, blobs: BlobStore, keep: Keep, make_version: Make
    ) -> None:
        damaged, missing, sound = keep("damaged"), keep("missing"), keep("sound")
        catalog.add(make_version(name="shares", digest=damaged, size_bytes=7))
        catalog.add(make_version(name="lies", digest=sound, size_bytes=6))
        path = blobs.path(damaged)
        path.chmod(0o644)
        path.write_bytes(b"Damaged")
        blobs.remove(missing)
        found = examine(catalog, blobs)
        changed = sha256(b"Damaged").hexdigest()
        assert sorted(found.problems) == [
            f"damaged@v1, shares@v1: weights are damaged: {path} has sha256 {changed}",
            "lies@v1: its weights have 5 bytes, the catalogue says 6",
            f"missing@v1: weights are missing: no file {blobs.place(missing)} (sha256 {missing})",
        ]

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE versions SET steps = steps + 1",
            "UPDATE versions SET license = NULL",
            "UPDATE versions SET config = '{}'",
            "UPDATE versions SET languages = '[\"pt\"]'",
            "UPDATE versions SET digest = 'short'",
        ],
    )
    def test_entries_that_were_changed_from_outside(
        self, catalog: Catalog, catalog_url: str, blobs: BlobStore, keep: Keep, change: str
    ) -> None:
        keep("a")
        assert catalog.integrity_problems() == []
        database = Database(catalog_url)
        database.write(lambda session: session.execute(text(change)) and None)
        database.close()
        (problem,) = catalog.integrity_problems()
        assert problem.startswith("a@v1: the catalogue's entry was changed")

    def test_configurations_of_every_shape_are_as_they_were_written(
        self, catalog: Catalog, make_version: Make
    ) -> None:
        config = {
            "numbers": [1, 1.0, 1e22, 1e-7, -0.0, 2**70, True, None],
            "text": "é\u0000\ud800 🐘",
            "tuple": (1, 2),
            2: "two",
            10: "ten",
            "empty": {},
        }
        catalog.add(make_version(config=config, alpha=8, learning_rate=1))
        assert catalog.integrity_problems() == []

    def test_a_row_that_refers_to_nothing(self, tmp_path: Path, sqlite_template: Path) -> None:
        import shutil
        import sqlite3

        path = tmp_path / "catalog.sqlite3"
        shutil.copy(sqlite_template, path)
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO withdrawals VALUES (7, 'bad', '2026-01-01 00:00:00')")
        connection.commit()
        connection.close()
        with Catalog.open(f"sqlite:///{path}") as catalog:
            assert catalog.integrity_problems() == [
                "the catalogue is damaged: a row of 'withdrawals' refers to none of 'versions'"
            ]

"""Addresses, opening, and what is said when a database does not do what it must."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from isogloss.store import (
    Catalog,
    DamagedCatalogError,
    DatabaseUrlError,
    NewVersion,
    NoCatalogError,
    StorageError,
)
from isogloss.store.sql.database import Database
from sqlalchemy.orm import Session

Make = Callable[..., NewVersion]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("catalog.sqlite3", "'catalog.sqlite3' is not the address of a database: write sqlite:///"),
        ("", "'' is not the address of a database"),
        ("mysql://host/name", "no catalogue can be kept in 'mysql'"),
        ("postgresql+psycopg2://host/name", "no catalogue can be kept in 'postgresql+psycopg2'"),
        ("sqlite://", "'sqlite://' names no file"),
        ("sqlite:///:memory:", "'sqlite:///:memory:' names no file"),
    ],
)
def test_what_is_no_address(url: str, message: str) -> None:
    for door in (Catalog.open, Catalog.create):
        with pytest.raises(DatabaseUrlError) as raised:
            door(url)
        assert message in str(raised.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_postgresql(postgresql_catalog: str, scheme: str) -> None:
    address = postgresql_catalog.split("://", 1)[1]
    with Catalog.open(f"{scheme}://{address}") as catalog:
        assert catalog.find(limit=0) == []
        assert catalog.location.startswith("postgresql+psycopg://isogloss:***@127.0.0.1:")


def test_nothing_is_made_by_opening(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    with pytest.raises(NoCatalogError) as raised:
        Catalog.open(f"sqlite:///{path}")
    assert str(raised.value) == f"no catalogue at {path}: run 'isogloss init'"
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_a_catalogue(empty_url: str, tmp_path: Path) -> None:
    if empty_url.startswith("sqlite"):
        with sqlite3.connect(tmp_path / "catalog.sqlite3") as connection:
            connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.close()
    with pytest.raises(NoCatalogError, match="run 'isogloss init'"):
        Catalog.open(empty_url)


def test_opening_changes_nothing_in_somebody_elses_database(tmp_path: Path) -> None:
    path = tmp_path / "bookmarks.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NoCatalogError):
        Catalog.open(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    path.write_bytes(b"an adapter is a low-rank update" * 100)
    for door in (Catalog.open, Catalog.create):
        with pytest.raises(DamagedCatalogError, match="is not a catalogue, or a damaged one"):
            door(f"sqlite:///{path}")


def test_a_damaged_database(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    content = sqlite_template.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(DamagedCatalogError, match="is not a catalogue, or a damaged one"):
        Catalog.open(f"sqlite:///{path}")


@pytest.mark.parametrize("name", ["with blank", "50%", "50%25", "a#b", "q?x=1", "ünï", "a&b=c+d"])
def test_folders_of_any_name(tmp_path: Path, make_version: Make, name: str) -> None:
    path = tmp_path / name / "deeper" / "catalog.sqlite3"
    url = f"sqlite:///{path}"
    with Catalog.create(url) as catalog:
        catalog.add(make_version())
        assert catalog.location == str(path)
    with Catalog.open(url) as catalog:
        assert catalog.names() == ["xlsum-en"]
    assert path.is_file()


def test_a_relative_path_is_meant_from_where_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_version: Make
) -> None:
    monkeypatch.chdir(tmp_path)
    with Catalog.create("sqlite:///catalog.sqlite3") as catalog:
        monkeypatch.chdir("/")
        catalog.add(make_version())
        assert catalog.location == str(tmp_path / "catalog.sqlite3")


def test_sqlite_keeps_what_was_committed_through_a_power_cut(
    tmp_path: Path, sqlite_template: Path
) -> None:
    connection = sqlite3.connect(sqlite_template)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_busy_catalogue_is_told_in_words(
    tmp_path: Path, sqlite_template: Path, make_version: Make
) -> None:
    path = tmp_path / "catalog.sqlite3"
    shutil.copy(sqlite_template, path)
    with Catalog.open(f"sqlite:///{path}", patience_seconds=0.2) as catalog:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert catalog.names() == []
        with pytest.raises(StorageError) as raised:
            catalog.add(make_version())
        assert str(raised.value) == (
            f"the catalogue at {path} has been busy for 0.2 s: another process is writing to it; "
            "try again when that is done"
        )
        other.execute("ROLLBACK")
        other.close()
        assert catalog.add(make_version()).created


def test_a_writer_has_the_lock_before_it_reads(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")

    def somebody_else_writes(session: Session) -> None:
        other = sqlite3.connect(path, timeout=0)
        try:
            other.execute("DELETE FROM adapters")
            other.commit()
        finally:
            other.close()

    database.read(somebody_else_writes)
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        database.write(somebody_else_writes)
    database.close()


def test_a_full_disk_is_told_in_words(
    tmp_path: Path, sqlite_template: Path, make_version: Make
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    try:
        path = folder / "catalog.sqlite3"
        shutil.copy(sqlite_template, path)
        with Catalog.open(f"sqlite:///{path}") as catalog:
            catalog.add(make_version())
            with pytest.raises(StorageError) as raised:
                catalog.add(make_version(name="large", note="x" * 1_000_000))
            assert str(raised.value) == (
                f"the catalogue at {path} cannot be used: "
                "the disk is full: make room, then try again"
            )
            assert catalog.names() == ["xlsum-en"]
            catalog.add(make_version(name="small"))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


READ_ONLY = """
import os, sys
from isogloss.store import Catalog, NewVersion, StoreError
Catalog.create(sys.argv[3]).close()  # All modules are loaded while they can be read.
if os.geteuid() == 0:
    os.seteuid(65534)  # Permissions do not bind root, so somebody else is to try.
try:
    with getattr(Catalog, sys.argv[1])(sys.argv[2]) as catalog:
        catalog.add(NewVersion(
            name="a", kind="lm", languages=("en",), peft_type="LORA", config={},
            digest="a" * 64, config_digest="b" * 64, size_bytes=1,
        ))
except StoreError as error:
    print(type(error).__name__, error)
"""


def test_a_read_only_home_is_told_in_words(
    tmp_path: Path, public_folder: Path, sqlite_template: Path
) -> None:
    path = public_folder / "catalog.sqlite3"
    shutil.copy(sqlite_template, path)
    path.chmod(0o444)
    public_folder.chmod(0o555)

    def told(door: str, url: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, door, url, f"sqlite:///{tmp_path / 'other.sqlite3'}"],
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        return done.stdout.strip()

    assert told("open", f"sqlite:///{path}") == (
        f"StorageError the catalogue at {path} cannot be used: "
        "it is read-only: check its permissions and its folder's"
    )
    reason = "this user may not write there: check the folder's permissions"
    deeper = public_folder / "deeper"
    made = told("create", f"sqlite:///{deeper}/catalog.sqlite3")
    assert made == f"StorageError cannot write in {deeper}: {reason}"


def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(StorageError) as raised:
        Catalog.open("postgresql://reader:secret@127.0.0.1:1/name", patience_seconds=2)
    assert "the database at postgresql+psycopg://reader:***@127.0.0.1:1/name refuses" in str(
        raised.value
    )
    assert "secret" not in str(raised.value)


def test_a_database_that_is_not_there(request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgresql")
    with pytest.raises(StorageError, match='database "nowhere" does not exist'):
        Catalog.open(server.url("nowhere"))


LAZY = """
import sys
from isogloss.store import BlobStore, Catalog
with Catalog.open(sys.argv[1]) as catalog:
    catalog.find(("compare", "task", "=", "xlsum"))
heavy = {"alembic", "torch", "psycopg", "transformers", "peft", "numpy", "rich"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_opening_and_finding_import_nothing_heavy(sqlite_template: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAZY, f"sqlite:///{sqlite_template}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"

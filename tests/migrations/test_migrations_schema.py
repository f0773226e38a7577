"""The tables, up and down, and what older and newer ones are answered with."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from isogloss.store import Catalog, NewVersion, NoCatalogError, SchemaError, schema
from isogloss.store.sql.database import Database
from isogloss.store.sql.models import Base
from isogloss.store.sql.revisions import SCHEMA_REVISION, SCHEMA_REVISIONS
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.orm import Session

Make = Callable[..., NewVersion]


def on_database(url: str, work: Callable[[Session], Any]) -> Any:
    database = Database(url)
    try:
        return database.write(work)
    finally:
        database.close()


def tables(url: str) -> set[str]:
    return set(on_database(url, lambda session: inspect(session.connection()).get_table_names()))


def stamp(url: str, revision: str) -> None:
    change = text("UPDATE alembic_version SET version_num = :revision")
    on_database(url, lambda session: session.execute(change, {"revision": revision}))


def structure(url: str) -> dict[str, object]:
    """Everything that the database itself says about its tables."""

    def work(session: Session) -> dict[str, object]:
        found = inspect(session.connection())
        return {
            name: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)],
                found.get_pk_constraint(name),
                sorted(map(repr, found.get_foreign_keys(name))),
                sorted(map(repr, found.get_unique_constraints(name))),
                sorted(map(repr, found.get_indexes(name))),
                sorted(map(repr, found.get_check_constraints(name))),
            )
            for name in found.get_table_names()
        }

    described: dict[str, object] = on_database(url, work)
    return described


def test_the_code_knows_the_revisions_that_are_shipped() -> None:
    revisions = schema.history()
    assert tuple(revision.id for revision in revisions) == SCHEMA_REVISIONS
    assert [revision.previous for revision in revisions] == [None, *SCHEMA_REVISIONS[:-1]]
    for revision in revisions:
        assert re.fullmatch(r"\d{4}_[a-z_]+", revision.id)
        assert len(revision.id) <= 32, "alembic_version holds 32 characters"
        assert revision.summary


def test_revisions_are_frozen(root: Path) -> None:
    files = sorted((root / "migrations" / "versions").glob("[0-9]*.py"))
    assert [file.stem for file in files] == list(SCHEMA_REVISIONS)
    for file in files:
        assert "isogloss" not in file.read_text(), f"{file.name} must not import live code"


def test_the_models_are_the_tables(empty_url: str) -> None:
    Catalog.create(empty_url).close()

    def work(session: Session) -> list[object]:
        context = MigrationContext.configure(session.connection())
        return list(compare_metadata(context, Base.metadata))

    assert on_database(empty_url, work) == []


def test_the_comparison_of_models_and_tables_sees_a_difference(empty_url: str) -> None:
    Catalog.create(empty_url).close()

    def work(session: Session) -> list[object]:
        session.execute(text("ALTER TABLE withdrawals ADD COLUMN extra TEXT"))
        session.execute(text("DROP INDEX ix_versions_language_task"))
        context = MigrationContext.configure(session.connection())
        return [difference[0] for difference in compare_metadata(context, Base.metadata)]

    assert sorted(on_database(empty_url, work)) == ["add_index", "remove_column"]


def test_up_and_down_and_up(empty_url: str) -> None:
    Catalog.create(empty_url).close()
    made = {SCHEMA_REVISION: structure(empty_url)}
    for older in reversed(SCHEMA_REVISIONS[:-1]):
        schema.downgrade(empty_url, older)
        assert schema.current(empty_url) == older
        made[older] = structure(empty_url)
    schema.downgrade(empty_url, "base")
    assert schema.current(empty_url) is None
    assert tables(empty_url) == {"alembic_version"}
    Catalog.create(empty_url).close()
    assert structure(empty_url) == made[SCHEMA_REVISION]
    for older in reversed(SCHEMA_REVISIONS[:-1]):
        schema.downgrade(empty_url, older)
    for newer in SCHEMA_REVISIONS:
        schema.upgrade(empty_url, newer)
        assert structure(empty_url) == made[newer]


def test_the_adapters_stay_through_all_revisions(empty_url: str, make_version: Make) -> None:
    with Catalog.create(empty_url) as catalog:
        before = [
            catalog.add(make_version(note=str(number), training={})).version for number in range(3)
        ]
    schema.downgrade(empty_url, SCHEMA_REVISIONS[0])
    schema.upgrade(empty_url)
    with Catalog.open(empty_url) as catalog:
        assert catalog.versions("xlsum-en") == before


def test_making_twice_changes_nothing(empty_url: str, make_version: Make) -> None:
    with Catalog.create(empty_url) as catalog:
        catalog.add(make_version())
    with Catalog.create(empty_url) as catalog:
        assert catalog.names() == ["xlsum-en"]
    schema.upgrade(empty_url)
    assert schema.current(empty_url) == SCHEMA_REVISION


def test_an_older_catalogue_is_told_so_and_left_alone(empty_url: str) -> None:
    Catalog.create(empty_url).close()
    for older in reversed(SCHEMA_REVISIONS[:-1]):
        schema.downgrade(empty_url, older)
        for door in (Catalog.open, Catalog.create):
            with pytest.raises(SchemaError) as raised:
                door(empty_url)
            message = str(raised.value)
            assert "was made by an older isogloss" in message
            assert message.endswith(
                f"(its tables are at {older}, this isogloss needs {SCHEMA_REVISION}): "
                "run 'isogloss db upgrade'"
            )
        assert schema.current(empty_url) == older
    schema.upgrade(empty_url)
    Catalog.open(empty_url).close()


def test_a_newer_catalogue_is_told_so_and_left_alone(empty_url: str) -> None:
    Catalog.create(empty_url).close()
    stamp(empty_url, "9999_the_future")
    for door in (Catalog.open, Catalog.create, schema.upgrade):
        with pytest.raises(SchemaError) as raised:
            door(empty_url)
        assert "was made by a newer isogloss (its tables are at 9999_the_future" in str(
            raised.value
        )
    with pytest.raises(SchemaError, match="newer isogloss"):
        schema.downgrade(empty_url, "base")
    assert schema.current(empty_url) == "9999_the_future"


def test_where_there_is_no_catalogue(empty_url: str, tmp_path: Path) -> None:
    for work in (schema.upgrade, lambda url: schema.downgrade(url, "base")):
        with pytest.raises(NoCatalogError, match="run 'isogloss init'"):
            work(empty_url)
    with pytest.raises(NoCatalogError):
        schema.current(f"sqlite:///{tmp_path}/nowhere.sqlite3")


@pytest.mark.parametrize("table", ["versions", "customers"])
def test_a_database_of_something_else_is_left_alone(
    empty_url: str, tmp_path: Path, table: str
) -> None:
    if empty_url.startswith("sqlite"):
        sqlite3.connect(tmp_path / "catalog.sqlite3").close()
    url = empty_url.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {table} (mine INTEGER)"))
    engine.dispose()
    with pytest.raises(SchemaError, match=f"has tables of something else: {table}; give an empty"):
        Catalog.create(empty_url)
    assert tables(empty_url) == {table}


def test_another_programs_revisions_are_none_of_ours(empty_url: str) -> None:
    Catalog.create(empty_url).close()
    stamp(empty_url, "ae1027a6acf")
    for door in (Catalog.open, Catalog.create, schema.upgrade):
        with pytest.raises(SchemaError, match="is another program's"):
            door(empty_url)
    assert schema.current(empty_url) == "ae1027a6acf"


def test_a_revision_that_fails_leaves_the_tables_as_they_were(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    real, dropped = op.drop_table, []

    def drop_some(name: str, *arguments: Any, **options: Any) -> None:
        dropped.append(name)
        if len(dropped) == 4:
            raise KeyboardInterrupt
        real(name, *arguments, **options)

    Catalog.create(empty_url).close()
    before = structure(empty_url)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(op, "drop_table", drop_some)
        schema.downgrade(empty_url, "base")
    assert structure(empty_url) == before
    Catalog.open(empty_url).close()


def test_alembic_by_hand_in_a_checkout(root: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
    alembic = shutil.which("alembic", path=str(Path(sys.executable).parent))
    assert alembic is not None

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [alembic, *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )

    assert run("upgrade", "head", ISOGLOSS_DATABASE_URL=url).returncode == 0
    Catalog.open(url).close()
    assert run("-x", f"url={url}", "check").returncode == 0
    failed = run("upgrade", "head")
    assert failed.returncode != 0
    assert "give -x url=sqlite:///path or set ISOGLOSS_DATABASE_URL" in (
        failed.stderr + failed.stdout
    )

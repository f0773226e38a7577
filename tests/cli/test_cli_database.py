"""db upgrade, current and history."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from isogloss.store import SCHEMA_REVISION, schema

if TYPE_CHECKING:
    from .conftest import Invoke


def test_a_new_catalogue_is_up_to_date(catalogue: None, invoke: Invoke) -> None:
    assert invoke("db", "current").stdout == f"{SCHEMA_REVISION} (up to date)\n"
    current = json.loads(invoke("db", "current", "--json").stdout)
    assert current == {"current": SCHEMA_REVISION, "needed": SCHEMA_REVISION}
    assert (
        invoke("db", "upgrade").stdout == f"Nothing to do: the catalogue is at {SCHEMA_REVISION}\n"
    )


def test_history(invoke: Invoke) -> None:
    listed = json.loads(invoke("db", "history", "--json").stdout)
    assert listed[0]["revision"] == "0001_catalogue"
    assert listed[0]["previous"] is None
    assert listed[-1]["revision"] == SCHEMA_REVISION
    lines = invoke("db", "history").stdout.splitlines()
    assert lines[0].split() == ["revision", "summary"]
    assert lines[1].startswith("0001_catalogue  ")


def test_an_older_catalogue_is_upgraded_when_asked(catalogue: None, invoke: Invoke) -> None:
    before = invoke("find").stdout
    schema.downgrade(f"sqlite:///{os.environ['ISOGLOSS_HOME']}/catalog.sqlite3", "0001_catalogue")
    assert "run 'isogloss db upgrade'" in invoke("find", code=1).stderr
    current = invoke("db", "current").stdout
    assert current == f"0001_catalogue (this isogloss needs {SCHEMA_REVISION})\n"
    upgraded = invoke("db", "upgrade").stdout
    assert upgraded == f"Upgraded from 0001_catalogue to {SCHEMA_REVISION}\n"
    assert invoke("find").stdout == before


def test_a_database_without_tables(catalogue: None, invoke: Invoke) -> None:
    schema.downgrade(f"sqlite:///{os.environ['ISOGLOSS_HOME']}/catalog.sqlite3", "base")
    current = invoke("db", "current").stdout
    assert current == f"no tables (this isogloss needs {SCHEMA_REVISION})\n"
    assert "isogloss init" in invoke("db", "upgrade", code=1).stderr


@pytest.mark.parametrize("command", ["current", "upgrade"])
def test_no_database(invoke: Invoke, command: str) -> None:
    assert "isogloss init" in invoke("db", command, code=1).stderr

"""Expressions from files and standard input, parameters, and where the home is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isogloss.cli.errors import InputError
from isogloss.cli.options import read_expression

if TYPE_CHECKING:
    from .conftest import Invoke

PROGRAM = "s = task[en];  # the summarizer\nl*s + (1-l)*lm[pt]\n"


def test_an_expression_from_a_file_and_from_standard_input(
    catalogue: None, invoke: Invoke, tmp_path: Path
) -> None:
    file = tmp_path / "steer.iso"
    program = PROGRAM.replace("  # the summarizer", "")
    file.write_text("\ufeff" + program, encoding="utf-8")
    from_file = invoke("explain", f"@{file}", "--set", "l=0.6", "--json").stdout
    piped = invoke("explain", "-", "--set", "l = 0.6", "--json", stdin=program.encode()).stdout
    given = invoke("explain", "0.6*task[en] + 0.4*lm[pt]", "--json").stdout
    assert json.loads(from_file) == json.loads(piped)
    assert json.loads(from_file)["canonical"] == json.loads(given)["canonical"]


def test_an_expression_may_begin_with_a_minus(catalogue: None, invoke: Invoke) -> None:
    canonical = [
        json.loads(invoke("explain", "--json", *arguments).stdout)["canonical"]
        for arguments in (
            ["-0.5*lm[en] + task[en]"],
            ["--", "-0.5*lm[en] + task[en]"],
            ["task[en] - 0.5*lm[en]"],
        )
    ]
    assert len(set(canonical)) == 1
    named = invoke("explain", "-task[en]", "--semantics", "exact", "--json")
    assert json.loads(named.stdout)["semantics"] == "exact"


def test_a_canonical_form_is_an_expression(catalogue: None, invoke: Invoke) -> None:
    first = json.loads(invoke("explain", "-lm[en] + 0.3*lm[pt]", "--json").stdout)
    again = json.loads(invoke("explain", first["canonical"], "--json").stdout)
    assert again["canonical"] == first["canonical"]
    assert again["digest"] == first["digest"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"task[en] + \xff", "not UTF-8 text: byte 0xff at offset 11"),
        (b" " * 4_000_001, "more than 4,000,000 bytes"),
    ],
)
def test_what_is_no_expression(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "x.iso"
    file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_expression(f"@{file}")


@pytest.mark.parametrize(
    ("argument", "said"),
    [("@", "'@' lacks the name of a file"), ("@.", "'.': Is a directory")],
)
def test_a_file_that_cannot_be_read(argument: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_expression(argument)


def test_endless_input_is_cut_off() -> None:
    with pytest.raises(InputError, match="more than 4,000,000 bytes"):
        read_expression("@/dev/zero")


def test_language_parameters(catalogue: None, invoke: Invoke) -> None:
    result = invoke("explain", "lm[$T] - lm[$S]", "--set", "T=por", "--set", "S=en", "--json")
    labels = [choice["adapters"] for choice in json.loads(result.stdout)["choices"]]
    assert labels == [["lm-pt@v1"], ["lm-en@v1"]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["l"], "'l' is not NAME=VALUE"),
        (["=0.5"], "'=0.5' is not NAME=VALUE"),
        (["l="], "'l=' is not NAME=VALUE"),
        (["1=2"], "'1=2' is not NAME=VALUE"),
        (["l=1", "l=2"], "'l' is set twice"),
    ],
    ids=" ".join,
)
def test_parameters_that_are_none(invoke: Invoke, values: list[str], said: str) -> None:
    arguments = [word for value in values for word in ("--set", value)]
    result = invoke("explain", "l*task[en]", *arguments, code=2)
    assert f"error: Invalid value for '--set': {said}" in result.stderr


def test_home_and_database_by_option(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("--home", tmp_path / "a", "init")
    assert (tmp_path / "a" / "catalog.sqlite3").is_file()
    url = f"sqlite:///{tmp_path / 'b.sqlite3'}"
    invoke("--home", tmp_path / "b", "--database", url, "init")
    assert (tmp_path / "b.sqlite3").is_file()
    assert not (tmp_path / "b" / "catalog.sqlite3").exists()
    invoke("--home", tmp_path / "a", "find")
    invoke("find", code=1)
    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "a"))
    invoke("find")
    monkeypatch.setenv("ISOGLOSS_DATABASE_URL", url)
    invoke("--home", tmp_path / "c", "find")


def test_a_home_that_is_a_file(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "is a file" in invoke("--home", file, "init", code=2).stderr

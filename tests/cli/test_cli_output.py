"""What is printed: plain columns in a pipe, rich tables on a terminal, JSON that is JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from isogloss.cli.output import Column, cell, print_fields, print_json, print_table, size

if TYPE_CHECKING:
    from ..conftest import WriteLora
    from .conftest import Invoke, OnATerminal

COLUMNS = (Column("name"), Column("steps", number=True), Column("note", wrap=True))
LONG = "acme/" + "x" * 90


def test_plain_columns_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [("日本", 5, "one"), ("e\u0301", 1000, "two"), (LONG, None, "three")])
    lines = capsys.readouterr().out.splitlines()
    end = len(LONG) + 2
    assert lines[0] == "name" + " " * (end - 4) + "steps  note"
    assert lines[1] == "日本" + " " * (end - 4) + "    5  one"
    assert lines[2] == "e\u0301" + " " * (end - 1) + " 1000  two"
    assert lines[3] == LONG + "         three"


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert cell("a\x1b[31m\t\r\nb\x9bc\u200cd") == "a [31m b c\u200cd"


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (33_554_432, "33.6 MB"),
        (16_000_000_000, "16.0 GB"),
        (3 * 10**15, "3000.0 TB"),
    ],
)
def test_sizes(size_bytes: int, shown: str) -> None:
    assert size(size_bytes) == shown


def test_fields_leave_out_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields((("a", 0), ("task", None), ("longer", "x"), ("empty", "")), indent="  ")
    assert capsys.readouterr().out == "  a       0\n  longer  x\n"


def test_json_is_readable_and_survives_any_encoding(
    capsys: pytest.CaptureFixture[str], catalogue: None, invoke: Invoke, write_lora: WriteLora
) -> None:
    print_json({"note": "Yorùbá"})
    assert capsys.readouterr().out == '{\n  "note": "Yorùbá"\n}\n'
    folder = write_lora("runs/yo")
    invoke("add", folder, "--kind", "lm", "--language", "yo", "--note", "Yorùbá", "--base", "Ọ̀/x")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for arguments in (["show", "lm-yo", "--json"], ["show", "lm-yo"], ["find"]):
        done = subprocess.run(
            [sys.executable, "-m", "isogloss.cli", *arguments],
            capture_output=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode("ascii")
        if arguments[-1] == "--json":
            assert json.loads(text)["note"] == "Yorùbá"


def test_a_terminal_gets_a_table_that_fits(
    catalogue: None, invoke: Invoke, write_lora: WriteLora, on_a_terminal: OnATerminal
) -> None:
    base = "acme/a-model-with-a-name-that-is-longer-than-others"
    folder = write_lora("runs/[red]yo", seed=5)
    name = "acme/text-in-yoruba-of-2024"
    invoke("add", folder, "--kind", "lm", "--language", "yo", "--base", base, "--name", name)
    text = on_a_terminal(100, "find")
    assert "\x1b[1m" in text  # titles are bold
    assert name in text
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= 100
    assert base not in text  # wrapped
    plain = invoke("find").stdout
    assert "\x1b" not in plain
    assert base in plain


def test_brackets_are_no_markup(catalogue: None, on_a_terminal: OnATerminal) -> None:
    assert "lm[pt]" in on_a_terminal(100, "explain", "task[en] + 0.5*lm[pt]")

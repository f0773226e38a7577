"""What a command imports, which is what its start costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "peft", "huggingface_hub", "alembic"}
OWN = {"isogloss.dsl", "isogloss.store", "isogloss.hub"}

PROGRAM = """
import json, sys
before = set(sys.modules)
from isogloss.cli.main import main
main(sys.argv[1:], standalone_mode=False)
print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
"""


def imported_by(*arguments: str | Path) -> set[str]:
    """Return the modules that a command imports, in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_needs_click_alone() -> None:
    roots = {name.partition(".")[0] for name in imported_by("--help")}
    foreign = {name for name in roots if name not in sys.stdlib_module_names}
    assert foreign == {"click", "isogloss"}


def test_help_loads_no_command() -> None:
    modules = imported_by("--help")
    loaded = {name for name in modules if name.startswith("isogloss.")}
    assert loaded == {
        "isogloss.cli",
        "isogloss.cli.errors",
        "isogloss.cli.main",
        "isogloss.cli.options",
    }


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--limit", "1", "--sort", "-steps"]])
def test_find_is_light(catalogue: None, arguments: list[str]) -> None:
    modules = imported_by("find", *arguments)
    assert "sqlalchemy" in modules
    assert not modules & (HEAVY | {"lark", "langcodes", "rich"})


@pytest.mark.parametrize(
    "arguments",
    [
        ["find", "steps >= 10 and not withdrawn"],
        ["find", "--language", "pt"],
        ["show", "xlsum-en", "--json"],
        ["explain", "0.6*task[en] + 0.4*lm[pt]"],
        ["related", "yo", "--among", "en,ar"],
        ["recipe", "list"],
        ["lineage", "xlsum-en"],
        ["withdraw", "lm-pt@v1", "--reason", "x"],
        ["outdated"],
        ["fsck"],
        ["gc"],
        ["functions"],
    ],
    ids=" ".join,
)
def test_a_question_does_not_load_torch(catalogue: None, arguments: list[str]) -> None:
    assert not imported_by(*arguments) & HEAVY


def test_functions_need_no_store() -> None:
    assert not imported_by("functions") & {"sqlalchemy", "isogloss.store", "isogloss.hub"}


@pytest.mark.parametrize("arguments", [["compose", "--help"], ["find", "--help"]], ids=" ".join)
def test_the_help_of_a_command_loads_no_room(arguments: list[str]) -> None:
    assert not imported_by(*arguments) & (HEAVY | OWN)

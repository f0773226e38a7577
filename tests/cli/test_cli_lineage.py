"""lineage, withdraw and outdated."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..conftest import WriteLora
    from .conftest import Invoke, OnATerminal

EQUATION = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"


@pytest.fixture
def composed(catalogue: None, invoke: Invoke) -> None:
    """A composition, and another one of that."""
    invoke("compose", EQUATION, "--name", "xlsum-pt", "--result-language", "pt")
    invoke("compose", 'exact("xlsum-pt" + 0.5*lm[en])', "--name", "acme/second")


def read(invoke: Invoke, *arguments: str) -> Any:
    return json.loads(invoke(*arguments, "--json").stdout)


def test_what_it_was_made_of(composed: None, invoke: Invoke) -> None:
    root, *lines = invoke("lineage", "acme/second").stdout.splitlines()
    assert root == "acme/second@v1 (composed)"
    assert all(line.startswith(("├── ", "│   ", "└── ", "    ")) for line in lines)
    # Which summand stands first depends on their digests.
    assert sorted(line.lstrip("│├└─ ").removesuffix(" [shown above]") for line in lines) == sorted(
        [
            "1 * xlsum-pt@v1 (composed, pt)",
            "0.6 * xlsum-en@v1 (task, xlsum, en)",
            "0.4 * lm-pt@v1 (lm, pt)",
            "-0.4 * lm-en@v1 (lm, en)",
            "0.5 * lm-en@v1 (lm, en)",
        ]
    )
    assert sum(line.endswith("lm-en@v1 (lm, en) [shown above]") for line in lines) == 1


def test_what_was_made_of_it(composed: None, invoke: Invoke) -> None:
    assert invoke("lineage", "lm-pt@v1", "--descendants").stdout.splitlines() == [
        "lm-pt@v1 (lm, pt)",
        "└── xlsum-pt@v1 has 0.4 of it (composed, pt)",
        "    └── acme/second@v1 has 1 of it (composed)",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lm-pt"], "lm-pt@v1: it was not composed of anything\n"),
        (["acme/second", "--descendants"], "acme/second@v1: nothing was made of it\n"),
    ],
)
def test_a_lineage_of_one(composed: None, invoke: Invoke, arguments: list[str], said: str) -> None:
    result = invoke("lineage", *arguments)
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == said


def test_lineage_as_json(composed: None, invoke: Invoke) -> None:
    data = read(invoke, "lineage", "xlsum-pt")
    assert data == json.loads(invoke("lineage", "xlsum-pt", "--format", "json").stdout)
    assert (data["version"], data["direction"]) == ("xlsum-pt@v1", "ancestors")
    label_by_id = {node["id"]: node["label"] for node in data["nodes"]}
    assert {
        (label_by_id[edge["child"]], edge["coefficient"], label_by_id[edge["parent"]])
        for edge in data["edges"]
    } == {
        ("xlsum-pt@v1", "3/5", "xlsum-en@v1"),
        ("xlsum-pt@v1", "2/5", "lm-pt@v1"),
        ("xlsum-pt@v1", "-2/5", "lm-en@v1"),
    }
    record = read(invoke, "show", "lm-pt")
    (node,) = (node for node in data["nodes"] if node["label"] == "lm-pt@v1")
    assert node["digest"] == record["digest"]


def test_lineage_for_other_programs(composed: None, invoke: Invoke) -> None:
    flowchart = invoke("lineage", "xlsum-pt", "--format", "mermaid").stdout
    assert flowchart.startswith('flowchart TD\n    n0["xlsum-pt@v1<br/>composed, pt"]\n')
    assert flowchart.count(" -->|") == 3
    graph = invoke("lineage", "xlsum-pt", "--format", "dot").stdout
    assert graph.startswith("digraph lineage {\n")
    assert graph.endswith("}\n")
    assert graph.count(" -> n0 ") == 3


def test_lineage_where_the_output_has_no_lines_to_draw_with(composed: None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isogloss.cli", "lineage", "lm-pt", "--descendants"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        check=True,
    )
    assert b"\n`-- xlsum-pt@v1 has 0.4 of it" in done.stdout


def test_lineage_on_a_terminal(composed: None, on_a_terminal: OnATerminal) -> None:
    text = on_a_terminal(60, "lineage", "acme/second")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert lines[0] == "acme/second@v1 (composed)"
    assert max(map(len, lines)) <= 60
    assert sum("[shown above]" in line for line in lines) == 1
    assert "\x1b[2m" in text  # what is shown above is dim


def test_lineage_with_two_formats(composed: None, invoke: Invoke) -> None:
    result = invoke("lineage", "xlsum-pt", "--format", "dot", "--json", code=2)
    assert "--json and --format dot" in result.stderr
    assert "'svg' is not one of" in invoke("lineage", "x", "--format", "svg", code=2).stderr


def test_withdraw(composed: None, invoke: Invoke) -> None:
    words = invoke("withdraw", "lm-pt@v1", "--reason", "trained on test data").stdout
    assert words.startswith("Withdrew lm-pt@v1: trained on test data\nNothing was deleted")
    for name in ("xlsum-pt", "acme/second"):
        assert name in words
    assert read(invoke, "show", "lm-pt")["withdrawn"] == "trained on test data"
    invoke("verify", "xlsum-pt")
    assert read(invoke, "find", "withdrawn")[0]["withdrawn"] == "trained on test data"
    invoke("explain", "lm[pt]", code=3)
    assert "withdrawn: trained on test data" in invoke("explain", '"lm-pt"').stdout
    assert "withdrawn: trained on test data" in invoke("lineage", "xlsum-pt").stdout


def test_withdraw_as_json_and_again(composed: None, invoke: Invoke) -> None:
    arguments = ("withdraw", "xlsum-pt@v1", "--reason", "wrong")
    first = read(invoke, *arguments)
    assert [one["name"] for one in first.pop("descendants")] == ["acme/second"]
    assert first == {"version": "xlsum-pt@v1", "reason": "wrong", "created": True}
    assert read(invoke, *arguments)["created"] is False
    assert invoke(*arguments).stdout.startswith("xlsum-pt@v1 is withdrawn already: wrong\n")
    other = invoke("withdraw", "xlsum-pt@v1", "--reason", "ugly", code=1)
    assert other.stderr == "error: xlsum-pt@v1 is withdrawn already, because: wrong\n"


@pytest.mark.parametrize(
    "version", ["lm-pt", "lm-pt@latest", "lm-pt@2", "sha256:0123456789ab", "lm-pt@v0"]
)
def test_withdrawing_needs_a_version(composed: None, invoke: Invoke, version: str) -> None:
    result = invoke("withdraw", version, "--reason", "x", code=2)
    assert f"{version!r} does not say which version; write NAME@vN" in result.stderr
    assert read(invoke, "find", "withdrawn") == []


def test_withdrawing_what_is_not_there(composed: None, invoke: Invoke) -> None:
    assert "lm-pt has v1" in invoke("withdraw", "lm-pt@v2", "--reason", "x", code=3).stderr
    assert "it is empty" in invoke("withdraw", "lm-pt@v1", "--reason", " ", code=2).stderr
    assert "'--reason'" in invoke("withdraw", "lm-pt@v1", code=2).stderr


def test_nothing_is_outdated(composed: None, invoke: Invoke) -> None:
    result = invoke("outdated")
    assert (result.stdout, result.stderr) == ("", "nothing is outdated\n")
    result = invoke("outdated", "xlsum-pt")
    assert (result.stdout, result.stderr) == ("", "xlsum-pt is up to date\n")
    assert read(invoke, "outdated") == []


def test_outdated(composed: None, invoke: Invoke, write_lora: WriteLora) -> None:
    folder = write_lora("runs/better", seed=11)
    invoke("add", folder, "--kind", "lm", "--language", "pt")
    first, second = sorted(read(invoke, "outdated"), key=lambda entry: -len(entry["changes"]))
    assert first == {
        "name": "xlsum-pt",
        "version": 1,
        "reasons": ["lm-pt@v1 is now v2"],
        "changes": ["- 0.4 * lm-pt@v1", "+ 0.4 * lm-pt@v2"],
    }
    assert second == {
        "name": "acme/second",
        "version": 1,
        "reasons": ["its parent xlsum-pt@v1 is outdated"],
        "changes": [],
    }
    assert read(invoke, "outdated", "xlsum-pt") == [first]
    lines = invoke("outdated", "xlsum-pt").stdout.splitlines()
    assert [re.split(r" {2,}", line) for line in lines] == [
        ["composition", "why", "difference"],
        ["xlsum-pt@v1", "lm-pt@v1 is now v2", "- 0.4 * lm-pt@v1"],
        ["", "+ 0.4 * lm-pt@v2"],
    ]


def test_only_compositions_are_outdated(composed: None, invoke: Invoke) -> None:
    assert "not composed" in invoke("outdated", "lm-pt", code=1).stderr
    assert "'xlsum-pt'" in invoke("outdated", "xlsum-p", code=3).stderr

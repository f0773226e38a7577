"""compose --each and compose --again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..conftest import WriteLora
    from .conftest import Invoke

EXPRESSION = "0.6*task[en] + 0.4*lm[$T]"
NAME = ("--name", "xlsum-{T}")


def read(invoke: Invoke, *arguments: str | Path, code: int = 0) -> Any:
    return json.loads(invoke(*arguments, "--json", code=code).stdout)


@pytest.fixture
def languages(catalogue: None, invoke: Invoke, write_lora: WriteLora) -> None:
    """Language vectors of Yoruba and Nepali, and one of Sinhala that does not fit the others."""
    for seed, (language, rank) in enumerate((("yo", 2), ("ne", 2), ("si", 3)), start=20):
        folder = write_lora(f"runs/lm-{language}", seed=seed, rank=rank)
        invoke("add", folder, "--kind", "lm", "--language", language)


def test_one_result_for_each_language(languages: None, invoke: Invoke, tmp_path: Path) -> None:
    places = (*NAME, "--output", tmp_path / "out" / "{T}", "--result-language", "{T}")
    each = ("compose", EXPRESSION, "--each", "T = yo, ne", *places)
    outcomes = read(invoke, *each)
    assert [(one["value"], one["ok"], one["error"], one["exit_code"]) for one in outcomes] == [
        ("yo", True, None, 0),
        ("ne", True, None, 0),
    ]
    for outcome in outcomes:
        value, composed = outcome["value"], outcome["composed"]
        shown = read(invoke, "show", f"xlsum-{value}")
        assert shown["language"] == value
        assert shown["digest"] == composed["digest"]
        assert shown["composition"]["lock"]["parameters"] == {"T": value}
        alone = read(invoke, "explain", EXPRESSION.replace("$T", value))
        assert composed["canonical"] == alone["canonical"]
        assert (tmp_path / "out" / value / "adapter_model.safetensors").is_file()
    words = invoke("compose", EXPRESSION, "--each", "T=yo,pt", *NAME, "--result-language", "{T}")
    head, first, second = words.stdout.splitlines()
    assert head.split() == ["T", "outcome", "digest"]
    assert first.split() == [
        *("yo", "xlsum-yo@v1", "is", "the", "same", "already"),
        outcomes[0]["composed"]["digest"][:12],
    ]
    assert second.startswith("pt  Composed xlsum-pt@v1  ")


def test_a_failure_does_not_stop_the_others(languages: None, invoke: Invoke) -> None:
    each = ("compose", EXPRESSION, "--each", "T=yo,si,de,ne", *NAME)
    result = invoke(*each, code=4)
    _, first, second, third, fourth = result.stdout.splitlines()
    assert first.startswith("yo  Composed xlsum-yo@v1 ")
    assert second.startswith("si  failed: ")
    assert third == "de  failed: line 1, column 20: no adapter for de fits lm[$T]"
    assert fourth.startswith("ne  Composed xlsum-ne@v1 ")
    assert result.stderr.startswith("error: T=si: ")
    assert "error: T=de: line 1, column 20: no adapter for de" in result.stderr
    assert "lm[$T]\n" in result.stderr  # with its caret
    assert [one["exit_code"] for one in read(invoke, *each, code=4)] == [0, 4, 3, 0]
    assert "xlsum-si" not in [one["name"] for one in read(invoke, "find")]
    assert [one["composed"] for one in read(invoke, *each, code=4)][1:3] == [None, None]


def test_the_first_failure_gives_the_exit_code(languages: None, invoke: Invoke) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isogloss.cli", "compose", EXPRESSION, "--each", "T=de,si", *NAME],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr
    assert b"(1 of 2)" not in done.stderr  # progress is for terminals


def test_one_result_for_each_number(catalogue: None, invoke: Invoke) -> None:
    expression = "l*task[en] + (1-l)*lm[$T]"
    arguments = ("--each", "l=0.2,0.5", "--name", "blend-{l}", "--set", "T=pt")
    outcomes = read(invoke, "compose", expression, *arguments)
    assert [one["composed"]["name"] for one in outcomes] == ["blend-0.2", "blend-0.5"]
    coefficients = {one["coefficient"] for one in outcomes[0]["composed"]["parents"]}
    assert coefficients == {"1/5", "4/5"}


def test_only_into_folders(catalogue: None, invoke: Invoke, tmp_path: Path) -> None:
    output = tmp_path / "{T}" / "adapter"
    invoke("compose", "lm[$T]", "--each", "T=en,pt", "--output", output)
    assert (tmp_path / "pt" / "adapter" / "adapter_config.json").is_file()
    assert [one["kind"] for one in read(invoke, "find")] == ["lm", "lm", "task"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--each", "T=yo,ne"], "such as --name 'x-{T}'"),
        (["--each", "T=yo,ne", "--name", "x"], "--name 'x' is the same for all results"),
        (["--each", "T=yo", *NAME, "--output", "out"], "--output 'out' is the same for all"),
        (["--each", "T=yo", "--name", "x-{T}-{S}"], "the placeholder '{S}', which has no value"),
        (["--each", "T=yo", "--name", "x-{T}{}"], "the placeholder '{}'"),
        (["--each", "T=yo", *NAME, "--result-language", "{t}"], "the placeholder '{t}'"),
        (["--each", "T=yo", *NAME, "--set", "T=ne"], "'T' is in --set and in --each"),
        (["--each", "T", *NAME], "'T' is not NAME=VALUE,VALUE"),
        (["--each", "T=", *NAME], "'T=' is not NAME=VALUE,VALUE"),
        (["--each", "T=yo,,ne", *NAME], "there is an empty place"),
        (["--each", "T=yo,ne,yo", *NAME], "has 'yo' twice"),
        (["--each", "l=1/2", *NAME], "'1/2' cannot stand in a name"),
        (["--each", "T=yo", "--each", "S=en", *NAME], "it is given twice"),
        (["--each", "", *NAME], "it is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_series(languages: None, invoke: Invoke, arguments: list[str], said: str) -> None:
    result = invoke("compose", EXPRESSION, *arguments, code=2)
    assert result.stdout == ""
    assert said in result.stderr
    assert read(invoke, "find", "kind = composed") == []


def test_what_is_no_program_is_said_once(catalogue: None, invoke: Invoke) -> None:
    result = invoke("compose", "lm[$T", "--each", "T=en,pt", *NAME, code=1)
    assert result.stdout == ""
    assert result.stderr.count("error:") == 1
    result = invoke("compose", "lm[en]", "--each", "T=en,pt", *NAME, code=1)
    assert result.stderr.count("error:") == 2


def test_again(catalogue: None, invoke: Invoke, write_lora: WriteLora) -> None:
    options = ("--name", "acme/x", "--result-language", "pt", "--set", "l=0.6", "--note", "old")
    invoke("compose", "l*task[en] + (1-l)*(lm[pt] - lm[en])", *options)
    words = invoke("compose", "--again", "acme/x").stdout
    assert words.startswith("acme/x@v1 is the same already\n")
    assert words.endswith("\nMade of the same as acme/x@v1\n")
    folder = write_lora("runs/newer", seed=30)
    invoke("add", folder, "--kind", "lm", "--language", "pt")
    words = invoke("compose", "--again", "acme/x").stdout
    assert words.startswith("Composed acme/x@v2\n")
    assert words.endswith("\nDifference to acme/x@v1\n  - 0.4 * lm-pt@v1\n  + 0.4 * lm-pt@v2\n")
    shown = read(invoke, "show", "acme/x")
    assert (shown["version"], shown["language"], shown["note"]) == (2, "pt", "old")
    again = read(invoke, "compose", "--again", "acme/x@v1")
    assert (again["again"], again["version"], again["created"]) == ("acme/x@v1", 2, False)
    assert again["changes"] == ["- 0.4 * lm-pt@v1", "+ 0.4 * lm-pt@v2"]
    assert read(invoke, "outdated") == []


def test_explain_says_what_is_outdated(
    catalogue: None, invoke: Invoke, write_lora: WriteLora
) -> None:
    invoke("compose", "0.5*lm[pt] + 0.5*lm[en]", "--name", "both")
    assert read(invoke, "explain", '"both"')["outdated"] == []
    assert "outdated" not in invoke("explain", '"both"').stdout
    invoke("add", write_lora("runs/newer", seed=30), "--kind", "lm", "--language", "pt")
    (entry,) = read(invoke, "explain", 'task[en] + "both"')["outdated"]
    assert entry == {
        "name": "both",
        "version": 1,
        "reasons": ["lm-pt@v1 is now v2"],
        "changes": ["- 0.5 * lm-pt@v1", "+ 0.5 * lm-pt@v2"],
    }
    words = invoke("explain", 'task[en] + "both"').stdout
    assert "both@v1      lm-pt@v1 is now v2  - 0.5 * lm-pt@v1\n" in words


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--again", "lm-pt"], "lm-pt@v1 was not composed", 1),
        (["--again", "x y"], "'x y' is not a reference", 1),
        (["--again", "lm-p"], "did you mean 'lm-pt'", 3),
        (["--again", "x", "task[en]"], "leave out 'EXPRESSION'", 2),
        (["--again", "x", "--name", "y"], "leave out '--name'", 2),
        (["--again", "x", "--set", "l=1"], "leave out '--set'", 2),
        (["--again", "x", "--semantics", "exact"], "leave out '--semantics'", 2),
        (["--again", "x", "--distances", "uriel"], "leave out '--distances'", 2),
        (["--again", "x", "--each", "T=yo", *NAME], "leave out '--", 2),
        (["--again", ""], "it is empty", 2),
        ([], "Missing argument 'EXPRESSION'", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_with_again(
    catalogue: None, invoke: Invoke, arguments: list[str], said: str, code: int
) -> None:
    result = invoke("compose", *arguments, code=code)
    assert result.stdout == ""
    assert said in result.stderr
    assert read(invoke, "find", "kind = composed") == []

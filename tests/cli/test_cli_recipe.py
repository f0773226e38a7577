"""recipe save, list, show and remove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from isogloss.dsl.meaning.recipes import BUILT_IN

if TYPE_CHECKING:
    from .conftest import Invoke

BLEND = "w*task[$S] + (1-w)*lm[$T]"
PARAMETERS = ("--param", "S", "--param", "T", "--param", "w = 0.7")


def read(invoke: Invoke, *arguments: str | Path) -> Any:
    return json.loads(invoke(*arguments, "--json").stdout)


def test_a_saved_recipe_can_be_called(catalogue: None, invoke: Invoke) -> None:
    words = invoke("recipe", "save", "blend", BLEND, *PARAMETERS).stdout
    assert words == "Saved blend@v1: blend(S, T, w=0.7)\n"
    called = read(invoke, "explain", "blend(en, pt)")
    assert called["canonical"] == read(invoke, "explain", "0.7*task[en] + 0.3*lm[pt]")["canonical"]


def test_saving_makes_versions(catalogue: None, invoke: Invoke) -> None:
    first = read(invoke, "recipe", "save", "blend", BLEND, *PARAMETERS)
    assert first == {
        "saved": True,
        "name": "blend",
        "version": 1,
        "built_in": False,
        "signature": "blend(S, T, w=0.7)",
        "parameters": [
            {"name": "S", "type": "language", "default": None},
            {"name": "T", "type": "language", "default": None},
            {"name": "w", "type": "scalar", "default": "0.7"},
        ],
        "expression": BLEND,
        "summary": "",
        "citation": "",
    }
    assert read(invoke, "recipe", "save", "blend", BLEND, *PARAMETERS) == first | {"saved": False}
    words = invoke("recipe", "save", "blend", BLEND, *PARAMETERS).stdout
    assert words == "blend@v1 is the same; nothing was saved\n"
    second = read(invoke, "recipe", "save", "blend", BLEND)
    assert (second["version"], second["signature"]) == (2, "blend(w, S, T)")
    del first["saved"], second["saved"]
    assert read(invoke, "recipe", "show", "blend") == second
    assert read(invoke, "recipe", "show", "blend@v1") == first


def test_an_expression_from_elsewhere(catalogue: None, invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "long.iso"
    file.write_text("s = task[$S];\ns - 0.5*lm[$S]\n", encoding="utf-8")
    invoke("recipe", "save", "long", f"@{file}")
    invoke("recipe", "save", "minus", "-0.5*lm[$T] + task[$T]")
    invoke("recipe", "save", "piped", "-", stdin=b"task[$T]")
    expressions = {one["name"]: one["expression"] for one in read(invoke, "recipe", "list")}
    assert expressions["long"] == "s = task[$S];\ns - 0.5*lm[$S]"
    assert expressions["minus"] == "-0.5*lm[$T] + task[$T]"
    assert expressions["piped"] == "task[$T]"
    assert invoke("recipe", "show", "long").stdout.endswith(
        "\nExpression\n  s = task[$S];\n  s - 0.5*lm[$S]\n"
    )


def test_the_built_in_ones_are_there(catalogue: None, invoke: Invoke) -> None:
    listed = read(invoke, "recipe", "list")
    assert [one["name"] for one in listed] == [one.name for one in BUILT_IN]
    assert all(one["built_in"] and one["version"] is None for one in listed)
    lines = invoke("recipe", "list").stdout.splitlines()
    assert lines[0].split() == ["recipe", "version", "expression"]
    for line, recipe in zip(lines[1:], BUILT_IN, strict=True):
        assert line.startswith(f"{recipe.name}(")
        assert line.endswith(f"  built in  {recipe.text}")
        words = invoke("recipe", "show", recipe.name).stdout
        for text in (recipe.summary, recipe.citation, recipe.text):
            assert text in words


def test_a_removed_recipe(catalogue: None, invoke: Invoke) -> None:
    for weight in ("0.5", "0.6"):
        invoke("recipe", "save", "mine", f"{weight}*task[$T]")
    invoke("compose", "mine(en)", "--name", "x")
    assert invoke("recipe", "remove", "mine").stdout == "Removed mine\n"
    assert "mine" not in [one["name"] for one in read(invoke, "recipe", "list")]
    assert "unknown function 'mine'" in invoke("explain", "mine(en)", code=1).stderr
    assert "no recipe is named 'mine'" in invoke("recipe", "show", "mine", code=3).stderr
    assert read(invoke, "recipe", "show", "mine@v2")["expression"] == "0.6*task[$T]"
    invoke("verify", "x")
    invoke("recipe", "save", "mine", "task[$T]")
    assert read(invoke, "recipe", "remove", "mine") == {"removed": "mine", "called_by": []}
    invoke("recipe", "remove", "mine", code=3)


def test_who_calls_a_removed_recipe_is_said(catalogue: None, invoke: Invoke) -> None:
    invoke("recipe", "save", "inner", "task[$T]")
    invoke("recipe", "save", "outer", "0.5*inner($T)")
    removed = invoke("recipe", "remove", "inner")
    assert removed.stderr == "warning: outer calls inner, and cannot be called any more\n"
    assert "did you mean 'add'" in invoke("recipe", "show", "addd", code=3).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["save", "mean", "task[$T]"], "'mean' is a word of the language"),
        (["save", "add", "task[$T]"], "'add' is a built-in recipe"),
        (["save", "a-b", "task[$T]"], "'a-b' cannot name a recipe"),
        (["save", "x", "0.5*maen(task[$T])"], "did you mean 'mean'?"),
        (["save", "x", "task[*]"], "set of adapters"),
        (["save", "x", "task[$T]", "--param", "U"], "'U' is no parameter of the program"),
        (["save", "x", "l*task[$T]", "--param", "l=a"], "hint: list the parameters in another"),
        (["save", "x", "l*task[$T]", "--param", "T", "--param", "l=a"], "'a'"),
        (["save", "x", "@nowhere.iso"], "cannot read the expression from 'nowhere.iso'"),
        (["show", "add@v1"], "'add' is built in and has no versions"),
        (["show", "x@y"], "'x@y' names no version"),
        (["remove", "add"], "'add' is built in and stays"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_1_a_mistake(catalogue: None, invoke: Invoke, arguments: list[str], said: str) -> None:
    result = invoke("recipe", *arguments, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert len(read(invoke, "recipe", "list")) == len(BUILT_IN)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: isogloss recipe"),
        (["sav"], "No such command 'sav'"),
        (["save", "x"], "Missing argument 'EXPRESSION'"),
        (["save", "", "task[$T]"], "it is empty"),
        (["save", "x", "task[$T]", "--param", ""], "'' is neither NAME nor NAME=DEFAULT"),
        (["save", "x", "task[$T]", "--param", "T="], "'T=' is neither"),
        (["save", "x", "task[$T]", "--param", "$T"], "'$T' is neither"),
        (["save", "x", "task[$T]", "--param", "T", "--param", "T=en"], "'T' is given twice"),
        (["save", "x", "task[$T]", "--parm", "T"], "No such option '--parm'"),
        (["show"], "Missing argument 'NAME'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_2_wrong_usage(catalogue: None, invoke: Invoke, arguments: list[str], said: str) -> None:
    result = invoke("recipe", *arguments, code=2)
    assert result.stdout == ""
    assert said in result.stderr


def test_without_a_catalogue(invoke: Invoke) -> None:
    assert "isogloss init" in invoke("recipe", "list", code=1).stderr

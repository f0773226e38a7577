"""explain, compose, verify and functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isogloss.dsl.algebra.types import TYPES
from isogloss.dsl.functions import FUNCTIONS
from safetensors.torch import load_file

if TYPE_CHECKING:
    from ..conftest import WriteLora
    from .conftest import Invoke

EQUATION = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"


def test_explain(catalogue: None, invoke: Invoke) -> None:
    explained = json.loads(invoke("explain", EQUATION, "--json").stdout)
    assert explained["program"] == EQUATION
    assert [choice["selector"] for choice in explained["choices"]] == [
        *("task[en]", "lm[pt]", "lm[en]")
    ]
    assert {term["name"]: term["coefficient"] for term in explained["terms"]} == {
        "xlsum-en": "3/5",
        "lm-pt": "2/5",
        "lm-en": "-2/5",
    }
    assert explained["semantics"] == "elementwise"
    assert explained["rank"] == 2
    assert explained["bytes_to_read"] >= 3 * explained["size"] - 3 * 10_000
    words = invoke("explain", EQUATION).stdout
    assert words.startswith(EQUATION)
    for value in ("xlsum-en@v1", "-2/5", "elementwise", explained["canonical"]):
        assert value in words
    assert json.loads(invoke("find", "kind = composed", "--json").stdout) == []


def test_explain_measures_the_distance_from_exact(catalogue: None, invoke: Invoke) -> None:
    divergence = json.loads(invoke("explain", EQUATION, "--json").stdout)["divergence"]
    total = divergence["total"]
    assert total["relative"] == pytest.approx(total["difference_norm"] / total["exact_norm"])
    assert total["relative"] > 0
    assert -1 <= total["cosine"] < 1
    names = [layer["layer"] for layer in divergence["layers"]]
    assert names == ["model.layers.0", "model.layers.1"]
    modules = [len(layer["modules"]) for layer in divergence["layers"]]
    assert modules == [2, 2]
    lines = invoke("explain", EQUATION).stdout.splitlines()
    start = lines.index("Distance from the exact sum of updates")
    shown = [line.split() for line in lines[start + 2 : start + 5]]
    assert [line[0] for line in shown] == ["all", *names]
    assert shown[0][-2:] == [f"{total['relative']:.4f}", f"{total['cosine']:.4f}"]
    exact = invoke("explain", EQUATION, "--semantics", "exact", "--json").stdout
    assert json.loads(exact)["divergence"] is None
    assert "Distance" not in invoke("explain", EQUATION, "--semantics", "exact").stdout


def test_compose_into_a_folder(catalogue: None, invoke: Invoke, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    composed = json.loads(invoke("compose", EQUATION, "--output", folder, "--json").stdout)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "isogloss.lock.json",
    ]
    one, two, three, result = (
        load_file(path / "adapter_model.safetensors")
        for path in (
            *(tmp_path / f"runs/{name}" for name in ("xlsum-en", "lm-pt", "lm-en")),
            folder,
        )
    )
    for name, tensor in result.items():
        expected = 0.6 * one[name] + 0.4 * two[name] - 0.4 * three[name]
        assert (tensor - expected).abs().max() < 1e-6
    assert composed["name"] is None
    assert composed["output"] == str(folder)
    assert composed["rank"] == 2
    assert composed["dtype"] == "float32"
    assert len(composed["digest"]) == len(composed["config_digest"]) == 64
    assert len(composed["parents"]) == 3
    assert "not empty" in invoke("compose", EQUATION, "--output", folder, code=1).stderr
    other = invoke("compose", EQUATION, "--output", tmp_path / "other").stdout
    assert f"Written to {tmp_path / 'other'}" in other


def test_compose_into_the_catalogue(catalogue: None, invoke: Invoke) -> None:
    options = ("--name", "acme/xlsum-pt", "--result-language", "pt", "--result-task", "xlsum")
    more = ("--license", "apache-2.0", "--note", "equation 2")
    first = json.loads(invoke("compose", EQUATION, *options, *more, "--json").stdout)
    again = json.loads(invoke("compose", EQUATION, *options, *more, "--json").stdout)
    assert (first["version"], first["created"]) == (1, True)
    assert again == first | {"created": False}
    assert "acme/xlsum-pt@v1 is the same" in invoke("compose", EQUATION, *options, *more).stdout
    shown = json.loads(invoke("show", "acme/xlsum-pt", "--json").stdout)
    assert shown["kind"] == "composed"
    assert (shown["language"], shown["task"], shown["note"]) == ("pt", "xlsum", "equation 2")
    assert shown["digest"] == first["digest"]
    assert shown["composition"]["expression"] == EQUATION
    assert shown["composition"]["canonical"] == first["canonical"]
    assert shown["composition"]["parents"] == first["parents"]
    words = invoke("show", "acme/xlsum-pt").stdout
    for value in (EQUATION, "xlsum-en@v1", "-2/5"):
        assert value in words


def test_a_result_without_a_name_gets_one(catalogue: None, invoke: Invoke) -> None:
    composed = json.loads(invoke("compose", EQUATION, "--json").stdout)
    assert composed["name"].startswith("composed-")
    assert f"Composed {composed['name']}" in invoke("compose", EQUATION, "--note", "x").stdout


def test_semantics_and_dtype(catalogue: None, invoke: Invoke) -> None:
    arguments = (EQUATION, "--semantics", "exact", "--dtype", "bfloat16", "--name", "x", "--json")
    composed = json.loads(invoke("compose", *arguments).stdout)
    assert (composed["semantics"], composed["rank"], composed["dtype"]) == ("exact", 6, "bfloat16")


def test_a_sum_too_large_for_its_dtype_is_refused(catalogue: None, invoke: Invoke) -> None:
    """No adapter is damaged: another dtype can hold it."""
    told = invoke("compose", "1000000*task[en]", "--dtype", "float16", code=4).stderr
    assert "the result would hold a NaN or an infinity as float16 in tensor" in told
    assert "hint: the sum is too large: compose with --dtype float32" in told
    invoke("compose", "1000000*task[en]", "--dtype", "float32")


def test_context_tells_adapters_apart(
    catalogue: None, invoke: Invoke, write_lora: WriteLora
) -> None:
    folder = write_lora("runs/qa-en", seed=7)
    invoke("add", folder, "--kind", "task", "--task", "qa", "--language", "en")
    assert "task=qa" in invoke("explain", "task[en]", code=1).stderr
    explained = json.loads(invoke("explain", "task[en]", "--task", "qa", "--json").stdout)
    assert explained["choices"][0]["adapters"] == ["qa-en@v1"]
    invoke("explain", "task[en]", "--task", "qa", "--base", "acme/tiny", "--peft", "LORA")
    invoke("explain", "task[en]", "--task", "qa", "--base", "acme/none", code=3)


def test_filters_of_summands_are_shown(catalogue: None, invoke: Invoke) -> None:
    expression = 'task[en] + 0.5*only(lm[pt], modules="q_proj")'
    explained = json.loads(invoke("explain", expression, "--json").stdout)
    filters = {term["name"]: term["filters"] for term in explained["terms"]}
    assert filters == {"xlsum-en": [], "lm-pt": [{"modules": "q_proj"}]}
    assert "modules=q_proj" in invoke("explain", expression).stdout


def test_verify(
    catalogue: None, invoke: Invoke, tmp_path: Path, flip_byte: Callable[[Path], None]
) -> None:
    folder = tmp_path / "out"
    invoke("compose", EQUATION, "--name", "x", "--output", folder)
    for target in ("x", "x@v1", str(folder)):
        proof = json.loads(invoke("verify", target, "--json").stdout)
        assert proof["ok"] is True
        assert proof["checks"]
        assert invoke("verify", target).stdout.startswith("ok  ")
    flip_byte(folder / "adapter_model.safetensors")
    result = invoke("verify", folder, code=6)
    assert "adapter_model.safetensors" in result.stderr
    assert result.stdout == ""
    invoke("verify", "x")
    result = invoke("verify", folder, "--json", code=6)
    proof = json.loads(result.stdout)
    assert (proof["target"], proof["ok"]) == (str(folder), False)
    assert result.stderr == f"error: {proof['problem']}\n"
    assert invoke("verify", tmp_path / "runs/lm-pt", code=1).stderr.startswith("error: ")


def test_warnings_go_to_stderr(catalogue: None, invoke: Invoke, write_lora: WriteLora) -> None:
    folder = write_lora("runs/lm-yo", seed=9, config={"revision": "abc"})
    invoke("add", folder, "--kind", "lm", "--language", "yo")
    result = invoke("explain", "task[en] + lm[yo]", "--json")
    warnings = json.loads(result.stdout)["warnings"]
    assert warnings
    assert result.stderr == "".join(f"warning: {warning}\n" for warning in warnings)
    composed = invoke("compose", "task[en] + lm[yo]", "--json")
    assert json.loads(composed.stdout)["warnings"] == warnings
    assert composed.stderr == result.stderr


def test_functions(invoke: Invoke) -> None:
    words = invoke("functions").stdout
    listed = json.loads(invoke("functions", "--json").stdout)
    assert [one["name"] for one in listed["functions"]] == [one.name for one in FUNCTIONS]
    for function in FUNCTIONS:
        for text in (function.signature, function.summary, function.formula, function.citation):
            assert text in words
    assert [one["name"] for one in listed["types"]] == [rules.name for rules in TYPES]
    for rules in TYPES:
        for text in (rules.name, rules.elementwise, rules.exact, rules.lora, rules.citation):
            assert text in words
    for one in listed["refused"]:
        assert one["peft_type"] in words
        assert one["reason"] in words

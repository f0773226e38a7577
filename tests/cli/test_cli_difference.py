"""diff."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from ..conftest import WriteLora
    from .conftest import Invoke


def read(invoke: Invoke, *arguments: str) -> Any:
    return json.loads(invoke("diff", *arguments, "--json").stdout)


def test_two_language_vectors(catalogue: None, invoke: Invoke) -> None:
    data = read(invoke, "lm-en", "lm-pt")
    assert (data["first"], data["second"]) == ("lm-en@v1", "lm-pt@v1")
    assert (data["same_weights"], data["same_configuration"]) == (False, True)
    assert data["configuration"] == []
    by_field = {one["field"]: (one["first"], one["second"]) for one in data["provenance"]}
    assert by_field["languages"] == (["en"], ["pt"])
    assert by_field["steps"] == (2000, 3000)
    assert "kind" not in by_field
    total, layers = data["updates"]["total"], data["updates"]["layers"]
    assert [layer["layer"] for layer in layers] == ["model.layers.0", "model.layers.1"]
    assert len(layers[0]["modules"]) == 2
    assert layers[0]["modules"][0]["first_adapts"] is True
    squares = sum(layer["difference_norm"] ** 2 for layer in layers)
    assert math.isclose(math.sqrt(squares), total["difference_norm"])
    assert -0.5 < total["cosine"] < 0.5


def test_a_multiple(catalogue: None, invoke: Invoke) -> None:
    invoke("compose", "0.5*lm[pt]", "--semantics", "exact", "--name", "half")
    total = read(invoke, "lm-pt", "half")["updates"]["total"]
    assert math.isclose(total["first_norm"], 2 * total["second_norm"], rel_tol=1e-6)
    assert math.isclose(total["cosine"], 1, rel_tol=1e-6)
    assert math.isclose(total["column_overlap"], 1, rel_tol=1e-6)
    assert math.isclose(total["row_overlap"], 1, rel_tol=1e-6)


def test_diff_in_words(catalogue: None, invoke: Invoke) -> None:
    invoke("compose", "0.5*lm[pt]", "--semantics", "exact", "--name", "half")
    words = invoke("diff", "lm-pt", "half").stdout
    assert words.startswith(
        "first          lm-pt@v1\nsecond         half@v1\n"
        "weights        the same\nconfiguration  differs\n"  # its scaling
    )
    lines = words.splitlines()
    row = lines.index("Updates") + 2
    first, second, difference, *parts = lines[row].split()[1:]
    assert float(first) == pytest.approx(2 * float(second), rel=1e-3)
    assert float(difference) == pytest.approx(float(second), rel=1e-3)
    assert parts == ["1.0000"] * 3
    assert lines[row + 1].startswith("model.layers.0 ")
    assert words.count("\nProvenance\nfield ") == 1
    (kind,) = (line.split() for line in lines if line.startswith("kind "))
    assert kind == ["kind", "lm", "composed"]


def test_an_adapter_and_itself(catalogue: None, invoke: Invoke) -> None:
    data = read(invoke, "lm-pt", "lm-pt@v1")
    assert data["same_weights"] and data["same_configuration"]
    assert data["provenance"] == data["configuration"] == []
    assert data["updates"]["total"]["cosine"] == pytest.approx(1)
    words = invoke("diff", "lm-pt", "lm-pt@v1").stdout
    assert "weights        the same\nconfiguration  the same\n" in words
    assert "Provenance" not in words


def test_other_shapes_and_other_configurations(
    catalogue: None, invoke: Invoke, write_lora: WriteLora
) -> None:
    folder = write_lora("runs/wide", seed=8, rank=3)
    invoke("add", folder, "--kind", "lm", "--language", "yo")
    fields = {one["field"] for one in read(invoke, "lm-pt", "lm-yo")["configuration"]}
    assert "r" in fields
    assert "\nConfiguration\nfield " in invoke("diff", "lm-pt", "lm-yo").stdout


def test_mistakes(catalogue: None, invoke: Invoke) -> None:
    assert "did you mean 'lm-pt'" in invoke("diff", "lm-en", "lm-p", code=3).stderr
    assert "'OTHER'" in invoke("diff", "lm-en", code=2).stderr
    assert "it is empty" in invoke("diff", "lm-en", "", code=2).stderr
    assert "'a b'" in invoke("diff", "a b", "lm-en", code=1).stderr


def test_what_has_no_updates_is_compared_by_its_values(
    catalogue: None, invoke: Invoke, tmp_path: Path
) -> None:
    from safetensors.torch import save_file
    from torch import full

    config = {"peft_type": "LN_TUNING", "target_modules": ["norm"], "task_type": "CAUSAL_LM"}
    for number, name in enumerate(("one", "two"), 1):
        folder = tmp_path / name
        folder.mkdir()
        tensor = full((4,), float(number))
        names = [f"base_model.model.layers.{n}.norm.ln_tuning_layers.weight" for n in range(14)]
        save_file({n: tensor.clone() for n in names}, folder / "adapter_model.safetensors")
        stated = {**config, "base_model_name_or_path": "acme/tiny"}
        (folder / "adapter_config.json").write_text(json.dumps(stated))
        kind = ("--kind", "task", "--task", "norms", "--language", "en")
        invoke("add", str(folder), "--name", name, *kind)
    words = invoke("diff", "one", "two").stdout
    assert "The updates cannot be compared: 'one@v1' is an adapter of LN tuning" in words
    assert "Values that differ most" in words
    assert re.search(r"layers\.0\.norm\S+ +2 +4 +2 +1\.0000", words)
    assert "... and 2 more: --json has all" in words
    values = json.loads(invoke("diff", "one", "two", "--json").stdout)["values"]
    assert len(values) == 14
    assert values[0]["difference_norm"] == 2.0

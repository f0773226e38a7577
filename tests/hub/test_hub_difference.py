"""Two versions side by side: updates, configurations, provenance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from isogloss.dsl.errors import IncompatibleError, NotFoundError
from isogloss.hub import AdapterHub
from isogloss.hub.difference import Difference, FieldDifference

WriteLora = Callable[..., Path]


def fields(differences: tuple[FieldDifference, ...]) -> dict[str, tuple[object, object]]:
    return {one.field: (one.first, one.second) for one in differences}


def test_an_adapter_and_itself(stocked: AdapterHub) -> None:
    found = stocked.diff("lm-en", "lm-en@v1")
    assert found.same_weights and found.same_configuration and found.same_content
    assert (found.configuration, found.provenance, found.incomparable) == ((), (), None)
    assert found.updates is not None
    assert found.updates.total.difference_norm == 0.0
    assert found.updates.total.cosine == pytest.approx(1.0)
    assert found.updates.total.column_overlap == pytest.approx(1.0)


def test_only_what_differs_is_listed(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(
        tmp_path / "big", 9, rank=3, config={"use_rslora": True, "lora_dropout": 0.1}
    )
    stocked.add(folder, kind="lm", language="fr", steps=100, base_revision="abc")
    found = stocked.diff("lm-en", "lm-fr")
    assert (found.first, found.second) == ("lm-en@v1", "lm-fr@v1")
    assert not (found.same_weights or found.same_configuration or found.same_content)
    assert fields(found.configuration) == {
        "r": (2, 3),
        "use_rslora": (None, True),
        "lora_dropout": (None, 0.1),
    }
    provenance = fields(found.provenance)
    assert provenance["languages"] == (["en"], ["fr"])
    assert provenance["steps"] == (None, 100)
    assert provenance["base_revision"] == (None, "abc")
    assert provenance["license"] == ("apache-2.0", None)
    assert not {"kind", "task", "base_model", "dtype", "seed", "created_at"} & provenance.keys()
    assert found.updates is not None
    assert [layer.layer for layer in found.updates.layers] == ["model.layers.0", "model.layers.1"]
    assert all(len(layer.modules) == 2 for layer in found.updates.layers)


def test_a_field_corrected_is_the_same_content(stocked: AdapterHub, tmp_path: Path) -> None:
    stocked.add(tmp_path / "runs" / "lm-en", kind="lm", language="en", steps=500)
    found = stocked.diff("lm-en@v1", "lm-en@v2")
    assert found.same_content
    assert fields(found.provenance) == {"steps": (None, 500), "license": ("apache-2.0", None)}


def test_another_base_is_a_difference(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    stocked.add(write_lora(tmp_path / "other", 3, base="acme/big"), kind="lm", language="fr")
    found = stocked.diff("lm-en", "lm-fr")
    assert fields(found.provenance)["base_model"] == ("acme/tiny", "acme/big")
    assert found.configuration == ()
    assert found.updates is not None


def test_a_composed_adapter_beside_its_parent(stocked: AdapterHub) -> None:
    stocked.compose("exact(0.5*lm[en])", name="half")
    found = stocked.diff("half", "lm-en")
    provenance = fields(found.provenance)
    assert provenance["kind"] == ("composed", "lm")
    assert provenance["expression"] == ("exact(0.5*lm[en])", None)
    assert provenance["semantics"] == ("exact", None)
    total = totals(found)
    assert total.first_norm == pytest.approx(total.second_norm / 2, rel=1e-5)
    assert total.difference_norm == pytest.approx(total.second_norm / 2, rel=1e-5)
    assert total.cosine == pytest.approx(1.0)
    backwards = totals(stocked.diff("lm-en", "half"))
    assert backwards.first_norm == pytest.approx(total.second_norm)


def totals(found: Difference):  # type: ignore[no-untyped-def]
    assert found.updates is not None
    return found.updates.total


def test_shapes_that_do_not_match_are_refused_with_names(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_lora(tmp_path / "wide", 3, base="acme/wide")
    path = folder / "adapter_model.safetensors"
    tensors = {
        name: tensor.repeat(1, 2) if "lora_A" in name else tensor
        for name, tensor in load_file(path).items()
    }
    save_file(tensors, path, metadata={"format": "pt"})
    stocked.add(folder, kind="lm", language="fr")
    with pytest.raises(IncompatibleError) as caught:
        stocked.diff("lm-en", "lm-fr")
    message = str(caught.value)
    assert "'lm-en@v1' changes 16 x 16 numbers" in message
    assert "'lm-fr@v1' changes 16 x 32 numbers" in message
    assert "model.layers.0.self_attn.q_proj" in message


def test_updates_that_are_no_products_are_left_out(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(tmp_path / "poly", 3, config={"peft_type": "POLY"})
    stocked.add(folder, kind="lm", language="fr")
    found = stocked.diff("lm-en", "lm-fr")
    assert found.updates is None
    assert str(found.incomparable).startswith(
        "'lm-fr@v1' is of PEFT type 'POLY', whose updates are not known here: it chooses between"
    )
    assert {one.tensor for one in found.values} >= {"model.layers.0.self_attn.q_proj.lora_A.weight"}
    assert fields(found.configuration)["peft_type"] == ("LORA", "POLY")


def test_what_is_not_there_is_not_found(stocked: AdapterHub) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'lm-en'"):
        stocked.diff("lm-en", "lm-em")

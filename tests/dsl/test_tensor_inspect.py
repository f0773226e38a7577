"""Inspection and identity: tensors that fit their configuration, and what makes two equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from isogloss.dsl.algebra import Inspection, inspect
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.tensors.configuration import config_digest, effective
from isogloss.dsl.tensors.tensorfile import read_header
from safetensors.torch import load_file, save_file

LINEAR = ("layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v")
NAME = "base_model.model.layers.{}.lora_{}.weight".format


def inspected(place: Path, **corrections: Any) -> Inspection:
    config = json.loads((place / "adapter_config.json").read_text())
    return inspect({**config, **corrections}, read_header(place / "adapter_model.safetensors"))


def edited(place: Path, change: Any) -> Path:
    path = place / "adapter_model.safetensors"
    tensors = dict(load_file(path))
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return place


def test_what_an_adapter_is(workshop: Any) -> None:
    place = workshop.save(seed=1, r=4, lora_alpha=8, dtype=torch.bfloat16)
    assert inspected(place) == Inspection(
        peft_type="LORA",
        rank=4,
        alpha=8.0,
        modules=LINEAR,
        parameters=4 * (6 + 4 + 6 + 6) * 2,
        dtype="bfloat16",
    )


def test_ranks_and_alphas_that_differ(workshop: Any) -> None:
    place = workshop.save(seed=1, r=4, rank_pattern={"v": 8}, alpha_pattern={"v": 3})
    found = inspected(place)
    assert (found.rank, found.alpha) == (8, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"modules_to_save": ["conv", "q"], "target_modules": ["v"]},
        {"init_lora_weights": "pissa", "r": 2},
        {"bias": "all"},
        {"target_modules": ["conv", "embed", "layers.0.q"]},
        {"target_modules": r".*\.[qv]"},
        {"trainable_token_indices": {"embed": [1, 2]}},
    ],
    ids=str,
)
def test_adapters_that_cannot_be_composed_are_adapters_all_the_same(
    workshop: Any, settings: dict[str, Any]
) -> None:
    found = inspected(workshop.save(seed=1, **settings))
    assert found.peft_type == "LORA"
    assert found.modules
    assert found.parameters > 0


def test_other_types_are_counted(workshop: Any, tiny_model: Any) -> None:
    from peft import FourierFTConfig, get_peft_model

    model = get_peft_model(tiny_model(), FourierFTConfig(target_modules=["v"], n_frequency=5))
    place = workshop.place()
    model.save_pretrained(str(place))
    found = inspected(place)
    assert (found.peft_type, found.rank, found.alpha) == ("FOURIERFT", None, None)
    assert (found.modules, found.parameters, found.dtype) == ((), 10, "float32")


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "A missing": (
        lambda tensors: tensors.pop(NAME("0.q", "A")),
        {},
        "'base_model.model.layers.0.q.lora_A.weight' is missing",
    ),
    "B missing": (lambda tensors: tensors.pop(NAME("1.v", "B")), {}, "v.lora_B.weight' is missing"),
    "rank of A": (
        lambda tensors: tensors.update({NAME("0.q", "A"): torch.ones(3, 6)}),
        {},
        "gives 'layers.0.q' rank 8, but its factors have other shapes: A [3, 6], B [4, 8]",
    ),
    "rank of B": (
        lambda tensors: tensors.update({NAME("0.q", "B"): torch.ones(4, 5)}),
        {},
        "other shapes: A [8, 6], B [4, 5]",
    ),
    "half the rank of B": (
        lambda tensors: tensors.update({NAME("0.q", "B"): torch.ones(4, 4)}),
        {},
        "other shapes: A [8, 6], B [4, 4]",
    ),
    "another r": (lambda tensors: None, {"r": 4}, "rank 4, but its factors have other shapes"),
    "another rank_pattern": (
        lambda tensors: None,
        {"rank_pattern": {"q": 3}},
        "gives 'layers.0.q' rank 3",
    ),
    "kernel of B": (
        lambda tensors: tensors.update({NAME("0.q", "B"): torch.ones(4, 8, 3)}),
        {},
        "do not fit together",
    ),
    "vector": (
        lambda tensors: tensors.update({NAME("0.q", "A"): torch.ones(0)}),
        {},
        "are no whole matrices: A [0], B [4, 8]",
    ),
    "unknown tensor": (
        lambda tensors: tensors.update({"base_model.model.layers.0.q.mystery": torch.ones(1)}),
        {},
        "'base_model.model.layers.0.q.mystery' is no LoRA factor",
    ),
    "DoRA's tensors without DoRA": (
        lambda tensors: tensors.update(
            {"base_model.model.layers.0.q.lora_magnitude_vector": torch.ones(4)}
        ),
        {},
        "nothing in adapter_config.json explains it",
    ),
    "another prefix": (
        lambda tensors: [
            tensors.update({name.replace("base_model.model.", "model."): tensors.pop(name)})
            for name in list(tensors)
        ],
        {},
        "there are no LoRA factors among the 8 tensors",
    ),
    "nothing": (lambda tensors: tensors.clear(), {}, "there are no LoRA factors among the 0"),
    "not a target": (
        lambda tensors: None,
        {"target_modules": ["q"]},
        "'layers.0.v' has factors, but adapter_config.json does not target it",
    ),
    "excluded": (lambda tensors: None, {"exclude_modules": ["v"]}, "does not target it"),
    "another layer": (
        lambda tensors: None,
        {"target_modules": ["q", "v"], "layers_to_transform": 1, "layers_pattern": "layers"},
        "'layers.0.q' has factors",
    ),
    "a target without tensors": (
        lambda tensors: None,
        {"target_modules": ["q", "v", "o_proj"]},
        "targets 'o_proj', but there are no tensors of such a module",
    ),
    "targets no expression": (
        lambda tensors: None,
        {"target_modules": "layers.[0"},
        "target_modules is 'layers.[0', which is no regular expression",
    ),
    "targets a number": (lambda tensors: None, {"target_modules": 3}, "expected names of modules"),
    "r a text": (lambda tensors: None, {"r": "8"}, "r is '8', expected a positive integer"),
    "r zero": (lambda tensors: None, {"r": 0}, "r is 0, expected a positive integer"),
    "alpha not a number": (lambda tensors: None, {"lora_alpha": None}, "lora_alpha is None"),
    "alpha NaN": (lambda tensors: None, {"lora_alpha": float("nan")}, "expected a finite number"),
    "alpha huge": (lambda tensors: None, {"lora_alpha": 10**400}, "expected a finite number"),
    "pattern a list": (lambda tensors: None, {"alpha_pattern": ["q"]}, "expected an object"),
    "pattern no expression": (
        lambda tensors: None,
        {"rank_pattern": {"(": 3}},
        "rank_pattern has the key '(', which is no regular expression",
    ),
    "pattern no rank": (lambda tensors: None, {"rank_pattern": {"q": 1.5}}, "rank_pattern is 1.5"),
}


@pytest.mark.parametrize("name", WRONG)
def test_tensors_that_do_not_fit_are_refused(workshop: Any, name: str) -> None:
    change, corrections, message = WRONG[name]
    place = edited(workshop.save(seed=1, r=8), change)
    with pytest.raises(IncompatibleError) as caught:
        inspected(place, **corrections)
    assert message in caught.value.message


def test_equal_functions_have_equal_digests(workshop: Any) -> None:
    place = workshop.save(seed=1)
    config = json.loads((place / "adapter_config.json").read_text())
    digest = config_digest(config)
    for change in (
        {"inference_mode": False},
        {"lora_dropout": 0.1},
        {"peft_version": "0.1"},
        {"init_lora_weights": "gaussian"},
        {"eva_config": {"rho": 2.0}},
        {"target_modules": list(reversed(config["target_modules"]))},
        {"a_new_field": None},
        {"auto_mapping": None},
    ):
        assert config_digest({**config, **change}) == digest, change
    for change in (
        {"r": 9},
        {"lora_alpha": 9},
        {"use_rslora": True},
        {"init_lora_weights": "pissa"},
        {"target_modules": ["q"]},
        {"rank_pattern": {"q": 8}},
        {"base_model_name_or_path": "another"},
        {"revision": "another"},
        {"use_dora": True},
        {"a_new_field": 1},
        {"bias": "all"},
        {"fan_in_fan_out": True},
    ):
        assert config_digest({**config, **change}) != digest, change


def test_configurations_of_any_json_have_a_digest_or_a_reason() -> None:
    one, other = ({"peft_type": "OFT", "target_modules": parts} for parts in ([{"a": 1}, {}], [{}]))
    assert config_digest(one) != config_digest(other)
    with pytest.raises(IncompatibleError, match="half a character"):
        config_digest(json.loads('{"peft_type": "LORA", "note": "\\ud800"}'))


def test_defaults_that_are_left_out_are_filled_in() -> None:
    assert effective({"peft_type": "LORA"}) == {"lora_alpha": 8, "peft_type": "LORA", "r": 8}
    assert effective({"peft_type": "LORA", "bias": "none", "qalora_group_size": 16}) == effective(
        {"peft_type": "LORA", "lora_alpha": 8, "r": 8}
    )


def test_the_order_of_patterns_is_part_of_the_function() -> None:
    one = {"peft_type": "LORA", "alpha_pattern": {"q": 1, ".*": 2}}
    other = {"peft_type": "LORA", "alpha_pattern": {".*": 2, "q": 1}}
    assert config_digest(one) != config_digest(other)

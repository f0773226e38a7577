"""The gate: each silent failure of merging tools is composed rightly here, or refused with reasons.

Adapters are made by PEFT itself, so that the fields are those that it really writes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from isogloss.dsl.errors import CheckError, IncompatibleError, UnsupportedError, WeightsError
from isogloss.dsl.meaning.plan import Plan, Term
from isogloss.dsl.tensors.blueprint import prepare
from torch import nn

LINEAR = ["layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v"]


def refused(workshop: Any, *operands: Any, semantics: str = "exact") -> IncompatibleError:
    with pytest.raises(IncompatibleError) as caught:
        workshop.prepare(semantics, *((1, operand) for operand in operands))
    assert caught.value.hint is None or caught.value.hint not in caught.value.message
    return caught.value


def updates(workshop: Any, operand: Any) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = workshop.updates(operand.path.parent)
    return found


# The silent failures of add_weighted_adapter in PEFT 0.21.2, one by one.


@pytest.mark.parametrize("first_is_rslora", [True, False])
def test_rslora_beside_plain_lora_is_right_in_either_order(
    workshop: Any, first_is_rslora: bool
) -> None:
    """PEFT: too big by sqrt(r) when the first adapter has use_rslora."""
    rslora = workshop.adapter("rslora", seed=1, r=8, lora_alpha=4, use_rslora=True)
    plain = workshop.adapter("plain", seed=2, r=8, lora_alpha=4)
    pair = [(1, rslora), (-2, plain)] if first_is_rslora else [(-2, plain), (1, rslora)]
    blueprint = workshop.prepare("exact", *pair)
    assert blueprint.config["use_rslora"] is False
    composed = workshop.updates(workshop.write(blueprint))
    one, other = updates(workshop, rslora), updates(workshop, plain)
    for module, update in composed.items():
        torch.testing.assert_close(update, one[module] - 2 * other[module], rtol=1e-5, atol=1e-5)


def test_rslora_beside_plain_lora_is_refused_elementwise(workshop: Any) -> None:
    rslora = workshop.adapter("rslora", seed=1, r=8, lora_alpha=4, use_rslora=True)
    plain = workshop.adapter("plain", seed=2, r=8, lora_alpha=4)
    error = refused(workshop, rslora, plain, semantics="elementwise")
    assert "elementwise sums need equal scalings" in error.message
    assert "'rslora' has 1.41421 (alpha 4 / sqrt(8))" in error.message
    assert "'plain' has 0.5 (alpha 4 / 8)" in error.message
    assert error.hint is not None and "exact(...)" in error.hint


def test_rslora_beside_plain_lora_of_equal_scaling_is_summed(workshop: Any) -> None:
    rslora = workshop.adapter("rslora", seed=1, r=4, lora_alpha=8, use_rslora=True)
    plain = workshop.adapter("plain", seed=2, r=4, lora_alpha=16)
    place = workshop.write(workshop.prepare("elementwise", (1, rslora), (1, plain)))
    for name, module in workshop.load(place).named_modules():
        if hasattr(module, "get_delta_weight"):
            assert module.scaling == {"default": 4.0}, name


def test_rslora_alone_keeps_its_rule(workshop: Any) -> None:
    pair = [workshop.adapter(f"a{n}", seed=n, r=6, lora_alpha=5, use_rslora=True) for n in range(2)]
    blueprint = workshop.prepare("elementwise", (1, pair[0]), (1, pair[1]))
    assert (blueprint.config["use_rslora"], blueprint.config["lora_alpha"]) == (True, 5)


def test_dora_with_lora_is_refused(workshop: Any) -> None:
    """PEFT: the magnitude vector is lost."""
    dora = workshop.adapter("dora", seed=1, use_dora=True)
    plain = workshop.adapter("plain", seed=2)
    error = refused(workshop, dora, plain, semantics="elementwise")
    assert error.message.startswith("'dora' is a DoRA adapter")
    assert error.message.endswith("which 'plain' has not")
    assert "all adapters must be DoRA" in str(error.hint)
    assert "there is no sum of updates for exact" in refused(workshop, dora, plain).message


@pytest.mark.parametrize("begun", ["pissa", "pissa_niter_4", "olora"])
def test_an_initialisation_that_changed_the_base_is_refused(workshop: Any, begun: str) -> None:
    """PEFT: runs the initialiser again and changes the base model's weights."""
    changed = workshop.adapter("changed", seed=1, r=4, init_lora_weights=begun)
    error = refused(workshop, workshop.adapter("plain", seed=2), changed)
    assert f"'changed' began with init_lora_weights='{begun}'" in error.message
    assert "path_initial_model_for_weight_conversion" in str(error.hint)


@pytest.mark.parametrize("begun", ["corda", "loftq", "lora_ga", "CorDA"])
def test_other_initialisations_that_changed_the_base_are_refused(workshop: Any, begun: str) -> None:
    changed = workshop.adapter("changed", {"init_lora_weights": begun}, seed=1)
    assert "changed the base model's weights" in refused(workshop, changed).message


@pytest.mark.parametrize("begun", [True, False, "gaussian", "orthogonal", "mica"])
def test_an_initialisation_that_leaves_the_base_alone_is_fine(workshop: Any, begun: Any) -> None:
    adapter = workshop.adapter("a", seed=1, r=2, init_lora_weights=begun)
    assert workshop.prepare("exact", (1, adapter)).config["init_lora_weights"] is True


def test_an_unknown_initialisation_is_refused(workshop: Any) -> None:
    adapter = workshop.adapter("new", {"init_lora_weights": "novel"}, seed=1)
    assert "init_lora_weights='novel'" in refused(workshop, adapter).message


@pytest.mark.filterwarnings("ignore:PiSSA changes the base weights")
def test_an_adapter_converted_from_pissa_composes(workshop: Any, tiny_model: Any) -> None:
    """The remedy that the refusal names does help."""
    from peft import LoraConfig, PeftModel, get_peft_model

    base = tiny_model()
    model = get_peft_model(
        base, LoraConfig(r=2, target_modules=LINEAR, init_lora_weights="pissa", lora_alpha=3)
    )
    start, trained = workshop.place(), workshop.place()
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(str(start))
    model.peft_config["default"].init_lora_weights = "pissa"
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data += torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(7)
            )
    effective = {
        module: model.get_submodule(f"base_model.model.{module}").base_layer.weight.detach()
        + model.get_submodule(f"base_model.model.{module}").get_delta_weight("default").detach()
        for module in LINEAR
    }
    model.save_pretrained(str(trained), path_initial_model_for_weight_conversion=str(start))
    blueprint = workshop.prepare("exact", (1, workshop.operand(trained, "converted")))
    loaded = PeftModel.from_pretrained(tiny_model(), str(workshop.write(blueprint)))
    for module in LINEAR:
        layer = loaded.get_submodule(f"base_model.model.{module}")
        whole = layer.base_layer.weight + layer.get_delta_weight("default")
        torch.testing.assert_close(whole, effective[module], rtol=1e-4, atol=1e-5)


def test_a_trained_head_in_one_adapter_is_refused(workshop: Any) -> None:
    """PEFT: the result has the base model's head."""
    headed = workshop.adapter("headed", seed=1, modules_to_save=["conv"])
    error = refused(workshop, workshop.adapter("plain", seed=2), headed)
    assert error.message == (
        "'headed' has values of 'conv' trained as a whole (modules_to_save), which 'plain' has not"
    )
    assert "only(..., modules=" in str(error.hint)


@pytest.mark.filterwarnings("ignore:.*invalid shape.*lora_B.bias")
def test_a_trained_lora_bias_is_refused(workshop: Any) -> None:
    """PEFT: the biases become zero."""
    biased = workshop.adapter("biased", seed=1, target_modules=["layers.0.q"], lora_bias=True)
    assert "lora_bias" in refused(workshop, biased).message


@pytest.mark.parametrize("semantics", ["elementwise", "exact"])
def test_rank_patterns_are_composed_and_load_again(workshop: Any, semantics: str) -> None:
    """PEFT: `linear` writes an adapter of rank 4 with tensors of rank 2, which does not load."""
    pair = [
        workshop.adapter(f"a{n}", seed=n, r=4, rank_pattern={"v": 2}, alpha_pattern={"v": 5})
        for n in range(2)
    ]
    composed = workshop.updates(
        workshop.write(workshop.prepare(semantics, (1, pair[0]), (1, pair[1])))
    )
    assert composed.keys() == set(LINEAR)
    if semantics == "exact":
        one, other = (updates(workshop, operand) for operand in pair)
        for module, update in composed.items():
            torch.testing.assert_close(update, one[module] + other[module], rtol=1e-5, atol=1e-5)


def test_rank_patterns_that_differ_are_refused_elementwise(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1, r=4, rank_pattern={r"layers\.1\.v": 2})
    other = workshop.adapter("other", seed=2, r=4)
    error = refused(workshop, one, other, semantics="elementwise")
    assert "need equal ranks, but at 'layers.1.v'" in error.message
    assert "'one' has 2" in error.message
    assert "'other' has 4" in error.message


def test_the_first_matching_pattern_wins_as_in_peft(workshop: Any) -> None:
    """PEFT sorts patterns when it saves, but takes them in the file's order when it loads."""
    patterns = {"layers.0.*": 2, "q": 8, "v": 6}
    place = workshop.save(seed=1, rank_pattern=patterns, alpha_pattern=patterns)
    for order in (patterns, dict(reversed(patterns.items()))):
        config = json.loads((place / "adapter_config.json").read_text())
        config["alpha_pattern"] = order
        (place / "adapter_config.json").write_text(json.dumps(config))
        adapter = workshop.operand(place, "a")
        composed = workshop.updates(workshop.write(workshop.prepare("exact", (3, adapter))))
        for module, update in updates(workshop, adapter).items():
            torch.testing.assert_close(composed[module], 3 * update, rtol=1e-5, atol=1e-5)


def test_alpha_is_applied_once(workshop: Any) -> None:
    """PEFT before 0.21: `svd` applies alpha / r twice."""
    adapter = workshop.adapter("a", seed=1, r=4, lora_alpha=8)
    composed = workshop.updates(workshop.write(workshop.prepare("exact", (1, adapter))))
    for module, update in updates(workshop, adapter).items():
        torch.testing.assert_close(composed[module], update, rtol=1e-5, atol=1e-5)


# What else cannot be summed.


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target_parameters", ["mlp.experts.gate_up_proj"]),
        ("layer_replication", [[0, 1], [0, 2]]),
        ("alora_invocation_tokens", [5, 6]),
        ("use_qalora", True),
        ("kasa_config", {"beta": 1e-4}),
        ("monteclora_config", {"num_samples": 4}),
        ("velora_config", {"num_groups": 64}),
        ("use_bdlora", {"nblocks": 2}),
        ("arrow_config", {"top_k": 3}),
        ("ensure_weight_tying", True),
        ("megatron_config", {"a": 1}),
        ("a_field_of_next_year", "on"),
    ],
)
def test_a_field_that_may_change_the_function_is_refused_by_name(
    workshop: Any, field: str, value: Any
) -> None:
    special = workshop.adapter("special", {field: value}, seed=1)
    error = refused(workshop, workshop.adapter("plain", seed=2), special)
    assert error.message.startswith("'special' ")
    assert field in error.message
    assert error.hint


def test_a_field_of_next_year_that_is_off_does_no_harm(workshop: Any) -> None:
    quiet = workshop.adapter("quiet", {"new_flag": False, "new_list": [], "new": None}, seed=1)
    workshop.prepare("exact", (1, quiet))


def test_every_default_of_pefts_configuration_is_admitted(workshop: Any) -> None:
    """A field that a release of PEFT adds with a default that is on must be looked at here."""
    workshop.prepare("exact", (1, workshop.adapter("plain", seed=1)))


def test_other_types_are_refused(workshop: Any, tiny_model: Any) -> None:
    from peft import OFTConfig

    settings = OFTConfig(target_modules=["layers.0.q"], r=3, oft_block_size=0)
    other = workshop.train("turned", settings, tiny_model())
    error = refused(workshop, other)
    assert error.message.startswith(
        "'turned' is of PEFT type 'OFT': it turns the weights by orthogonal matrices"
    )
    assert "merge it into the base model" in str(error.hint)
    other = replace(other, config={**other.config, "peft_type": "NEXT_YEARS"})
    assert (
        "'turned' is of PEFT type 'NEXT_YEARS', which cannot be composed; expected one of LORA"
        in refused(workshop, other).message
    )
    plain = workshop.adapter("plain", seed=1)
    assert "the PEFT types differ" in refused(workshop, plain, other).message


@pytest.mark.parametrize(
    ("field", "values", "what"),
    [
        ("base_model_name_or_path", ("llama", "gemma"), "base models"),
        ("revision", ("abc", "def"), "revisions of the base model"),
        ("task_type", ("CAUSAL_LM", "SEQ_CLS"), "task types"),
        ("fan_in_fan_out", (True, False), "settings of fan_in_fan_out"),
    ],
)
def test_what_differs_is_named(
    workshop: Any, field: str, values: tuple[Any, Any], what: str
) -> None:
    pair = [workshop.adapter(f"a{n}", {field: value}, seed=n) for n, value in enumerate(values)]
    error = refused(workshop, *pair)
    assert error.message.startswith(f"the {what} differ: ")
    for n, value in enumerate(values):
        assert (
            f"'a{n}' has '{str(value).lower() if value in (True, False) else value}'"
            in error.message
        )
    assert error.hint


def test_a_base_that_only_one_records_is_refused(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1)
    other = workshop.adapter("other", seed=2)
    other = replace(other, config={**other.config, "base_model_name_or_path": None})
    error = refused(workshop, one, other)
    assert "'other' has none recorded" in error.message
    assert "--base" in str(error.hint)


def test_no_base_at_all_is_a_warning(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1)
    one = replace(one, config={**one.config, "base_model_name_or_path": ""})
    (warning,) = workshop.prepare("exact", (1, one)).warnings
    assert "no base model is recorded" in warning


def test_a_revision_that_only_one_records_is_a_warning(workshop: Any) -> None:
    one = workshop.adapter("one", {"revision": "abc"}, seed=1)
    other = workshop.adapter("other", seed=2)
    blueprint = workshop.prepare("exact", (1, one), (1, other))
    assert blueprint.warnings == (
        "the base model's revision is 'abc' for 'one' but not recorded for 'other'",
    )
    assert blueprint.config["revision"] == "abc"


def test_tokenizers_that_differ_are_refused(workshop: Any) -> None:
    one = replace(workshop.adapter("one", seed=1), tokenizer_digest="1" * 64)
    other = replace(workshop.adapter("other", seed=2), tokenizer_digest="2" * 64)
    assert "the tokenizers differ" in refused(workshop, one, other).message
    unknown = replace(other, tokenizer_digest=None)
    workshop.prepare("exact", (1, one), (1, unknown))


def test_shapes_that_differ_are_refused(workshop: Any, tiny_model: Any) -> None:
    class Other(tiny_model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers[1]["v"] = nn.Linear(6, 7, bias=False)

    one = workshop.adapter("one", seed=1)
    other = workshop.adapter("other", seed=2, base=Other())
    for semantics in ("elementwise", "exact"):
        error = refused(workshop, one, other, semantics=semantics)
        assert "factors of different shapes at 'layers.1.v'" in error.message
        assert "[6, 8]" in error.message
        assert "[7, 8]" in error.message


@pytest.mark.parametrize("semantics", ["elementwise", "exact"])
def test_a_resized_vocabulary_is_named_so(workshop: Any, tiny_model: Any, semantics: str) -> None:
    one = workshop.adapter("one", seed=1, target_modules=["embed"])
    other = workshop.adapter("other", seed=2, base=tiny_model(12), target_modules=["embed"])
    error = refused(workshop, one, other, semantics=semantics)
    assert "have vocabularies of different sizes at 'embed'" in error.message
    assert "11" in error.message
    assert "12" in error.message


def test_a_saved_embedding_is_refused(workshop: Any) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tiny = LlamaConfig(
        vocab_size=13, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1,
    )  # fmt: skip
    from peft import LoraConfig, get_peft_model

    def save(label: str, **options: Any) -> Any:
        model = get_peft_model(LlamaForCausalLM(tiny), LoraConfig(target_modules=["q_proj"], r=2))
        place = workshop.place()
        model.save_pretrained(str(place), **options)
        return workshop.operand(place, label)

    error = refused(workshop, save("resized", save_embedding_layers=True))
    assert "'resized' carries a whole embedding layer" in error.message
    assert "save_embedding_layers=False" in str(error.hint)
    workshop.prepare("exact", (1, save("plain", save_embedding_layers=False)))


def test_other_numbers_than_floats_of_sixteen_or_thirty_two_bits_are_refused(workshop: Any) -> None:
    double = workshop.adapter("double", seed=1, dtype=torch.float64)
    assert "'double' has F64 numbers" in refused(workshop, double).message


def test_nested_adapted_modules_are_refused(workshop: Any) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 1)

    nested = workshop.adapter("nested", base=Attention(), target_modules=["attention"], r=2)
    assert "inside of an adapted module" in refused(workshop, nested).message


def test_an_unknown_dtype_is_a_mistake(workshop: Any) -> None:
    adapter = workshop.adapter("a", seed=1)
    with pytest.raises(CheckError) as caught:
        workshop.prepare("exact", (1, adapter), dtype="bfloat61")
    assert caught.value.hint == "did you mean 'bfloat16' or 'float16'?"


def test_an_unknown_semantics_is_unsupported(workshop: Any) -> None:
    adapter = workshop.adapter("a", seed=1)
    with pytest.raises(UnsupportedError, match=r"'slerp', expected one of elementwise, .*, exact"):
        workshop.prepare("slerp", (1, adapter))


def test_a_damaged_source_is_named(workshop: Any) -> None:
    adapter = workshop.adapter("a", seed=1)
    adapter.path.write_bytes(adapter.path.read_bytes()[:-1])
    plan = Plan("exact", (Term(Fraction(1), adapter.key),))
    with pytest.raises(WeightsError, match="is truncated"):
        prepare(plan, {adapter.key: adapter}, None)

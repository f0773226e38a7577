"""What replaces values of the base, against real PEFT: affine sums, and the refusal of others."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.meaning.plan import ModuleFilter
from safetensors.torch import load_file

NO_HEAD = ModuleFilter(modules="^(?!.*lm_head$)")
HEADS = {"llama": "lm_head", "t5": "encoder.final_layer_norm", "gpt2": "lm_head"}
TARGETS = {"llama": ["q_proj"], "t5": ["SelfAttention.q"], "gpt2": ["c_attn"]}


def lora(family: str, **settings: Any) -> Any:
    from peft import LoraConfig

    gpt2 = family == "gpt2"
    return LoraConfig(target_modules=TARGETS[family], r=2, fan_in_fan_out=gpt2, **settings)


def several(workshop: Any, base: Any, settings: Any, count: int = 2) -> list[Any]:
    return [workshop.train(f"a{n}", settings(), base(), seed=n + 1) for n in range(count)]


def refused(workshop: Any, *terms: Any) -> IncompatibleError:
    with pytest.raises(IncompatibleError) as caught:
        workshop.prepare("elementwise", *terms)
    return caught.value


def summed(workshop: Any, base: Any, operands: Any, coefficients: Any, name: str) -> torch.Tensor:
    weights = [workshop.merged(operand.path.parent, base())[name] for operand in operands]
    return sum(c * weight for c, weight in zip(coefficients, weights, strict=True))


@pytest.mark.parametrize("semantics", ["elementwise", "exact", "onesided"])
@pytest.mark.parametrize("family", TARGETS)
def test_a_head_is_averaged_where_coefficients_sum_to_one(
    workshop: Any, architectures: Any, family: str, semantics: str
) -> None:
    base = architectures[family]
    operands = several(workshop, base, lambda: lora(family, modules_to_save=[HEADS[family]]), 3)
    coefficients = (0.6, 0.7, -0.3)
    terms = zip(("0.6", "0.7", "-0.3"), operands, strict=True)
    blueprint = workshop.prepare(semantics, *terms)
    assert blueprint.config["modules_to_save"] == [HEADS[family]]
    place = workshop.write(blueprint)
    merged = workshop.merged(place, base())
    name = f"{HEADS[family]}.weight"
    expected = summed(workshop, base, operands, coefficients, name)
    torch.testing.assert_close(merged[name], expected, rtol=1e-5, atol=1e-5)
    whole = base()
    whole.load_state_dict(merged)
    torch.testing.assert_close(
        base.logits(workshop.load(place, base())), base.logits(whole), rtol=1e-3, atol=1e-3
    )


def test_a_head_is_refused_where_they_do_not(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    one, other = several(workshop, base, lambda: lora("llama", modules_to_save=["lm_head"]))
    error = refused(workshop, ("0.6", one), ("0.5", other))
    assert "the coefficients sum to 1.1 there, expected 1" in error.message
    assert "sum to 0.6 there" in refused(workshop, ("0.6", one)).message
    plain = workshop.train("plain", lora("llama"), base(), seed=5)
    error = refused(workshop, ("0.5", one), ("0.5", plain))
    assert "'a0' has values of 'lm_head' trained as a whole (modules_to_save)" in error.message
    assert "which 'plain' has not" in error.message
    # The filter that the message proposes leaves the base model's own head.
    proposed = re.search(r'modules="(.*?)"\)', str(error.hint))
    assert proposed
    kept = ModuleFilter(modules=proposed[1])
    assert kept == NO_HEAD
    blueprint = workshop.prepare("elementwise", ("0.5", one, kept), ("0.7", plain))
    assert blueprint.config["modules_to_save"] is None
    assert "lm_head.weight" not in workshop.changes(workshop.write(blueprint), base)


def test_peft_linear_has_no_heads(workshop: Any, architectures: Any) -> None:
    one, _ = several(
        workshop, architectures["llama"], lambda: lora("llama", modules_to_save=["lm_head"])
    )
    with pytest.raises(IncompatibleError, match="add_weighted_adapter loses"):
        workshop.prepare("peft-linear", (1, one))


def test_modules_to_save_of_other_types(workshop: Any, architectures: Any) -> None:
    from peft import IA3Config, LoKrConfig

    base = architectures["llama"]
    saved = {"modules_to_save": ["lm_head", "norm"]}
    ia3 = {"target_modules": ["k_proj"], "feedforward_modules": []}
    for settings in (
        lambda: IA3Config(**ia3, **saved),
        lambda: LoKrConfig(target_modules=["k_proj"], **saved),
    ):
        operands = several(workshop, base, settings)
        blueprint = workshop.prepare("elementwise", ("0.3", operands[0]), ("0.7", operands[1]))
        merged = workshop.merged(workshop.write(blueprint), base())
        for name in ("lm_head.weight", "model.norm.weight"):
            expected = summed(workshop, base, operands, (0.3, 0.7), name)
            torch.testing.assert_close(merged[name], expected, rtol=1e-5, atol=1e-5)
        assert "sum to 2 there" in refused(workshop, *((1, one) for one in operands)).message


def test_a_head_that_its_task_needs(workshop: Any, tmp_path: Any) -> None:
    from peft import LoraConfig, TaskType
    from transformers import LlamaConfig, LlamaForSequenceClassification

    def base() -> Any:
        torch.manual_seed(0)
        return LlamaForSequenceClassification(
            LlamaConfig(
                vocab_size=13, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                num_attention_heads=1, num_key_value_heads=1, num_labels=3,
            )
        )  # fmt: skip

    def settings() -> Any:
        return LoraConfig(task_type=TaskType.SEQ_CLS, target_modules=["q_proj"], r=2)

    operands = several(workshop, base, settings)
    blueprint = workshop.prepare("exact", ("1/4", operands[0]), ("3/4", operands[1]))
    merged = workshop.merged(workshop.write(blueprint), base())
    expected = summed(workshop, base, operands, (0.25, 0.75), "score.weight")
    torch.testing.assert_close(merged["score.weight"], expected, rtol=1e-5, atol=1e-5)
    no_score = ModuleFilter(modules="q_proj")
    error = refused(workshop, (1, operands[0], no_score))
    assert "nothing is left of the trained head, which task_type=SEQ_CLS needs" in error.message


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_trained_biases(workshop: Any, architectures: Any, bias: str) -> None:
    base = architectures["gpt2"]
    operands = several(workshop, base, lambda: lora("gpt2", bias=bias))
    blueprint = workshop.prepare("elementwise", ("0.6", operands[0]), ("0.4", operands[1]))
    assert blueprint.config["bias"] == bias
    names = {tensor.name for tensor in blueprint.tensors if tensor.name.endswith(".bias")}
    assert len(names) == (2 if bias == "lora_only" else 13)
    merged = workshop.merged(workshop.write(blueprint), base())
    for name in ("transformer.h.0.attn.c_attn.bias", "transformer.h.0.mlp.c_fc.bias"):
        expected = summed(workshop, base, operands, (0.6, 0.4), name)
        torch.testing.assert_close(merged[name], expected, rtol=1e-5, atol=1e-5)
    error = refused(workshop, (2, operands[0]))
    assert "trained as a whole (bias)" in error.message
    assert "train with bias='none'" in str(error.hint)


def test_biases_of_one_adapter_beside_another_that_has_none(
    workshop: Any, architectures: Any
) -> None:
    base = architectures["gpt2"]
    one = workshop.train("one", lora("gpt2", bias="lora_only"), base())
    place = workshop.trained(lora("gpt2"), base(), seed=1)
    config = json.loads((place / "adapter_config.json").read_text())
    # PEFT's default; it may as well be missing.
    del config["bias"]
    (place / "adapter_config.json").write_text(json.dumps(config))
    other = workshop.operand(place, "other")
    layers = [ModuleFilter(first=n, last=n) for n in range(2)]
    blueprint = workshop.prepare("exact", (1, one, layers[0]), (1, other, layers[1]))
    assert blueprint.config["bias"] == "lora_only"
    name = "transformer.h.0.attn.c_attn.bias"
    merged = workshop.merged(workshop.write(blueprint), base())
    torch.testing.assert_close(merged[name], workshop.merged(one.path.parent, base())[name])


def test_trained_biases_of_other_types(workshop: Any, architectures: Any) -> None:
    from peft import AdaLoraConfig, VeraConfig

    base = architectures["gpt2"]
    shared = {"target_modules": ["c_attn"], "fan_in_fan_out": True}
    for settings in (
        lambda: AdaLoraConfig(bias="lora_only", init_r=2, total_step=9, **shared),
        lambda: VeraConfig(bias="vera_only", r=2, **shared),
    ):
        operands = several(workshop, base, settings)
        blueprint = workshop.prepare("elementwise", ("0.6", operands[0]), ("0.4", operands[1]))
        name = "transformer.h.0.attn.c_attn.bias"
        merged = workshop.merged(workshop.write(blueprint), base())
        expected = summed(workshop, base, operands, (0.6, 0.4), name)
        torch.testing.assert_close(merged[name], expected, rtol=1e-5, atol=1e-5)
        assert blueprint.config["bias"] == settings().bias


@pytest.mark.parametrize("indices", [[1, 5], {"embed_tokens": [2, 3]}])
def test_trained_tokens(workshop: Any, architectures: Any, indices: Any) -> None:
    base = architectures["llama"]
    tokens = {"trainable_token_indices": indices}
    operands = several(workshop, base, lambda: lora("llama", **tokens))
    blueprint = workshop.prepare("exact", ("0.6", operands[0]), ("0.4", operands[1]))
    assert blueprint.config["trainable_token_indices"] == indices
    merged = workshop.merged(workshop.write(blueprint), base())
    name = "model.embed_tokens.weight"
    expected = summed(workshop, base, operands, (0.6, 0.4), name)
    torch.testing.assert_close(merged[name], expected, rtol=1e-5, atol=1e-5)
    changed = (merged[name] != base().state_dict()[name]).any(1).nonzero().flatten().tolist()
    assert changed == (indices if isinstance(indices, list) else indices["embed_tokens"])
    other = workshop.train("other", lora("llama", trainable_token_indices=[4, 6]), base(), seed=9)
    error = refused(workshop, ("0.6", operands[0]), ("0.4", other))
    assert "trained other tokens of 'model.embed_tokens'" in error.message


def test_missing_values_are_named(workshop: Any, architectures: Any) -> None:
    place = workshop.trained(lora("llama"), architectures["llama"](), seed=1)
    for field in ("modules_to_save", "trainable_token_indices"):
        value = ["lm_head"] if field == "modules_to_save" else [1]
        one = workshop.operand(place, "one", **{field: value})
        assert (
            f"{field} is {value!r}, but there are no tensors" in refused(workshop, (1, one)).message
        )


def test_one_adapter_keeps_its_head_bit_for_bit(workshop: Any, architectures: Any) -> None:
    one, _ = several(
        workshop, architectures["llama"], lambda: lora("llama", modules_to_save=["lm_head"])
    )
    place = workshop.write(workshop.prepare("exact", (1, one)))
    name = "base_model.model.lm_head.weight"
    composed = load_file(place / "adapter_model.safetensors")
    assert torch.equal(composed[name], load_file(one.path)[name])

"""IA3 against real PEFT: sums of vectors around one, which is the base model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from isogloss.dsl.algebra import inspect
from isogloss.dsl.errors import IncompatibleError, UnsupportedError
from isogloss.dsl.meaning.plan import ModuleFilter
from isogloss.dsl.tensors.tensorfile import read_header
from safetensors.torch import load_file, save_file

SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "t5": {"target_modules": ["SelfAttention.v", "wo"], "feedforward_modules": ["wo"]},
    "gpt2": {
        "target_modules": ["c_attn", "mlp.c_proj"],
        "feedforward_modules": ["mlp.c_proj"],
        "fan_in_fan_out": True,
    },
}


def pair(workshop: Any, base: Any, **settings: Any) -> list[Any]:
    from peft import IA3Config

    return [workshop.train(f"a{n}", IA3Config(**settings), base(), seed=n + 1) for n in range(2)]


def vectors(place: Any) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix("base_model.model.").removesuffix(".ia3_l"): tensor
        for name, tensor in load_file(place).items()
    }


@pytest.mark.parametrize("semantics", ["elementwise", "exact"])
@pytest.mark.parametrize("family", SETTINGS)
def test_the_sum_is_around_one(
    workshop: Any, architectures: Any, family: str, semantics: str
) -> None:
    base, settings = architectures[family], SETTINGS[family]
    one, other = pair(workshop, base, **settings)
    place = workshop.write(workshop.prepare(semantics, ("0.6", one), ("-0.4", other)))
    weights, merged = base().state_dict(), workshop.merged(place, base())
    first, second = vectors(one.path), vectors(other.path)
    assert set(first) == set(vectors(place / "adapter_model.safetensors"))
    for module, vector in first.items():
        scale = 1 + 0.6 * (vector - 1) - 0.4 * (second[module] - 1)
        if settings.get("fan_in_fan_out"):
            scale = scale.T
        expected = weights[f"{module}.weight"] * scale
        torch.testing.assert_close(merged[f"{module}.weight"], expected, rtol=1e-5, atol=1e-6)
    # Merged or not, PEFT computes the same with it.
    whole = base()
    whole.load_state_dict(merged)
    torch.testing.assert_close(
        base.logits(workshop.load(place, base())), base.logits(whole), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("family", SETTINGS)
def test_identities_stay_identities(workshop: Any, architectures: Any, family: str) -> None:
    from peft import IA3Config, get_peft_model

    base = architectures[family]
    place = workshop.place()
    get_peft_model(base(), IA3Config(**SETTINGS[family])).save_pretrained(str(place))
    one = workshop.operand(place, "identity")
    plain = base.logits(base())
    other, _ = pair(workshop, base, **SETTINGS[family])
    early = ModuleFilter(modules="nothing|.")
    sums: list[tuple[Any, ...]] = [
        (("0.6", one), ("0.4", one), ("-0.4", one)),
        (("1/3", one), ("-17.1", one, early)),
        (("0.6", one), ("0.4", other), ("-0.4", other)),
    ]
    for terms in sums:
        result = workshop.write(workshop.prepare("elementwise", *terms))
        for vector in vectors(result / "adapter_model.safetensors").values():
            assert torch.equal(vector, torch.ones_like(vector))
        assert torch.equal(base.logits(workshop.load(result, base())), plain)


def test_one_adapter_as_it_is_is_copied(workshop: Any, architectures: Any) -> None:
    one, _ = pair(workshop, architectures["llama"], **SETTINGS["llama"])
    for dtype in ("float32", "bfloat16"):
        blueprint = workshop.prepare("exact", (1, one), dtype=dtype)
        composed = load_file(workshop.write(blueprint) / "adapter_model.safetensors")
        for name, tensor in load_file(one.path).items():
            assert torch.equal(composed[name], tensor.to(composed[name].dtype))


def test_a_module_that_one_lacks_counts_as_ones(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    one, _ = pair(workshop, base, **SETTINGS["llama"])
    _, other = pair(workshop, base, target_modules=["q_proj"], feedforward_modules=[])
    blueprint = workshop.prepare("exact", (2, one), ("-0.5", other))
    place = workshop.write(blueprint)
    composed = vectors(place / "adapter_model.safetensors")
    for module, vector in vectors(one.path).items():
        torch.testing.assert_close(composed[module], 1 + 2 * (vector - 1))
    for module, vector in vectors(other.path).items():
        torch.testing.assert_close(composed[module], 1 - 0.5 * (vector - 1))
    model = workshop.load(place, base())
    for name, module in model.named_modules():
        if hasattr(module, "ia3_l"):
            assert module.is_feedforward == name.endswith("down_proj")


def test_filters_choose_modules(workshop: Any, architectures: Any) -> None:
    base = architectures["gpt2"]
    one, _ = pair(workshop, base, **SETTINGS["gpt2"])
    first = ModuleFilter(first=0, last=0)
    place = workshop.write(workshop.prepare("elementwise", (2, one, first)))
    composed = vectors(place / "adapter_model.safetensors")
    assert set(composed) == {"transformer.h.0.attn.c_attn", "transformer.h.0.mlp.c_proj"}
    weights, merged = base().state_dict(), workshop.merged(place, base())
    changed = {name for name in weights if not torch.equal(weights[name], merged[name])}
    assert changed == {
        "transformer.h.0.attn.c_attn.weight",
        "transformer.h.0.attn.c_attn.bias",
        "transformer.h.0.mlp.c_proj.weight",
    } - {name for name in weights if not weights[name].any()}


def test_the_result_is_the_same_however_it_is_computed(workshop: Any, architectures: Any) -> None:
    one, other = pair(workshop, architectures["llama"], **SETTINGS["llama"])
    blueprint = workshop.prepare("exact", ("0.3", one), ("-1/3", other))
    limits: tuple[dict[str, int], ...] = ({}, {"threads": 1}, {"threads": 3, "budget_bytes": 900})
    assert len({workshop.digest(blueprint, **limit) for limit in limits}) == 1


def test_feedforward_modules_that_differ_are_refused(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    one, _ = pair(workshop, base, target_modules=["o_proj"], feedforward_modules=["o_proj"])
    _, other = pair(workshop, base, target_modules=["o_proj"], feedforward_modules=[])
    with pytest.raises(IncompatibleError, match="tensors of different shapes"):
        workshop.prepare("elementwise", (1, one), (1, other))
    with pytest.raises(UnsupportedError, match="IA3 has no semantics 'peft-linear'"):
        workshop.prepare("peft-linear", (1, one))


def test_inspection(workshop: Any, architectures: Any) -> None:
    one, _ = pair(workshop, architectures["llama"], **SETTINGS["llama"])
    header = read_header(one.path)
    found = inspect(one.config, header)
    assert (found.peft_type, found.rank, found.alpha, len(found.modules)) == ("IA3", None, None, 4)
    with pytest.raises(IncompatibleError, match="no feedforward module, but its vector is of"):
        inspect({**one.config, "feedforward_modules": []}, header)
    with pytest.raises(IncompatibleError, match="feedforward_modules is None, expected names"):
        inspect({**one.config, "feedforward_modules": None}, header)
    tensors = load_file(one.path)
    place = workshop.place() / "adapter_model.safetensors"
    save_file({**tensors, "base_model.model.lm_head.weight": torch.ones(2, 2)}, place)
    with pytest.raises(IncompatibleError, match="is none of IA3, and nothing in"):
        inspect(one.config, read_header(place))

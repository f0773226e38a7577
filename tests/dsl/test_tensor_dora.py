"""DoRA against real PEFT: factors summed, magnitudes averaged, refused where neither is right."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.meaning.plan import Derived, ModuleFilter, Plan, Term
from isogloss.dsl.tensors.blueprint import prepare
from safetensors.torch import load_file

TARGETS = {
    "llama": ["q_proj", "down_proj"],
    "t5": ["SelfAttention.q", "wo"],
    "gpt2": ["c_attn", "c_fc"],
}


def dora(family: str, **settings: Any) -> Any:
    from peft import LoraConfig

    given = {"target_modules": TARGETS[family], "r": 2, "lora_alpha": 3, "use_dora": True}
    return LoraConfig(**{**given, "fan_in_fan_out": family == "gpt2", **settings})


def several(workshop: Any, base: Any, count: int = 2, **settings: Any) -> list[Any]:
    return [
        workshop.train(f"a{n}", dora(base.name, **settings), base(), seed=n + 1)
        for n in range(count)
    ]


@pytest.mark.parametrize("family", TARGETS)
def test_the_merged_weights_are_those_of_the_summed_parameters(
    workshop: Any, architectures: Any, family: str
) -> None:
    base = architectures[family]
    operands, coefficients = several(workshop, base, 3), (0.6, 0.7, -0.3)
    blueprint = workshop.prepare("elementwise", *zip(("0.6", "0.7", "-0.3"), operands, strict=True))
    assert blueprint.config["use_dora"] is True
    place = workshop.write(blueprint)
    tensors = [load_file(operand.path) for operand in operands]
    summed = {
        name: sum(c * one[name].double() for c, one in zip(coefficients, tensors, strict=True))
        for name in tensors[0]
    }
    weights, merged = base().state_dict(), workshop.merged(place, base())
    modules = {name.split(".lora_")[0] for name in summed}
    for module in modules:
        weight = weights[f"{module.removeprefix('base_model.model.')}.weight"].double()
        weight = weight.T if family == "gpt2" else weight
        a, b, m = (
            summed[f"{module}.{name}"]
            for name in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")
        )
        direction = weight + 1.5 * b @ a
        expected = m[:, None] * direction / direction.norm(dim=1, keepdim=True)
        found = merged[f"{module.removeprefix('base_model.model.')}.weight"].double()
        found = found.T if family == "gpt2" else found
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    whole = base()
    whole.load_state_dict(merged)
    torch.testing.assert_close(
        base.logits(workshop.load(place, base())), base.logits(whole), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("semantics", ["elementwise", "exact", "onesided"])
def test_one_adapter_stays_what_it_is(workshop: Any, architectures: Any, semantics: str) -> None:
    base = architectures["llama"]
    (one,) = several(workshop, base, 1)
    place = workshop.write(workshop.prepare(semantics, (1, one)))
    before, after = (workshop.merged(p, base()) for p in (one.path.parent, place))
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=1e-5, atol=1e-6)
    # Filters leave modules out, and the base model's own norms with them.
    blueprint = workshop.prepare(semantics, (1, one, ModuleFilter(modules="q_proj")))
    changes = workshop.changes(workshop.write(blueprint), base)
    assert changes and all("q_proj" in name for name in changes)


def refused(workshop: Any, semantics: str, *terms: Any) -> IncompatibleError:
    with pytest.raises(IncompatibleError) as caught:
        workshop.prepare(semantics, *terms)
    return caught.value


def test_coefficients_that_do_not_sum_to_one_are_refused(workshop: Any, architectures: Any) -> None:
    one, other = several(workshop, architectures["llama"])
    error = refused(workshop, "elementwise", ("0.6", one), ("0.5", other))
    assert "is a DoRA adapter: its magnitudes of" in error.message
    assert error.message.endswith("the coefficients sum to 1.1 there, expected 1")
    assert "must sum to 1 (as in mean(...))" in str(error.hint)


def test_sums_of_updates_are_refused(workshop: Any, architectures: Any) -> None:
    one, other = several(workshop, architectures["llama"])
    for semantics in ("exact", "onesided"):
        error = refused(workshop, semantics, ("0.5", one), ("0.5", other))
        assert f"there is no sum of updates for {semantics}" in error.message
        assert f"leave {semantics}(...) out" in str(error.hint)
    error = refused(workshop, "peft-linear", (1, one))
    assert "which PEFT's add_weighted_adapter loses" in error.message


def test_a_result_is_dora_at_all_modules_or_none(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    (one,) = several(workshop, base, 1)
    plain = workshop.train("plain", dora("llama", use_dora=False), base(), seed=5)
    queries, others = ModuleFilter(modules="q_proj"), ModuleFilter(modules="down_proj")
    error = refused(workshop, "exact", (1, one, queries), (1, plain, others))
    assert "PEFT takes all modules for DoRA or none" in error.message
    assert "'plain'" in error.message


def test_missing_magnitudes_are_named(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    place = workshop.trained(dora("llama", use_dora=False), base(), seed=1)
    one = workshop.operand(place, "one", use_dora=True)
    error = refused(workshop, "elementwise", (1, one))
    assert "use_dora is True, but there are no tensors of it" in error.message


def test_functions_of_values_know_no_magnitudes(workshop: Any, architectures: Any) -> None:
    one, other = several(workshop, architectures["llama"])
    operands = tuple(workshop.plan("elementwise", (1, operand)) for operand in (one, other))
    options = (
        ("density", Fraction(1, 2)),
        ("majority_sign_method", "total"),
        ("normalize", "count"),
    )
    plan = Plan("elementwise", (Term(Fraction(1), Derived("ties", options, operands)),))
    with pytest.raises(IncompatibleError, match=r"trained as a whole \(use_dora\)"):
        prepare(plan, {operand.key: operand for operand in (one, other)}, None)

"""LoKr against real PEFT: Kronecker products of sums, and the exact form of one adapter."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from isogloss.dsl.algebra import inspect
from isogloss.dsl.errors import IncompatibleError, UnsupportedError
from isogloss.dsl.meaning.plan import ModuleFilter
from isogloss.dsl.tensors.tensorfile import read_header
from safetensors.torch import load_file

# Both halves whole, W2 factored, and both factored.
SETTINGS: dict[str, dict[str, Any]] = {
    "whole": {"r": 8, "alpha": 3},
    "factored": {"r": 1, "alpha": 2},
    "both": {"r": 1, "alpha": 4, "decompose_both": True, "decompose_factor": 3},
}
# PEFT has no LoKr for GPT-2, whose layers are Conv1D.
TARGETS = {"llama": ["q_proj", "down_proj"], "t5": ["SelfAttention.q", "wo"]}


def lokr(**settings: Any) -> Any:
    from peft import LoKrConfig

    return LoKrConfig(**{"rank_dropout": 0.3, "module_dropout": 0.2, **settings})


def pair(workshop: Any, base: Any, **settings: Any) -> list[Any]:
    return [workshop.train(f"a{n}", lokr(**settings), base(), seed=n) for n in range(2)]


def by_hand(tensors: dict[str, torch.Tensor], module: str, scaling: float) -> torch.Tensor:
    def half(n: int) -> torch.Tensor:
        name = f"base_model.model.{module}.lokr_w{n}"
        if name in tensors:
            return tensors[name]
        return tensors[f"{name}_a"] @ tensors[f"{name}_b"]

    return scaling * torch.kron(half(1), half(2))


def modules(tensors: dict[str, torch.Tensor]) -> set[str]:
    return {n.removeprefix("base_model.model.").rpartition(".lokr_")[0] for n in tensors}


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("family", TARGETS)
def test_elementwise_sums_every_factor(
    workshop: Any, architectures: Any, family: str, kind: str
) -> None:
    base = architectures[family]
    one, other = pair(workshop, base, target_modules=TARGETS[family], **SETTINGS[kind])
    blueprint = workshop.prepare("elementwise", ("0.6", one), ("-0.4", other))
    place = workshop.write(blueprint)
    first, second = load_file(one.path), load_file(other.path)
    summed = {name: 0.6 * first[name] - 0.4 * second[name] for name in first}
    composed = load_file(place / "adapter_model.safetensors")
    assert composed.keys() == summed.keys()
    for name, tensor in composed.items():
        torch.testing.assert_close(tensor, summed[name])
    scaling = SETTINGS[kind]["alpha"] / SETTINGS[kind]["r"]
    changes = workshop.changes(place, base)
    assert changes.keys() >= {f"{module}.weight" for module in modules(summed)}
    for module in modules(summed):
        expected = by_hand(summed, module, scaling)
        torch.testing.assert_close(changes[f"{module}.weight"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("family", TARGETS)
def test_exact_of_one_adapter_is_linear(
    workshop: Any, architectures: Any, family: str, kind: str
) -> None:
    base = architectures[family]
    settings = lokr(target_modules=TARGETS[family], **SETTINGS[kind])
    one = workshop.train("one", settings, base(), seed=3)
    single = workshop.changes(one.path.parent, base)
    composed = workshop.changes(workshop.write(workshop.prepare("exact", ("-0.5", one))), base)
    assert composed.keys() == single.keys()
    for name, change in composed.items():
        torch.testing.assert_close(change, -0.5 * single[name], rtol=1e-4, atol=1e-5)


def test_exact_of_adapters_at_different_modules(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    one, other = pair(workshop, base, target_modules=["q_proj", "v_proj"], r=1, alpha=2)
    filters = ModuleFilter(modules="q_proj"), ModuleFilter(modules="v_proj")
    blueprint = workshop.prepare("exact", (2, one, filters[0]), (-1, other, filters[1]))
    changes = workshop.changes(workshop.write(blueprint), base)
    parts = [workshop.changes(operand.path.parent, base) for operand in (one, other)]
    for name in parts[0]:
        expected = 2 * parts[0][name] if "q_proj" in name else -parts[1][name]
        torch.testing.assert_close(changes[name], expected, rtol=1e-4, atol=1e-5)


def test_exact_of_two_is_refused(workshop: Any, architectures: Any) -> None:
    one, other = pair(workshop, architectures["llama"], target_modules=["q_proj"])
    with pytest.raises(IncompatibleError) as caught:
        workshop.prepare("exact", (1, one), (1, other))
    assert "a sum of 2 Kronecker products is no LoKr adapter" in caught.value.message
    assert "leave exact(...) out" in str(caught.value.hint)


@pytest.mark.parametrize("tucker", [False, True])
def test_a_convolution_and_its_tucker_core(workshop: Any, tiny_model: Any, tucker: bool) -> None:
    class Picture(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = torch.nn.Conv2d(6, 8, (3, 2))

    settings = {"target_modules": ["conv"], "r": 1, "alpha": 2, "use_effective_conv2d": tucker}
    operands = [workshop.train(f"a{n}", lokr(**settings), Picture(), seed=n) for n in range(2)]
    tensors = [load_file(operand.path) for operand in operands]
    assert any("lokr_t2" in name for name in tensors[0]) == tucker
    blueprint = workshop.prepare("elementwise", (2, operands[0]), (-1, operands[1]))
    place = workshop.write(blueprint)
    updates = workshop.updates(place, Picture())
    summed = {n: (2 * tensors[0][n] - tensors[1][n]).double() for n in tensors[0]}
    short = {name.rpartition("lokr_")[2]: tensor for name, tensor in summed.items()}
    if tucker:
        w2 = torch.einsum("ijkl,ip,jr->prkl", short["t2"], short["w2_a"], short["w2_b"])
        expected = 2 * torch.kron(short["w1"][:, :, None, None], w2)
    else:
        expected = 2 * torch.kron(short["w1"], short["w2_a"] @ short["w2_b"])
    torch.testing.assert_close(updates["conv"], expected.reshape(8, 6, 3, 2))


def test_patterns_of_rank_and_alpha(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    settings = {"rank_pattern": {"down_proj": 1}, "alpha_pattern": {"q_proj": 5}, "r": 8}
    one, other = pair(workshop, base, target_modules=["q_proj", "down_proj"], **settings)
    blueprint = workshop.prepare("elementwise", (1, one), (1, other))
    first, second = load_file(one.path), load_file(other.path)
    changes = workshop.changes(workshop.write(blueprint), base)
    summed = {name: first[name] + second[name] for name in first}
    for module in modules(summed):
        scaling = 5 / 8 if "q_proj" in module else 8.0
        expected = by_hand(summed, module, scaling)
        torch.testing.assert_close(changes[f"{module}.weight"], expected, rtol=1e-4, atol=1e-4)


def test_inspection(workshop: Any, architectures: Any) -> None:
    one, _ = pair(workshop, architectures["llama"], target_modules=["q_proj"], r=2, alpha=6)
    found = inspect(one.config, read_header(one.path))
    assert (found.peft_type, found.rank, found.alpha) == ("LOKR", 2, 6.0)
    assert found.modules == tuple(f"model.layers.{n}.self_attn.q_proj" for n in range(2))
    with pytest.raises(IncompatibleError, match="targets 'k_proj', but there are no tensors"):
        inspect({**one.config, "target_modules": ["q_proj", "k_proj"]}, read_header(one.path))
    factored, _ = pair(workshop, architectures["llama"], target_modules=["q_proj"], r=1)
    with pytest.raises(IncompatibleError, match="rank 2, but"):
        inspect({**factored.config, "r": 2}, read_header(factored.path))


def test_what_differs_is_refused(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]

    def refused(*operands: Any) -> IncompatibleError:
        with pytest.raises(IncompatibleError) as caught:
            workshop.prepare("elementwise", *((1, operand) for operand in operands))
        return caught.value

    plain, _ = pair(workshop, base, target_modules=["q_proj"])
    scaled = workshop.train("scaled", lokr(target_modules=["q_proj"], alpha=5), base(), seed=9)
    assert "need equal scalings" in refused(plain, scaled).message
    factored = workshop.train("small", lokr(target_modules=["q_proj"], r=1, alpha=1), base())
    assert "tensors of different shapes" in refused(plain, factored).message
    more = workshop.train("more", lokr(target_modules=["q_proj", "v_proj"]), base(), seed=8)
    assert "'a0' has no factors for" in refused(plain, more).message
    odd = replace(plain, config={**plain.config, "next_years": True})
    assert "'next_years' set to True" in refused(odd).message
    with pytest.raises(UnsupportedError, match="LoKr has no semantics 'onesided'"):
        workshop.prepare("onesided", (Fraction(1), plain))

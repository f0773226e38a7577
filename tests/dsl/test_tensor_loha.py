"""LoHa against real PEFT: Hadamard products of sums, and the exact form of one adapter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from isogloss.dsl.algebra import inspect
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.tensors.tensorfile import read_header
from safetensors.torch import load_file

# PEFT has no LoHa for GPT-2, whose layers are Conv1D.
TARGETS = {"llama": ["q_proj", "down_proj"], "t5": ["SelfAttention.q", "wo"]}


def loha(**settings: Any) -> Any:
    from peft import LoHaConfig

    return LoHaConfig(**{"r": 2, "alpha": 3, "rank_dropout": 0.3, **settings})


def by_hand(tensors: dict[str, torch.Tensor], module: str) -> torch.Tensor:
    w1_a, w1_b, w2_a, w2_b = (
        tensors[f"base_model.model.{module}.hada_{name}"]
        for name in ("w1_a", "w1_b", "w2_a", "w2_b")
    )
    return (w1_a @ w1_b) * (w2_a @ w2_b)


@pytest.mark.parametrize("family", TARGETS)
def test_sums_and_the_exact_form_of_one(workshop: Any, architectures: Any, family: str) -> None:
    base = architectures[family]
    one, other = (
        workshop.train(f"a{n}", loha(target_modules=TARGETS[family]), base(), seed=n)
        for n in range(2)
    )
    first, second = load_file(one.path), load_file(other.path)
    summed = {name: 0.6 * first[name] - 0.4 * second[name] for name in first}
    blueprint = workshop.prepare("elementwise", ("0.6", one), ("-0.4", other))
    changes = workshop.changes(workshop.write(blueprint), base)
    modules = {n.removeprefix("base_model.model.").rpartition(".hada_")[0] for n in first}
    assert changes.keys() >= {f"{module}.weight" for module in modules}
    for module in modules:
        expected = 1.5 * by_hand(summed, module)
        torch.testing.assert_close(changes[f"{module}.weight"], expected, rtol=1e-4, atol=1e-5)
    exact = workshop.changes(workshop.write(workshop.prepare("exact", ("-0.5", one))), base)
    for module in modules:
        expected = -0.75 * by_hand(first, module)
        torch.testing.assert_close(exact[f"{module}.weight"], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(IncompatibleError, match="a sum of 2 Hadamard products is no LoHa adapter"):
        workshop.prepare("exact", (1, one), (1, other))


def test_tucker_cores_of_a_convolution(workshop: Any) -> None:
    class Picture(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = torch.nn.Conv2d(6, 8, (3, 2))

    settings = loha(target_modules=["conv"], use_effective_conv2d=True)
    one, other = (workshop.train(f"a{n}", settings, Picture(), seed=n) for n in range(2))
    first, second = load_file(one.path), load_file(other.path)
    short = {n.rpartition("hada_")[2]: (2 * first[n] - second[n]).double() for n in first}
    halves = [
        torch.einsum("ijkl,jr,ip->prkl", short[f"t{n}"], short[f"w{n}_b"], short[f"w{n}_a"])
        for n in (1, 2)
    ]
    blueprint = workshop.prepare("elementwise", (2, one), (-1, other))
    updates = workshop.updates(workshop.write(blueprint), Picture())
    torch.testing.assert_close(updates["conv"], 1.5 * halves[0] * halves[1], check_dtype=False)


def test_inspection(workshop: Any, architectures: Any) -> None:
    settings = loha(target_modules=["q_proj"])
    one = workshop.train("one", settings, architectures["llama"](), seed=1)
    found = inspect(one.config, read_header(one.path))
    assert (found.peft_type, found.rank, found.alpha, len(found.modules)) == ("LOHA", 2, 3.0, 2)
    with pytest.raises(IncompatibleError, match="rank 4, but"):
        inspect({**one.config, "r": 4}, read_header(one.path))

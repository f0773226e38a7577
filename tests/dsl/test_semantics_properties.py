"""What `exact` promises, for any adapters: it is linear, and depends on the updates alone."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

FEW = settings(max_examples=8, deadline=None, derandomize=True)
ALL = ["layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v", "conv", "embed", "grouped", "q"]
COEFFICIENTS = st.fractions(-3, 3, max_denominator=20).filter(bool)
RANKS, ALPHAS = st.sampled_from([2, 4, 6]), st.sampled_from([1, 3, 16])


@st.composite
def adapters(draw: st.DrawFn, workshop: Any, most: int = 3) -> list[Any]:
    """Adapters of any ranks, scalings and targets."""
    return [
        workshop.adapter(
            f"a{number}",
            r=draw(RANKS),
            lora_alpha=draw(ALPHAS),
            use_rslora=draw(st.booleans()),
            target_modules=draw(st.lists(st.sampled_from(ALL), min_size=1, unique=True)),
            seed=draw(st.integers(0, 2**31)),
        )
        for number in range(draw(st.integers(1, most)))
    ]


def updates(workshop: Any, coefficients: list[Fraction], made: list[Any]) -> dict[str, Any]:
    terms = zip(coefficients, made, strict=True)
    return workshop.updates(workshop.write(workshop.prepare("exact", *terms, dtype="float32")))


def close(one: torch.Tensor, other: torch.Tensor, size: float) -> bool:
    return bool((one - other).abs().max() <= 16 * torch.finfo(torch.float32).eps * size)


@FEW
@given(data=st.data())
def test_exact_is_linear_in_every_coefficient(workshop: Any, data: st.DataObject) -> None:
    """A coefficient changed by d changes the update by d times its adapter's, and by no more."""
    made = data.draw(adapters(workshop))
    coefficients = [data.draw(COEFFICIENTS) for _ in made]
    before = updates(workshop, coefficients, made)
    alone = [workshop.updates(adapter.path.parent) for adapter in made]
    for number in range(len(made)):
        other = data.draw(COEFFICIENTS)
        after = updates(
            workshop, [*coefficients[:number], other, *coefficients[number + 1 :]], made
        )
        step = float(other - coefficients[number])
        assert after.keys() == before.keys()
        for module, update in after.items():
            expected = before[module] + step * alone[number].get(module, torch.zeros(()))
            sizes = [one[module].abs().max() for one in alone if module in one]
            assert close(update, expected, float(6 * sum(sizes))), module


@FEW
@given(data=st.data())
def test_exact_is_homogeneous(workshop: Any, data: st.DataObject) -> None:
    made = data.draw(adapters(workshop))
    coefficients = [data.draw(COEFFICIENTS) for _ in made]
    factor = data.draw(COEFFICIENTS)
    before = updates(workshop, coefficients, made)
    after = updates(workshop, [factor * one for one in coefficients], made)
    for module, update in after.items():
        expected = float(factor) * before[module]
        assert close(update, expected, 1 + float(expected.abs().max()) * 8), module


def is_a(name: str) -> bool:
    return "lora_A" in name or "lora_embedding_A" in name


def rewritten(workshop: Any, operand: Any, tensors: dict[str, torch.Tensor]) -> Any:
    place = workshop.place()
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, place / "adapter_model.safetensors", metadata={"format": "pt"})
    (place / "adapter_config.json").write_text(json.dumps(operand.config))
    return workshop.operand(place, f"{operand.label} rewritten")


@FEW
@given(data=st.data())
def test_exact_knows_no_order_of_the_rank(workshop: Any, data: st.DataObject) -> None:
    """The rows of A and the columns of B in any order, another one at each module."""
    made = data.draw(adapters(workshop))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    first = load_file(made[0].path)
    permuted = dict(first)
    for name, a in first.items():
        if is_a(name):
            other = name.replace("lora_A", "lora_B").replace("lora_embedding_A", "lora_embedding_B")
            b = first[other]
            # A convolution in groups has the rows of each group in B's one set of columns.
            order = torch.randperm(b.shape[1], generator=generator)
            starts = range(0, a.shape[0], b.shape[1])
            permuted[name] = a[torch.cat([start + order for start in starts])]
            permuted[other] = b[:, order]
    equal(workshop, data, made, permuted)


@FEW
@given(data=st.data(), power=st.integers(-3, 3))
def test_exact_knows_no_gauge(workshop: Any, data: st.DataObject, power: int) -> None:
    """4 A with B / 4 is the same update, and so is any other power of two."""
    made = data.draw(adapters(workshop))
    factor = 4.0**power
    tensors = load_file(made[0].path)
    scaled = {n: t * factor if is_a(n) else t / factor for n, t in tensors.items()}
    equal(workshop, data, made, scaled)


def equal(
    workshop: Any, data: st.DataObject, made: list[Any], tensors: dict[str, torch.Tensor]
) -> None:
    coefficients = [data.draw(COEFFICIENTS) for _ in made]
    changed = [rewritten(workshop, made[0], tensors), *made[1:]]
    expected = updates(workshop, coefficients, made)
    for module, update in updates(workshop, coefficients, changed).items():
        size = 1 + float(expected[module].abs().max()) * 8
        assert close(update, expected[module], size), module

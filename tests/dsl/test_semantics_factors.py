"""The rules that sum factors, against PEFT: its own linear combination, and its scalings."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.algebra.lora_rules import RULES
from isogloss.dsl.algebra.scaling import Scaling
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.meaning.plan import ModuleFilter
from safetensors.torch import load_file

FEW = settings(max_examples=8, deadline=None, derandomize=True)
LINEAR = ["layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v"]
ALL = [*LINEAR, "conv", "embed", "q"]
PREFIX = "base_model.model."
COEFFICIENTS = st.fractions(-3, 3, max_denominator=20).filter(bool)
SEMANTICS = ["elementwise", "exact", "onesided", "peft-linear"]


def whole(module: str) -> str:
    """A pattern for one module: PEFT sorts them when it saves, so that none may overlap."""
    return f"^{re.escape(module)}"


@st.composite
def lora_settings(draw: st.DrawFn, modules: list[str], ranks: dict[str, int]) -> dict[str, Any]:
    """Anything that changes scalings; the ranks and the modules are given."""
    alphas = st.sampled_from([1, 2, 3, 4, 16])
    patterns = st.dictionaries(st.sampled_from(modules).map(whole), alphas, max_size=2)
    return {
        "r": 4,
        "rank_pattern": {whole(module): rank for module, rank in ranks.items()},
        "lora_alpha": draw(alphas),
        "alpha_pattern": draw(patterns),
        "use_rslora": draw(st.booleans()),
        "target_modules": modules,
        "seed": draw(st.integers(0, 2**31)),
        "dtype": draw(st.sampled_from([torch.float32, torch.bfloat16])),
    }


@st.composite
def sums(draw: st.DrawFn, workshop: Any, *, equal_modules: bool) -> list[tuple[Fraction, Any]]:
    lists = st.lists(st.sampled_from(ALL), min_size=1, unique=True)
    modules = draw(lists)
    ranks = draw(st.dictionaries(st.sampled_from(modules), st.sampled_from([2, 3]), max_size=2))
    terms = []
    for number in range(draw(st.integers(1, 3))):
        # A pattern that matches no module is a warning of PEFT's, and so an error here.
        targets = modules if equal_modules else sorted({*draw(lists), *ranks})
        made = workshop.adapter(f"a{number}", **draw(lora_settings(targets, ranks)))
        terms.append((draw(COEFFICIENTS), made))
    return terms


def by_peft(workshop: Any, terms: list[tuple[Fraction, Any]]) -> dict[str, torch.Tensor]:
    """The factors that PEFT's own linear combination gives."""
    names = [f"n{number}" for number in range(len(terms))]
    folders = [str(operand.path.parent) for _, operand in terms]
    model = workshop.load(terms[0][1].path.parent)
    for name, folder in zip(names, folders, strict=True):
        model.load_adapter(folder, adapter_name=name)
    weights = [float(coefficient) for coefficient, _ in terms]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will be .*merged.*")
        model.add_weighted_adapter(names, weights, "composed", combination_type="linear")
    found = {}
    for name, parameter in model.named_parameters():
        if ".composed" in name:
            found[name.replace(".composed", "")] = parameter.detach()
    return found


@FEW
@given(data=st.data())
def test_peft_linear_is_what_peft_does(workshop: Any, data: st.DataObject) -> None:
    """Also where ranks are patterns and targets differ, of which PEFT saves nothing loadable."""
    terms = data.draw(sums(workshop, equal_modules=False))
    blueprint = workshop.prepare("peft-linear", *terms, dtype="float32")
    composed = load_file(workshop.write(blueprint) / "adapter_model.safetensors")
    expected = by_peft(workshop, terms)
    assert composed.keys() == expected.keys()
    largest = max(abs(float(c)) for c, _ in terms) * 16
    for name, tensor in composed.items():
        bound = 4 * torch.finfo(torch.float32).eps * math.sqrt(largest) * len(terms) * 6
        assert (tensor - expected[name]).abs().max() <= bound, name


@pytest.mark.parametrize("rslora", [False, True])
def test_peft_linear_has_pefts_update(workshop: Any, rslora: bool) -> None:
    """PEFT's result is used with scaling 1, but with the root of the rank if rsLoRA came first."""
    terms = [
        (Fraction("0.6"), workshop.adapter("a", seed=1, r=4, lora_alpha=8, use_rslora=rslora)),
        (Fraction("-0.4"), workshop.adapter("b", seed=2, r=4, lora_alpha=2)),
    ]
    model = workshop.load(terms[0][1].path.parent)
    model.load_adapter(str(terms[1][1].path.parent), adapter_name="other")
    weights = [float(coefficient) for coefficient, _ in terms]
    model.add_weighted_adapter(["default", "other"], weights, "composed", "linear")
    blueprint = workshop.prepare("peft-linear", *terms)
    assert (blueprint.config["r"], blueprint.config["lora_alpha"]) == (4, 4)
    assert blueprint.config["use_rslora"] is False
    for module, update in workshop.updates(workshop.write(blueprint)).items():
        theirs = model.get_submodule(PREFIX + module).get_delta_weight("composed").detach()
        torch.testing.assert_close(
            update, theirs.double() / (2 if rslora else 1), rtol=1e-5, atol=1e-5
        )


def mixed(semantics: str, parts: list[tuple[float, float, Any, Any]]) -> torch.Tensor:
    """The update that a semantics gives, of (c, s, A, B) of each adapter, in float64."""
    if semantics == "exact":
        return sum(c * s * (b @ a) for c, s, a, b in parts)
    if semantics == "elementwise":
        return parts[0][1] * sum(c * b for c, _, _, b in parts) @ sum(c * a for c, _, a, _ in parts)
    if semantics == "onesided":
        return sum(c * s * b for c, s, _, b in parts) @ sum(abs(c) * a for c, _, a, _ in parts)
    roots = [math.sqrt(abs(c * s)) for c, s, _, _ in parts]
    signed = [math.copysign(root, c * s) for root, (c, s, _, _) in zip(roots, parts, strict=True)]
    b = sum(root * b for root, (_, _, _, b) in zip(roots, parts, strict=True))
    return b @ sum(root * a for root, (_, _, a, _) in zip(signed, parts, strict=True))


@pytest.mark.parametrize("semantics", SEMANTICS)
@FEW
@given(data=st.data())
def test_scalings_are_pefts_under_every_semantics(
    workshop: Any, semantics: str, data: st.DataObject
) -> None:
    """rsLoRA, rank_pattern and alpha_pattern: each module has the scaling that PEFT gives it."""
    terms = data.draw(sums(workshop, equal_modules=True))
    if semantics == "elementwise":
        # All must have one scaling there: the same adapter's settings with other factors.
        first = terms[0][1]
        terms = [(c, rewritten(workshop, first, n)) for n, (c, _) in enumerate(terms)]
    blueprint = workshop.prepare(semantics, *terms, dtype="float32")
    composed = workshop.updates(workshop.write(blueprint))
    models = [(float(c), workshop.load(operand.path.parent)) for c, operand in terms]
    for module, update in composed.items():
        parts = []
        for c, model in models:
            layer = model.get_submodule(PREFIX + module)
            a, b = (
                (layer.lora_embedding_A["default"], layer.lora_embedding_B["default"])
                if module == "embed"
                else (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
            )
            factors = a.detach().double().flatten(1), b.detach().double().flatten(1)
            parts.append((c, layer.scaling["default"], *factors))
        expected = mixed(semantics, parts)
        expected = expected.T if module == "embed" else expected.reshape(update.shape)
        size = max(1.0, sum(abs(c) * s for c, s, _, _ in parts)) ** 2
        assert (update - expected).abs().max() <= 2e-4 * size, module


def rewritten(workshop: Any, operand: Any, seed: int) -> Any:
    """An adapter of the same settings with other numbers."""
    import json

    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.empty(tensor.shape).normal_(generator=generator).to(tensor.dtype)
        for name, tensor in load_file(operand.path).items()
    }
    place = workshop.place()
    save_file(tensors, place / "adapter_model.safetensors", metadata={"format": "pt"})
    (place / "adapter_config.json").write_text(json.dumps(operand.config))
    return workshop.operand(place, f"{operand.label} {seed}")


@pytest.mark.parametrize("semantics", ["onesided", "peft-linear"])
def test_the_result_is_the_same_however_it_is_computed(workshop: Any, semantics: str) -> None:
    adapters = [
        workshop.adapter(f"a{n}", seed=n, r=4, lora_alpha=n + 1, target_modules=ALL)
        for n in range(4)
    ]
    terms = [(Fraction(n - 2, 7) or 1, adapter) for n, adapter in enumerate(adapters)]
    digests = {
        workshop.digest(workshop.prepare(semantics, *order, dtype="bfloat16"), **limits)
        for order in itertools.islice(itertools.permutations(terms), 0, None, 5)
        for limits in ({}, {"threads": 1}, {"threads": 3}, {"threads": 2, "budget_bytes": 9000})
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("semantics", "factor"),
    [("onesided", lambda c: c * abs(c)), ("peft-linear", lambda c: c)],
)
@pytest.mark.parametrize("coefficient", [0.5, -0.5, 0.25])
def test_one_scaled_adapter(workshop: Any, semantics: str, factor: Any, coefficient: float) -> None:
    adapter = workshop.adapter("a", seed=3, r=4, lora_alpha=8)
    composed = workshop.updates(workshop.write(workshop.prepare(semantics, (coefficient, adapter))))
    for module, update in workshop.updates(adapter.path.parent).items():
        torch.testing.assert_close(
            composed[module], factor(coefficient) * update, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("semantics", ["onesided", "peft-linear"])
def test_filters_leave_the_other_modules_out(workshop: Any, semantics: str) -> None:
    one = workshop.adapter("one", seed=1, r=4, lora_alpha=4, target_modules=ALL)
    other = workshop.adapter("other", seed=2, r=4, lora_alpha=4, target_modules=ALL)
    blueprint = workshop.prepare(
        semantics,
        (4, one, ModuleFilter(modules=r"\.q$")),
        (-1, other, ModuleFilter(first=1)),
        dtype="float32",
    )
    assert blueprint.config["target_modules"] == ["layers.0.q", "layers.1.q", "layers.1.v"]
    composed = load_file(workshop.write(blueprint) / "adapter_model.safetensors")
    a, b = load_file(one.path), load_file(other.path)
    first, last = (f"{PREFIX}layers.{name}.lora_A.weight" for name in ("0.q", "1.v"))
    assert torch.equal(composed[first], (4 if semantics == "onesided" else 2) * a[first])
    assert torch.equal(composed[last], (1 if semantics == "onesided" else -1) * b[last])


@pytest.mark.parametrize("semantics", ["onesided", "peft-linear"])
def test_ranks_must_be_equal_at_every_module(workshop: Any, semantics: str) -> None:
    one = workshop.adapter("one", seed=1, r=4)
    other = workshop.adapter("other", seed=2, r=4, rank_pattern={"layers.1.v": 2})
    with pytest.raises(IncompatibleError) as caught:
        workshop.prepare(semantics, (1, one), (1, other))
    message = str(caught.value)
    assert f"{semantics} sums need equal ranks, but at 'layers.1.v'" in message
    assert "'one' has 4 and 'other' has 2" in message
    assert "exact(...)" in message
    early = ModuleFilter(first=0, last=0)
    assert workshop.prepare(semantics, (1, one, early), (1, other, early)).rank == 4


def test_modules_must_be_equal_where_peft_does_not_say_otherwise(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1, target_modules=LINEAR[:2])
    other = workshop.adapter("other", seed=2, target_modules=LINEAR)
    with pytest.raises(IncompatibleError, match="onesided sums need the same modules"):
        workshop.prepare("onesided", (1, one), (1, other))
    updates = workshop.updates(other.path.parent)
    blueprint = workshop.prepare("peft-linear", ("-0.5", other), (1, one))
    for module, update in workshop.updates(workshop.write(blueprint)).items():
        if ".1." in module:
            torch.testing.assert_close(update, -0.5 * updates[module], rtol=1e-5, atol=1e-5)


@given(st.fractions(-(10**6), 10**6, max_denominator=10**6).filter(bool), st.booleans())
@FEW
def test_square_roots_are_those_of_float64_rounded_once(value: Fraction, rslora: bool) -> None:
    scaling = Scaling(Fraction(16), 4, rslora)
    in_a, in_b = RULES["peft-linear"].weights(value, scaling)
    root = math.sqrt(abs(value * (8 if rslora else 4)))
    assert in_b == torch.tensor(root, dtype=torch.float64).to(torch.float32).item()
    assert in_a == math.copysign(in_b, value)

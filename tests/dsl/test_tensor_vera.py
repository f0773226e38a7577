"""VeRA against real PEFT: sums of vectors around shared projections, which must be the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from isogloss.dsl.algebra import inspect
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.meaning.plan import ModuleFilter
from isogloss.dsl.tensors.tensorfile import read_header
from safetensors.torch import load_file

pytestmark = pytest.mark.filterwarnings("ignore:Specified to not (load|save) vera_A:UserWarning")

TARGETS = {
    "llama": ["q_proj", "down_proj"],
    "t5": ["SelfAttention.q", "wo"],
    "gpt2": ["c_attn", "c_fc"],
}


def vera(family: str, **settings: Any) -> Any:
    from peft import VeraConfig

    given = {"target_modules": TARGETS[family], "fan_in_fan_out": family == "gpt2", "r": 3}
    return VeraConfig(**{**given, **settings})


def pair(workshop: Any, base: Any, **settings: Any) -> list[Any]:
    return [workshop.train(f"a{n}", vera(base.name, **settings), base(), seed=n) for n in range(2)]


@pytest.mark.parametrize("family", TARGETS)
def test_elementwise_sums_the_vectors(workshop: Any, architectures: Any, family: str) -> None:
    base = architectures[family]
    one, other = pair(workshop, base)
    place = workshop.write(workshop.prepare("elementwise", ("0.6", one), ("-0.4", other)))
    first, second = load_file(one.path), load_file(other.path)
    summed = {name: 0.6 * first[name] - 0.4 * second[name] for name in first if "lambda" in name}
    a, b = (first[f"base_model.vera_{letter}"] for letter in "AB")
    changes = workshop.changes(place, base)
    modules = {n.removeprefix("base_model.model.").rpartition(".vera_")[0] for n in summed}
    assert changes.keys() >= {f"{module}.weight" for module in modules}
    for module in modules:
        lambda_b, lambda_d = (
            summed[f"base_model.model.{module}.vera_lambda_{letter}"] for letter in "bd"
        )
        change = changes[f"{module}.weight"]
        rows, columns = change.T.shape if family == "gpt2" else change.shape
        update = (lambda_b[:, None] * b[:rows]) @ (lambda_d[:, None] * a[:, :columns])
        expected = update.T if family == "gpt2" else update
        torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("saved", [True, False])
def test_exact_of_one_is_linear_and_filters_leave_nothing(
    workshop: Any, architectures: Any, saved: bool
) -> None:
    base = architectures["llama"]
    one, other = pair(workshop, base, save_projection=saved)
    narrow = ModuleFilter(modules="q_proj")
    blueprint = workshop.prepare("exact", ("-0.5", one, narrow))
    changes = workshop.changes(workshop.write(blueprint), base)
    single = workshop.changes(one.path.parent, base)
    assert changes.keys() == {name for name in single if "q_proj" in name}
    for name, change in changes.items():
        torch.testing.assert_close(change, -0.5 * single[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(IncompatibleError, match="a sum of 2 VeRA updates"):
        workshop.prepare("exact", (1, one), (1, other))
    # Without saved projections PEFT draws the same ones again.
    blueprint = workshop.prepare("elementwise", ("0.5", one), ("0.5", one, narrow), (0.5, other))
    assert blueprint.config["save_projection"] is saved
    assert any(tensor.name == "base_model.vera_A" for tensor in blueprint.tensors) == saved
    workshop.load(workshop.write(blueprint), base())


def test_projections_that_differ_are_refused(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]

    def refused(*operands: Any) -> str:
        with pytest.raises(IncompatibleError) as caught:
            workshop.prepare("elementwise", *((1, operand) for operand in operands))
        assert "save_projection=True" in str(caught.value.hint)
        return str(caught.value.message)

    one, _ = pair(workshop, base)
    other, _ = pair(workshop, base, projection_prng_key=7)
    assert "are not the same numbers" in refused(one, other)
    unsaved, _ = pair(workshop, base, save_projection=False, projection_prng_key=7)
    assert "have the seeds" in refused(one, unsaved)
    narrow, _ = pair(workshop, base, save_projection=False, target_modules=["q_proj"])
    assert "are drawn for different modules or ranks" in refused(one, narrow)
    # Of one seed and for the same modules they are the same, saved or not.
    alike = pair(workshop, base, save_projection=False)[1]
    blueprint = workshop.prepare("elementwise", (1, one), (1, alike))
    assert blueprint.config["save_projection"] is True


def test_inspection(workshop: Any, architectures: Any) -> None:
    one, _ = pair(workshop, architectures["llama"])
    header = read_header(one.path)
    found = inspect(one.config, header)
    assert (found.peft_type, found.rank, found.alpha, len(found.modules)) == ("VERA", 3, None, 4)
    with pytest.raises(IncompatibleError, match="for each of 4 ranks"):
        inspect({**one.config, "r": 4}, header)
    with pytest.raises(IncompatibleError, match="there are 2 of the 2 projections"):
        inspect({**one.config, "save_projection": False}, header)

"""What holds of every program with functions: its form means itself, its result is what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from isogloss.dsl.errors import CheckError
from isogloss.dsl.meaning.lock import Lock, lock_from_json
from isogloss.dsl.meaning.plan import AdapterKey, Plan
from isogloss.dsl.merging.breadcrumbs import breadcrumbs
from isogloss.dsl.merging.ties import ties
from isogloss.dsl.merging.trim import trim
from isogloss.dsl.text.parse import parse
from isogloss.hub import AdapterHub
from isogloss.hub.composition import Request, resolve_request
from safetensors.torch import load_file, save_file

NAMES = ["lm-en", "lm-pt", "lm-yo"]
STEM = "base_model.model.layers.0.q_proj.lora_{}.weight"
FEW = settings(max_examples=40, deadline=None, derandomize=True)

# Values and factors are such that every sum is exact in float32, in whatever order it is made:
# what is the largest then does not depend on rounding.
FACTORS = st.sampled_from(["1/2", "2", "-1", "-3/2"])
DENSITIES = st.sampled_from(["1/4", "0.5", "3/4", "1"])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdapterHub]:
    """Three adapters of small whole numbers, many of them equal in magnitude."""
    folder = tmp_path_factory.mktemp("functions")
    with AdapterHub.init(folder / "home") as opened:
        for seed, name in enumerate(NAMES):
            write_lora(folder / name, seed)
            opened.add(folder / name, kind="lm", language=name.removeprefix("lm-"))
        yield opened


def write_lora(folder: Path, seed: int) -> None:
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        STEM.format(factor): torch.randint(-6, 7, (4, 4), generator=generator).float()
        for factor in "AB"
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "acme/tiny",
        "r": 4,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


Tensors = dict[str, torch.Tensor]
Written = tuple[str, Tensors]


@st.composite
def programs(draw: st.DrawFn, leaves: dict[str, Tensors], depth: int = 3) -> Written:
    """A program, and what it should come to, computed on the way."""
    kind = draw(st.sampled_from(["leaf", "scaled", "sum", "trim", "crumbs", "ties"]))
    if depth == 0 or kind == "leaf":
        name = draw(st.sampled_from(NAMES))
        return f'"{name}"', leaves[name]
    text, value = draw(programs(leaves, depth - 1))
    if kind == "scaled":
        factor = draw(FACTORS)
        return f"({factor})*({text})", {n: float(Fraction(factor)) * x for n, x in value.items()}
    density = draw(DENSITIES)
    if kind == "trim":
        trimmed = {name: trim(x, Fraction(density)) for name, x in value.items()}
        return f"trim({text}, density={density})", trimmed
    if kind == "crumbs":
        kept = {n: breadcrumbs(x, Fraction(density), Fraction(1, 8)) for n, x in value.items()}
        return f"breadcrumbs({text}, gamma=1/8, density={density})", kept
    other, second = draw(programs(leaves, depth - 1))
    if kind == "sum":
        return f"{text} + {other}", {name: x + second[name] for name, x in value.items()}
    method = draw(st.sampled_from(["total", "frequency"]))
    merged = {
        name: ties([x, second[name]], Fraction(density), majority_sign_method=method)
        for name, x in value.items()
    }
    first, last = draw(st.permutations([text, other]))
    return f"ties({first}, {last}, majority_sign_method={method}, density={density})", merged


def tensors_of(hub: AdapterHub) -> dict[str, Tensors]:
    return {name: load_file(hub.blobs.path(hub.show(name).digest)) for name in NAMES}


def plan_of(hub: AdapterHub, text: str, semantics: str | None = None) -> Plan:
    """What a program means, nothing read."""
    try:
        request = Request(text, semantics=semantics)
        return resolve_request(hub.catalog, request, parse(text)).plan
    except CheckError as error:
        assume("comes to nothing" not in error.message)
        raise


@FEW
@given(data=st.data())
def test_results_are_what_programs_say(hub: AdapterHub, data: st.DataObject) -> None:
    text, expected = data.draw(programs(tensors_of(hub)))
    plan_of(hub, text)
    for name, tensor in hub.state_dict(text).items():
        assert torch.equal(tensor, expected[name])


@FEW
@given(data=st.data(), semantics=st.sampled_from(["elementwise", "onesided", "peft-linear"]))
def test_canonical_forms_mean_themselves(
    hub: AdapterHub, data: st.DataObject, semantics: str
) -> None:
    text, _ = data.draw(programs(tensors_of(hub)))
    plan = plan_of(hub, text, semantics)
    again = plan_of(hub, plan.canonical)
    assert again == plan
    assert again.digest == plan.digest
    assert {leaf.adapter for leaf in plan.leaves()} == set(plan.adapters)


@FEW
@given(data=st.data())
def test_locks_keep_plans_whole(hub: AdapterHub, data: st.DataObject) -> None:
    text, _ = data.draw(programs(tensors_of(hub)))
    plan = plan_of(hub, text)
    lock = Lock(
        expression=text,
        parameters={},
        context={},
        plan=plan,
        distances=(),
        dtype="float32",
        adapters=(),
        result=AdapterKey("0" * 64, "0" * 64),
        files={},
        tools={},
    )
    assert lock_from_json(json.loads(lock.text())).plan == plan

"""Composition against real PEFT: what a semantics promises is what the loaded adapter does."""

from __future__ import annotations

import itertools
import json
import re
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.algebra.scaling import float32
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.meaning.plan import ModuleFilter
from isogloss.dsl.tensors.execute import state_dict
from safetensors.torch import load_file

FEW = settings(max_examples=15, deadline=None, derandomize=True)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LINEAR = ["layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v"]
ALL = [*LINEAR, "conv", "embed", "grouped", "q"]

COEFFICIENTS = st.fractions(-3, 3, max_denominator=20).filter(bool)


@st.composite
def lora_settings(draw: st.DrawFn, modules: list[str]) -> dict[str, Any]:
    """Anything that changes rank, scaling or targets; ranks are even for the grouped module."""
    patterns = st.sampled_from(["q", r"layers\.0.*", r"layers\.1\.v", "conv", ".*v", "grouped"])
    ranks, alphas = st.sampled_from([2, 4, 6]), st.sampled_from([1, 2, 3, 4, 16])
    targets = draw(st.lists(st.sampled_from(modules), min_size=1, unique=True))

    def matching(values: dict[str, int]) -> dict[str, int]:
        # PEFT warns of a pattern that matches nothing.
        return {
            key: value
            for key, value in values.items()
            if any(re.match(rf"(.*\.)?({key})$", target) for target in targets)
        }

    return {
        "r": draw(ranks),
        "lora_alpha": draw(alphas),
        "use_rslora": draw(st.booleans()),
        "rank_pattern": draw(st.dictionaries(patterns, ranks, max_size=2).map(matching)),
        "alpha_pattern": draw(st.dictionaries(patterns, alphas, max_size=2).map(matching)),
        "target_modules": targets,
        "dtype": draw(st.sampled_from(DTYPES)),
        "seed": draw(st.integers(0, 2**31)),
    }


@FEW
@given(data=st.data())
def test_exact_is_the_weighted_sum_of_pefts_updates(workshop: Any, data: st.DataObject) -> None:
    terms = [
        (
            data.draw(COEFFICIENTS),
            workshop.adapter(f"a{n}", **data.draw(lora_settings(ALL))),
        )
        for n in range(data.draw(st.integers(1, 4)))
    ]
    dtype = data.draw(st.sampled_from([None, "float32", "bfloat16", "float16"]))
    blueprint = workshop.prepare("exact", *terms, dtype=dtype)
    assert blueprint.config["r"] == blueprint.rank == max(rank_of(workshop, terms).values())
    composed = workshop.updates(workshop.write(blueprint))
    expected, size = {}, {}
    for coefficient, operand in terms:
        for module, update in workshop.updates(operand.path.parent).items():
            expected[module] = expected.get(module, 0) + float(coefficient) * update
            size[module] = size.get(module, 0) + abs(float(coefficient)) * update.abs().max()
    assert composed.keys() == expected.keys()
    precision = torch.finfo(getattr(torch, blueprint.dtype)).eps
    for module, update in composed.items():
        assert (update - expected[module]).abs().max() <= 16 * precision * size[module], module


def rank_of(workshop: Any, terms: list[tuple[Fraction, Any]]) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for _, operand in terms:
        for name, tensor in load_file(operand.path).items():
            if "lora_A" in name or "lora_embedding_A" in name:
                ranks[name] = ranks.get(name, 0) + tensor.shape[0]
    return ranks


@FEW
@given(data=st.data())
def test_elementwise_is_the_equation_bit_for_bit(workshop: Any, data: st.DataObject) -> None:
    shared = data.draw(lora_settings(ALL))
    terms = [
        (
            data.draw(COEFFICIENTS),
            workshop.adapter(
                f"a{n}",
                **{
                    **shared,
                    "seed": data.draw(st.integers(0, 2**31)),
                    "dtype": data.draw(st.sampled_from(DTYPES)),
                },
            ),
        )
        for n in range(data.draw(st.integers(1, 4)))
    ]
    blueprint = workshop.prepare("elementwise", *terms, dtype="float32")
    place = workshop.write(blueprint)
    composed = load_file(place / "adapter_model.safetensors")
    in_order = sorted(terms, key=lambda term: term[1].key)
    inputs = [(float32(c), load_file(operand.path)) for c, operand in in_order]
    assert composed.keys() == inputs[0][1].keys()
    for name, tensor in composed.items():
        (c, first), *others = inputs
        total = first[name].float() * c
        for c, other in others:
            product = other[name].float() * c
            total = total + product
        assert torch.equal(total, tensor), name
    model = workshop.load(place)
    parent = workshop.load(terms[0][1].path.parent)
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight"):
            assert module.scaling == pytest.approx(parent.get_submodule(name).scaling, rel=1e-15)
            assert module.r == parent.get_submodule(name).r


@pytest.mark.parametrize("semantics", ["elementwise", "exact"])
def test_the_result_is_the_same_however_it_is_computed(workshop: Any, semantics: str) -> None:
    adapters = [
        workshop.adapter(f"a{n}", seed=n, r=4, target_modules=ALL, dtype=DTYPES[n % 3])
        for n in range(4)
    ]
    terms = [(Fraction(n - 2, 7) or 1, adapter) for n, adapter in enumerate(adapters)]
    digests = {
        workshop.digest(workshop.prepare(semantics, *order, dtype="bfloat16"), **limits)
        for order in itertools.islice(itertools.permutations(terms), 0, None, 5)
        for limits in (
            {},
            {"threads": 1},
            {"threads": 3},
            {"threads": 1, "budget_bytes": 1200},
            {"threads": 2, "budget_bytes": 9000},
        )
    }
    assert len(digests) == 1


def test_the_configuration_is_the_same_however_the_sum_was_written(workshop: Any) -> None:
    adapters = [
        workshop.adapter(f"a{n}", seed=n, r=2 + 2 * n, target_modules=LINEAR[n : n + 3])
        for n in range(2)
    ]
    terms = list(zip((1, -2), adapters, strict=True))
    one, other = (workshop.prepare("exact", *order) for order in (terms, terms[::-1]))
    assert json.dumps(one.config) == json.dumps(other.config)
    assert list(one.config) == sorted(one.config)


def test_threads_and_chunks_do_not_show_in_large_tensors(workshop: Any) -> None:
    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Linear(70_001, 3)

    adapters = [
        workshop.adapter(f"a{n}", base=Wide(), target_modules=["w"], r=8, seed=n) for n in range(3)
    ]
    for semantics in ("elementwise", "exact"):
        blueprint = workshop.prepare(semantics, *zip(("0.3", "0.3", "-0.7"), adapters, strict=True))
        limits = ({}, {"threads": 1}, {"threads": 4}, {"budget_bytes": 100_000})
        assert len({workshop.digest(blueprint, **limit) for limit in limits}) == 1
        expected = load_file(workshop.write(blueprint) / "adapter_model.safetensors")
        for name, tensor in state_dict(blueprint).items():
            assert torch.equal(tensor, expected[name])


@pytest.mark.parametrize(
    ("semantics", "factor"), [("elementwise", lambda c: c * c), ("exact", lambda c: c)]
)
@pytest.mark.parametrize("coefficient", [0.5, -0.5, 0.25])
def test_one_scaled_adapter(workshop: Any, semantics: str, factor: Any, coefficient: float) -> None:
    """Elementwise scales both factors: c times an adapter is c squared times its update."""
    adapter = workshop.adapter("a", seed=3, r=4, lora_alpha=8)
    composed = workshop.updates(workshop.write(workshop.prepare(semantics, (coefficient, adapter))))
    for module, update in workshop.updates(adapter.path.parent).items():
        torch.testing.assert_close(
            composed[module], factor(coefficient) * update, rtol=1e-5, atol=1e-5
        )


def test_a_grouped_convolution_computes_the_sum(workshop: Any, tiny_model: Any) -> None:
    adapters = [
        workshop.adapter(f"a{n}", seed=n, r=4 + 2 * n, target_modules=["grouped"]) for n in range(2)
    ]
    signal = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(5))
    base = tiny_model().grouped(signal)

    def change(place: Any) -> torch.Tensor:
        grouped = workshop.load(place).get_submodule("base_model.model.grouped")
        return (grouped(signal) - base).detach()

    blueprint = workshop.prepare("exact", ("0.75", adapters[0]), (-2, adapters[1]))
    parts = [change(adapter.path.parent) for adapter in adapters]
    expected = 0.75 * parts[0] - 2 * parts[1]
    torch.testing.assert_close(change(workshop.write(blueprint)), expected, rtol=1e-4, atol=1e-4)


def test_an_adapter_twice_is_read_once(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1, target_modules=LINEAR)
    other = workshop.adapter("other", seed=2, target_modules=LINEAR)
    early = ModuleFilter(first=0, last=0)
    blueprint = workshop.prepare("exact", (1, one), (2, one, early), (1, other))
    assert blueprint.rank == 16
    updates = [workshop.updates(operand.path.parent) for operand in (one, other)]
    for module, update in workshop.updates(workshop.write(blueprint)).items():
        factor = 3 if ".0." in module else 1
        expected = factor * updates[0][module] + updates[1][module]
        torch.testing.assert_close(update, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("semantics", ["elementwise", "exact"])
def test_filters_leave_the_other_modules_out(workshop: Any, semantics: str) -> None:
    one = workshop.adapter("one", seed=1, r=4, target_modules=ALL)
    other = workshop.adapter("other", seed=2, r=4, target_modules=ALL)
    only_q = ModuleFilter(modules=r"\.q$")
    last = ModuleFilter(first=1)
    blueprint = workshop.prepare(semantics, (2, one, only_q), (-1, other, last), dtype="float32")
    assert blueprint.config["target_modules"] == ["layers.0.q", "layers.1.q", "layers.1.v"]
    composed = load_file(workshop.write(blueprint) / "adapter_model.safetensors")
    a, b = load_file(one.path), load_file(other.path)
    name = "base_model.model.layers.{}.lora_A.weight".format
    assert composed.keys() == {
        name(module).replace("lora_A", factor)
        for module in ("0.q", "1.q", "1.v")
        for factor in ("lora_A", "lora_B")
    }
    if semantics == "elementwise":
        assert torch.equal(composed[name("0.q")], 2 * a[name("0.q")])
        assert torch.equal(composed[name("1.v")], -b[name("1.v")])
        pair = sorted([(one.key, 2.0, a), (other.key, -1.0, b)], key=lambda item: item[0])
        both = pair[0][2][name("1.q")] * pair[0][1] + pair[1][2][name("1.q")] * pair[1][1]
        assert torch.equal(composed[name("1.q")], both)


def test_terms_that_cancel_at_a_module_drop_it_there(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1, target_modules=LINEAR)
    first = ModuleFilter(first=0, last=0)
    blueprint = workshop.prepare("elementwise", (1, one), (-1, one, first))
    assert blueprint.config["target_modules"] == ["layers.1.q", "layers.1.v"]


def test_a_filter_may_make_room_for_other_targets(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1, r=4, target_modules=["layers.0.q", "layers.1.q"])
    other = workshop.adapter("other", seed=2, r=4, target_modules=LINEAR)
    with pytest.raises(IncompatibleError, match=r"'one' has no factors for 'layers\.0\.v'"):
        workshop.prepare("elementwise", (1, one), (1, other))
    only_q = ModuleFilter(modules="q$")
    blueprint = workshop.prepare("elementwise", (1, one), (1, other, only_q))
    assert blueprint.config["target_modules"] == ["layers.0.q", "layers.1.q"]
    assert workshop.updates(workshop.write(blueprint)).keys() == {"layers.0.q", "layers.1.q"}


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        (ModuleFilter(modules="nothing"), 'only(..., modules="nothing")'),
        (ModuleFilter(first=7, last=9), "layers(..., first=7, last=9)"),
    ],
)
def test_a_filter_that_keeps_nothing_is_a_mistake(
    workshop: Any, kept: ModuleFilter, text: str
) -> None:
    one = workshop.adapter("one", seed=1)
    other = workshop.adapter("other", seed=2)
    with pytest.raises(IncompatibleError) as caught:
        workshop.prepare("exact", (1, other), (1, one, kept))
    assert caught.value.message == f"{text} keeps no module of 'one'"
    assert caught.value.hint == "its 4 modules are named like 'layers.0.q'"


def test_what_cancels_everywhere_is_refused(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1)
    everything = ModuleFilter(modules=".")
    with pytest.raises(IncompatibleError, match="nothing is left"):
        workshop.prepare("exact", (1, one), (-1, one, everything))


def test_targets_are_kept_where_the_parents_agree(workshop: Any) -> None:
    adapters = [
        workshop.adapter(
            f"a{n}",
            seed=n,
            target_modules=["v", "q"],
            layers_to_transform=[1],
            layers_pattern="layers",
            exclude_modules="q",
        )
        for n in range(2)
    ]
    blueprint = workshop.prepare("elementwise", (1, adapters[0]), (1, adapters[1]))
    assert blueprint.config["target_modules"] == ["q", "v"]
    assert blueprint.config["layers_to_transform"] == [1]
    assert blueprint.config["exclude_modules"] == "q"
    assert workshop.updates(workshop.write(blueprint)).keys() == {"layers.1.q", "layers.1.v"}


def test_a_regular_expression_of_targets_is_kept(workshop: Any) -> None:
    adapters = [
        workshop.adapter(f"a{n}", seed=n, target_modules=r"layers\.\d\.[qv]") for n in range(2)
    ]
    blueprint = workshop.prepare("exact", (1, adapters[0]), (1, adapters[1]))
    assert blueprint.config["target_modules"] == r"layers\.\d\.[qv]"
    assert len(workshop.updates(workshop.write(blueprint))) == 4


def test_all_linear_becomes_the_modules_themselves(workshop: Any) -> None:
    adapter = workshop.adapter("a", {"target_modules": "all-linear"}, target_modules=LINEAR)
    blueprint = workshop.prepare("exact", (2, adapter))
    assert blueprint.config["target_modules"] == LINEAR
    assert workshop.updates(workshop.write(blueprint)).keys() == set(LINEAR)


def test_a_name_that_ends_another_does_not_bring_it_back(workshop: Any) -> None:
    """The module `q` is wanted, `layers.0.q` is not, but a list of targets matches endings."""
    adapter = workshop.adapter("a", seed=1, target_modules=["q"])
    blueprint = workshop.prepare("exact", (1, adapter, ModuleFilter(modules="^q$")))
    assert workshop.updates(workshop.write(blueprint)).keys() == {"q"}


def test_ranks_of_modules_become_patterns_of_whole_names(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1, r=4, target_modules=["q"])
    other = workshop.adapter("other", seed=2, r=2, target_modules=["layers.0.q", "layers.0.v"])
    blueprint = workshop.prepare("exact", (1, one), (1, other))
    assert blueprint.config["r"] == blueprint.config["lora_alpha"] == 6
    expected = {r"^layers\.0\.v": 2, r"^layers\.1\.q": 4, "^q": 4}
    assert blueprint.config["rank_pattern"] == blueprint.config["alpha_pattern"] == expected
    model = workshop.load(workshop.write(blueprint))
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight"):
            assert module.scaling == {"default": 1.0}, name


def test_the_result_switches_off_all_that_the_parents_did_not_sum(workshop: Any) -> None:
    adapter = workshop.adapter(
        "a", {"revision": "abc", "task_type": None}, lora_dropout=0.5, init_lora_weights="gaussian"
    )
    config = workshop.prepare("exact", (1, adapter)).config
    assert config["lora_dropout"] == 0.0
    assert config["init_lora_weights"] is True
    assert config["inference_mode"] is True
    assert config["use_rslora"] is config["use_dora"] is config["lora_bias"] is False
    assert config["base_model_name_or_path"] == "tiny"
    assert config["revision"] == "abc"


def architecture(name: str) -> Any:
    """A tiny model of an architecture as transformers has it."""
    import transformers

    sizes: dict[str, Any] = {
        "Llama": {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
        },
        "T5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
        "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2},
    }
    kind = {"Llama": "ForCausalLM", "T5": "ForConditionalGeneration", "GPT2": "LMHeadModel"}
    config = getattr(transformers, f"{name}Config")(vocab_size=40, **sizes[name])
    torch.manual_seed(0)
    return getattr(transformers, name + kind[name])(config)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Llama", {"target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"}),
        ("Llama", {"target_modules": "all-linear"}),
        ("Llama", {"target_modules": None}),
        ("T5", {"target_modules": ["q", "k", "v", "o"], "task_type": "SEQ_2_SEQ_LM"}),
        ("GPT2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    ],
    ids=str,
)
def test_real_architectures(workshop: Any, name: str, settings: dict[str, Any]) -> None:
    def updates(place: Any) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = workshop.updates(place, architecture(name))
        return found

    one, other = (
        workshop.adapter(f"a{n}", seed=n, base=architecture(name), r=2 + 2 * n, **settings)
        for n in range(2)
    )
    late = ModuleFilter(first=1)
    for filters in ((), (late,)):
        blueprint = workshop.prepare("exact", ("0.6", one, *filters), ("-0.4", other, *filters))
        parents = [updates(operand.path.parent) for operand in (one, other)]
        composed = updates(workshop.write(blueprint))
        assert composed.keys() == {m for m in parents[0] if not filters or late.keeps(m)}
        for module, update in composed.items():
            expected = 0.6 * parents[0][module] - 0.4 * parents[1][module]
            torch.testing.assert_close(update, expected, rtol=1e-5, atol=1e-5)


def test_state_dict_is_what_peft_takes(workshop: Any, tiny_model: Any) -> None:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    adapter = workshop.adapter("a", seed=1, dtype=torch.bfloat16)
    tensors = state_dict(workshop.prepare("exact", (2, adapter), dtype="float32"))
    model = get_peft_model(tiny_model(), LoraConfig(target_modules=LINEAR))
    outcome = set_peft_model_state_dict(model, tensors)
    assert not outcome.unexpected_keys
    assert tensors["base_model.model.layers.0.q.lora_A.weight"].requires_grad is False
    tensors["base_model.model.layers.0.q.lora_A.weight"] += 1


def test_inputs_of_several_dtypes_are_promoted(workshop: Any) -> None:
    half, brain, single = (
        workshop.adapter(f"{dtype}", seed=1, dtype=dtype)
        for dtype in (torch.float16, torch.bfloat16, torch.float32)
    )
    assert workshop.prepare("exact", (2, half)).dtype == "float16"
    assert workshop.prepare("exact", (2, brain)).dtype == "bfloat16"
    assert workshop.prepare("exact", (2, half), (2, brain)).dtype == "float32"
    assert workshop.prepare("exact", (2, single), (2, brain)).dtype == "float32"
    assert workshop.prepare("exact", (2, single), dtype="float16").dtype == "float16"

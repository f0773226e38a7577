"""Every PEFT type on three architectures: PEFT loads what is composed, and it is the promised sum.

The list of what holds for which type (dsl/algebra/types.py) is held against what happens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from isogloss.dsl.algebra import ALGEBRAS
from isogloss.dsl.algebra.refused import REFUSED
from isogloss.dsl.algebra.types import TYPES, markdown
from isogloss.dsl.errors import IncompatibleError, UnsupportedError
from isogloss.dsl.meaning.plan import Derived, Plan, Term
from isogloss.dsl.tensors.blueprint import prepare
from isogloss.dsl.tensors.comparison import compare
from isogloss.dsl.tensors.making import Ready, made_ready
from peft.utils.peft_types import PeftType
from safetensors.torch import load_file, save_file

pytestmark = [
    # PEFT says so of every layer norm that it wraps, and of T5's embeddings.
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]
TARGETS = {
    "llama": ["q_proj", "down_proj"],
    "t5": ["SelfAttention.q", "wo"],
    "gpt2": ["c_attn", "mlp.c_proj"],
}
TASKS = {"llama": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM", "gpt2": "CAUSAL_LM"}
NORMS = {"llama": "input_layernorm", "t5": "layer_norm", "gpt2": "ln_1"}
EMBEDDINGS = {"llama": "model.embed_tokens", "t5": "decoder.embed_tokens", "gpt2": "wte"}
HEADS = {"llama": "lm_head", "t5": "encoder.final_layer_norm", "gpt2": "lm_head"}


@dataclass(frozen=True)
class Kind:
    """A PEFT type with settings of its own.

    Args:
        rules: the name under which the list of types has it.
        settings: PEFT's configuration for an architecture.
        is_affine: whether the coefficients must sum to 1.
        adds: whether it adds something to weights.
        has_update: whether that is known without these.
        is_closed: whether a sum of such updates is one again.
        families: the architectures that PEFT has it for.
    """

    rules: str
    settings: Callable[[str], Any]
    is_affine: bool = False
    adds: bool = False
    has_update: bool = False
    is_closed: bool = True
    families: tuple[str, ...] = ("llama", "t5", "gpt2")


def lora(**more: Any) -> Callable[[str], Any]:
    def settings(family: str) -> Any:
        fan = family == "gpt2"
        given = {"target_modules": TARGETS[family], "r": 2, "lora_alpha": 3, "fan_in_fan_out": fan}
        return peft.LoraConfig(**{**given, **more})

    return settings


def with_bias(family: str) -> Any:
    targets = [*TARGETS[family], *(["relative_attention_bias"] if family == "t5" else [])]
    return lora(target_modules=targets)(family)


def adalora(family: str) -> Any:
    fan = {"fan_in_fan_out": family == "gpt2", "total_step": 10}
    return peft.AdaLoraConfig(target_modules=TARGETS[family], init_r=3, lora_alpha=6, **fan)


def lokr(**more: Any) -> Callable[[str], Any]:
    return lambda family: peft.LoKrConfig(target_modules=TARGETS[family], rank_dropout=0.3, **more)


def loha(family: str) -> Any:
    return peft.LoHaConfig(target_modules=TARGETS[family], r=2, alpha=3)


def vera(family: str) -> Any:
    fan = {"fan_in_fan_out": family == "gpt2"}
    return peft.VeraConfig(target_modules=TARGETS[family], r=3, **fan)


def ia3(family: str) -> Any:
    fan = {"fan_in_fan_out": family == "gpt2"}
    targets = TARGETS[family]
    return peft.IA3Config(target_modules=targets, feedforward_modules=targets[1:], **fan)


def prompt(config: Any, **more: Any) -> Callable[[str], Any]:
    def settings(family: str) -> Any:
        shared = {"task_type": TASKS[family], "num_virtual_tokens": 3, **more}
        # Keys and values of the tiny Llama have one head of six where the others have two.
        if family == "llama" and config is peft.PrefixTuningConfig:
            shared |= {"token_dim": 6, "num_attention_heads": 1}
        return config(**shared)

    return settings


def replacing(config: Any, targets: Mapping[str, str], **more: Any) -> Callable[[str], Any]:
    return lambda family: config(target_modules=[targets[family]], **more)


NO_CONV1D = ("llama", "t5")
KINDS = {
    "lora": Kind("LoRA, rsLoRA", with_bias, adds=True, has_update=True),
    "rslora": Kind("LoRA, rsLoRA", lora(use_rslora=True), adds=True, has_update=True),
    "dora": Kind("DoRA", lora(use_dora=True), is_affine=True, is_closed=False),
    "adalora": Kind("AdaLoRA", adalora, adds=True, has_update=True),
    "lokr": Kind(
        "LoKr", lokr(r=1, alpha=2), adds=True, has_update=True, is_closed=False, families=NO_CONV1D
    ),
    "lokr, whole": Kind(
        "LoKr", lokr(r=8, alpha=3), adds=True, has_update=True, is_closed=False, families=NO_CONV1D
    ),
    "loha": Kind("LoHa", loha, adds=True, has_update=True, is_closed=False, families=NO_CONV1D),
    "vera": Kind("VeRA", vera, adds=True, is_closed=False),
    "ia3": Kind("IA3", ia3),
    "prompt": Kind("prompt tuning", prompt(peft.PromptTuningConfig)),
    "p-tuning": Kind("p-tuning", prompt(peft.PromptEncoderConfig, encoder_hidden_size=7)),
    "prefix": Kind("prefix tuning", prompt(peft.PrefixTuningConfig)),
    "ln": Kind("LN tuning", replacing(peft.LNTuningConfig, NORMS), is_affine=True),
    "tokens": Kind(
        "trainable tokens",
        replacing(peft.TrainableTokensConfig, EMBEDDINGS, token_indices=[1, 5]),
        is_affine=True,
    ),
    "modules_to_save": Kind(
        "modules_to_save, trained biases, trained tokens beside these",
        lambda family: lora(modules_to_save=[HEADS[family]])(family),
        is_affine=True,
    ),
}
# One architecture always, the others on request.
CASES = [
    pytest.param(kind, family, marks=[] if family == "llama" else pytest.mark.slow)
    for kind in KINDS
    for family in KINDS[kind].families
]
UPDATES = [case for case in CASES if KINDS[str(case.values[0])].has_update]
RULES = {rules.name: rules for rules in TYPES}


@dataclass
class Bench:
    """Pairs of adapters, made once each, and what PEFT makes of compositions of them."""

    workshop: Any
    architectures: Mapping[str, Any]
    pairs: dict[tuple[str, str], list[Any]]

    def pair(self, kind: str, family: str) -> list[Any]:
        if (kind, family) not in self.pairs:
            base, settings = self.architectures[family], KINDS[kind].settings
            self.pairs[kind, family] = [
                self.workshop.train(f"{kind}-{n}", settings(family), base(), seed=n + 1)
                for n in range(2)
            ]
        return self.pairs[kind, family]

    def effect(self, place: Path, kind: str, family: str) -> dict[str, torch.Tensor]:
        """The merged weights; logits of a type that cannot be merged."""
        base = self.architectures[family]
        if "prompt" in kind or "prefix" in kind or kind == "p-tuning":
            return {"logits": base.logits(self.workshop.load(place, base()))}
        merged: dict[str, torch.Tensor] = self.workshop.merged(place, base())
        return merged

    def changes(self, place: Path, family: str) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = self.workshop.changes(place, self.architectures[family])
        return found

    def by_hand(self, operands: list[Any], coefficients: tuple[float, ...], center: float) -> Path:
        """The sum of all tensors around a centre, under the first adapter's configuration."""
        place: Path = self.workshop.place()
        tensors = [load_file(operand.path) for operand in operands]
        summed = {
            name: center
            + sum(c * (one[name] - center) for c, one in zip(coefficients, tensors, strict=True))
            for name in tensors[0]
        }
        # What VeRA draws at random is no part of a sum.
        summed |= {name: one for name, one in tensors[0].items() if "base_model.vera_" in name}
        save_file(summed, place / "adapter_model.safetensors", metadata={"format": "pt"})
        config = (operands[0].path.parent / "adapter_config.json").read_text()
        (place / "adapter_config.json").write_text(config)
        return place

    def applied(
        self, function: str, options: Mapping[str, Any], semantics: str, *terms: tuple[Any, Any]
    ) -> tuple[Path, Ready]:
        """What a function makes of a sum, as a folder, and what it reports."""
        derived = Derived(
            function,
            tuple(sorted((name, _option(value)) for name, value in options.items())),
            (self.workshop.plan(semantics, *terms),),
        )
        plan = Plan("elementwise", (Term(Fraction(1), derived),))
        blueprint = prepare(plan, {operand.key: operand for _, operand in terms}, None)
        with made_ready(blueprint, None, 1 << 28) as ready:
            return self.workshop.write(ready.blueprint), ready


def _option(value: Any) -> Fraction | str:
    return value if isinstance(value, str) else Fraction(value)


@pytest.fixture(scope="module")
def bench(workshop: Any, architectures: Any) -> Bench:
    return Bench(workshop, architectures, {})


def coefficients(kind: str) -> tuple[str, str]:
    return ("1.3", "-0.3") if KINDS[kind].is_affine else ("0.6", "-0.4")


def assert_equal(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize(("kind", "family"), CASES)
def test_elementwise_sums_are_those_of_the_parameters(bench: Bench, kind: str, family: str) -> None:
    operands, weights = bench.pair(kind, family), coefficients(kind)
    blueprint = bench.workshop.prepare("elementwise", *zip(weights, operands, strict=True))
    place = bench.workshop.write(blueprint)
    center = 1.0 if kind == "ia3" else 0.0
    expected = bench.by_hand(operands, tuple(map(float, weights)), center)
    assert_equal(bench.effect(place, kind, family), bench.effect(expected, kind, family))
    assert json.loads((place / "adapter_config.json").read_text())["inference_mode"] is True


@pytest.mark.parametrize(("kind", "family"), CASES)
def test_exact_sums_are_those_of_the_updates(bench: Bench, kind: str, family: str) -> None:
    operands, weights = bench.pair(kind, family), coefficients(kind)
    terms = tuple(zip(weights, operands, strict=True))
    if not KINDS[kind].is_closed:
        # One adapter is exact; a sum of two is none of its kind.
        with pytest.raises(IncompatibleError) as caught:
            bench.workshop.prepare("exact", *terms)
        assert caught.value.hint
        terms = (("1" if KINDS[kind].is_affine else "-0.4", operands[0]),)
    place = bench.workshop.write(bench.workshop.prepare("exact", *terms))
    if not KINDS[kind].adds:
        same = bench.workshop.write(bench.workshop.prepare("elementwise", *terms))
        if kind != "modules_to_save":
            assert_equal(bench.effect(place, kind, family), bench.effect(same, kind, family))
        return
    parts = [bench.changes(operand.path.parent, family) for _, operand in terms]
    expected = {
        name: sum(float(c) * part[name] for (c, _), part in zip(terms, parts, strict=True))
        for name in parts[0]
    }
    assert_equal(bench.changes(place, family), expected)


@pytest.mark.parametrize(("kind", "family"), CASES)
def test_coefficients_that_must_sum_to_one(bench: Bench, kind: str, family: str) -> None:
    one, other = bench.pair(kind, family)
    terms = ("0.6", one), ("0.6", other)
    if KINDS[kind].is_affine:
        with pytest.raises(IncompatibleError, match=r"sum to 1.2 there, expected 1"):
            bench.workshop.prepare("elementwise", *terms)
    else:
        bench.workshop.prepare("elementwise", *terms)
    stated = RULES[KINDS[kind].rules].coefficients
    assert stated == ("sum to 1" if KINDS[kind].is_affine else "any")


def expected_sum(bench: Bench, terms: Any, family: str) -> dict[str, torch.Tensor]:
    parts = [bench.changes(operand.path.parent, family) for _, operand in terms]
    return {
        name: sum(float(c) * part[name] for (c, _), part in zip(terms, parts, strict=True)).double()
        for name in parts[0]
    }


def assert_reported(
    changes: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], ready: Ready
) -> None:
    """What a function says that it lost is what PEFT shows."""
    (report,) = ready.reports
    for one in report.modules:
        name = f"{one.module}.weight"
        norm = float(expected[name].norm())
        lost = float((changes[name].double() - expected[name]).norm())
        assert one.norm == pytest.approx(norm, rel=1e-4), name
        assert lost / norm == pytest.approx(one.relative, abs=1e-4), name


@pytest.mark.parametrize(("kind", "family"), UPDATES)
def test_lora_of_an_exact_sum_is_optimal(bench: Bench, kind: str, family: str) -> None:
    """`lora` of the sum of updates: PEFT merges the best approximation of that rank."""
    terms = tuple(zip(("0.6", "-0.4"), bench.pair(kind, family), strict=True))
    expected = expected_sum(bench, terms, family)
    place, ready = bench.applied("lora", {"rank": 2}, "exact", *terms)
    assert ready.blueprint.config["peft_type"] == "LORA"
    changes = bench.changes(place, family)
    assert_reported(changes, expected, ready)
    for one in ready.reports[0].modules:
        values = torch.linalg.svdvals(expected[f"{one.module}.weight"])
        best = float((values[2:].square().sum() / values.square().sum()).sqrt())
        assert one.relative == pytest.approx(best, abs=1e-4)
    assert RULES[KINDS[kind].rules].lora.startswith("LoRA")


@pytest.mark.parametrize(("kind", "family"), UPDATES)
def test_lora_of_everything_is_everything(bench: Bench, kind: str, family: str) -> None:
    terms = tuple(zip(("0.6", "-0.4"), bench.pair(kind, family), strict=True))
    expected = expected_sum(bench, terms, family)
    place, ready = bench.applied("lora", {"energy": 1, "pad": "vllm"}, "exact", *terms)
    config = ready.blueprint.config
    assert (config["r"], config["rank_pattern"]) in ((8, {}), (16, {}))
    assert_equal(bench.changes(place, family), {n: one.float() for n, one in expected.items()})
    # Without a limit no decomposition is made, or it is refused with what to do.
    if ready.blueprint.rank and kind not in ("lokr, whole",):
        try:
            place, ready = bench.applied("lora", {}, "exact", *terms)
        except IncompatibleError as error:
            assert "no exact factors that are smaller" in error.message
            return
        assert ready.reports[0].relative == 0
        assert_equal(bench.changes(place, family), {n: one.float() for n, one in expected.items()})


@pytest.mark.parametrize(("kind", "family"), UPDATES)
def test_truncated_sums(bench: Bench, kind: str, family: str) -> None:
    """The nearest LoKr of a sum of LoKr; of all else the nearest LoRA."""
    terms = tuple(zip(("0.6", "-0.4"), bench.pair(kind, family), strict=True))
    expected = expected_sum(bench, terms, family)
    rank = {"rank": 8 if kind == "lokr, whole" else 1}
    place, ready = bench.applied("truncate", rank, "exact", *terms)
    stated = RULES[KINDS[kind].rules].truncate.partition(":")[0]
    assert ready.blueprint.config["peft_type"] == stated.upper()
    assert_reported(bench.changes(place, family), expected, ready)
    # The nearest Kronecker product of one Kronecker product is that product.
    if stated == "LoKr":
        place, ready = bench.applied("truncate", rank, "exact", terms[0])
        assert ready.reports[0].relative < 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_heads_are_carried_along(bench: Bench, family: str) -> None:
    """What replaces values of the base model is no update, and is summed as ever."""
    operands = bench.pair("modules_to_save", family)
    terms = tuple(zip(("1.3", "-0.3"), operands, strict=True))
    head = f"{HEADS[family]}.weight"
    expected = expected_sum(bench, terms, family)
    for function, limit in (("truncate", {"rank": 3}), ("lora", {"energy": 1})):
        place, ready = bench.applied(function, limit, "exact", *terms)
        assert ready.blueprint.config["modules_to_save"] == [HEADS[family]]
        changes = bench.changes(place, family)
        assert_reported(changes, expected, ready)
        torch.testing.assert_close(changes[head].double(), expected[head], rtol=1e-4, atol=1e-4)
        with pytest.raises(IncompatibleError, match=r"sum to 2 there, expected 1"):
            bench.applied(function, limit, "exact", *((1, one) for one in operands))
    derived = Derived("core", (), tuple(bench.workshop.plan("exact", (1, o)) for o in operands))
    plan = Plan("elementwise", (Term(Fraction(1), derived),))
    with pytest.raises(IncompatibleError, match="which it cannot merge"):
        prepare(plan, {operand.key: operand for operand in operands}, None)


UNKNOWN = [kind for kind in KINDS if not KINDS[kind].has_update and kind != "modules_to_save"]


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_has_no_update_is_refused(bench: Bench, kind: str) -> None:
    (one, _) = bench.pair(kind, "llama")
    rules = RULES[KINDS[kind].rules]
    for function, stated in (("truncate", rules.truncate), ("lora", rules.lora)):
        with pytest.raises((IncompatibleError, UnsupportedError)) as caught:
            bench.applied(function, {"rank": 1}, "elementwise", (1, one))
        assert one.label in caught.value.message
        assert stated == "-" or stated.startswith("no: ")


@pytest.mark.parametrize(("kind", "family"), UPDATES)
def test_distances_are_those_of_the_merged_weights(bench: Bench, kind: str, family: str) -> None:
    one, other = bench.pair(kind, family)
    first, second = (bench.changes(operand.path.parent, family) for operand in (one, other))
    total = compare(one, other).total
    for found, updates in (
        (total.first_norm, first.values()),
        (total.second_norm, second.values()),
        (total.difference_norm, [first[name] - second[name] for name in first]),
    ):
        norm = float(sum(update.double().square().sum() for update in updates)) ** 0.5
        assert found == pytest.approx(norm, rel=1e-4)
    both = float(sum((first[name] * second[name]).double().sum() for name in first))
    assert total.cosine == pytest.approx(both / (total.first_norm * total.second_norm), abs=1e-4)
    assert compare(one, one).total.difference_norm < 1e-5 * total.first_norm


@pytest.mark.parametrize("kind", [k for k in KINDS if KINDS[k].families == NO_CONV1D])
def test_what_peft_has_no_gpt2_for(bench: Bench, kind: str) -> None:
    """Once PEFT has it, it belongs into the cases above."""
    with pytest.raises((TypeError, ValueError, NotImplementedError)):
        bench.workshop.trained(KINDS[kind].settings("gpt2"), bench.architectures["gpt2"]())


def test_types_of_several_kinds_come_together_as_lora(bench: Bench) -> None:
    operands = [bench.pair(kind, "llama")[0] for kind in ("lora", "adalora", "lokr", "loha")]
    terms = tuple(zip(("1", "-0.5", "2", "0.1"), operands, strict=True))
    expected = expected_sum(bench, terms, "llama")
    place, ready = bench.applied("lora", {"rank": 5}, "exact", *terms)
    assert_reported(bench.changes(place, "llama"), expected, ready)


def test_core_merges_updates_of_any_type(bench: Bench) -> None:
    operands = [bench.pair(kind, "llama")[0] for kind in ("lora", "lokr")]
    plans = tuple(bench.workshop.plan("exact", ("-0.5", one)) for one in operands)
    options = {"method": "isotropic", "density": 1, "rank": 3}
    derived = Derived("core", tuple(sorted((n, _option(v)) for n, v in options.items())), plans)
    plan = Plan("elementwise", (Term(Fraction(1), derived),))
    blueprint = prepare(plan, {operand.key: operand for operand in operands}, None)
    with made_ready(blueprint, None, 1 << 28) as ready:
        changes = bench.changes(bench.workshop.write(ready.blueprint), "llama")
    expected = expected_sum(bench, [("-0.5", one) for one in operands], "llama")
    for name, change in changes.items():
        # Of the sum's directions it keeps three, and gives each the mean size.
        u, values, vt = torch.linalg.svd(expected[name])
        directions = int((values > 1e-5 * values[0]).sum())
        found = torch.linalg.svdvals(change.double())
        mean = values[:directions].mean()
        torch.testing.assert_close(found[:3], mean.expand(3), rtol=1e-3, atol=1e-3)
        inside = u[:, :directions].T @ change.double() @ vt[:directions].T
        assert float(inside.norm()) == pytest.approx(float(change.norm()), rel=1e-3)


def test_other_modules_than_linear_ones(workshop: Any, bench: Bench) -> None:
    modules = ["conv", "embed", "layers.0.q"]
    one, other = (
        workshop.adapter(f"a{n}", seed=n, r=3 + n, target_modules=modules) for n in range(2)
    )
    parts = [workshop.updates(operand.path.parent) for operand in (one, other)]
    place, ready = bench.applied("truncate", {"rank": 2}, "exact", ("0.6", one), ("-0.4", other))
    found = workshop.updates(place)
    for report in ready.reports[0].modules:
        expected = 0.6 * parts[0][report.module] - 0.4 * parts[1][report.module]
        values = torch.linalg.svdvals(expected.flatten(1))
        best = float((values[2:].square().sum() / values.square().sum()).sqrt())
        lost = float((found[report.module] - expected).norm() / expected.norm())
        assert report.relative == pytest.approx(best, abs=1e-5)
        assert lost == pytest.approx(best, abs=1e-5)
    grouped = workshop.adapter("g", seed=1, r=4, target_modules=["grouped", "q"])
    with pytest.raises(IncompatibleError, match="knows no convolutions in groups") as caught:
        bench.applied("truncate", {"rank": 2}, "exact", (1, grouped))
    assert "only(..., modules=" in str(caught.value.hint)


def test_distances_between_types(bench: Bench) -> None:
    """Where an update may fill the whole space, there are no directions to be shared."""
    narrow, factored = bench.pair("lora", "llama")[0], bench.pair("lokr", "llama")[0]
    whole = bench.pair("lokr, whole", "llama")[0]
    for other, has_overlap in ((factored, True), (whole, False)):
        total = compare(narrow, other).total
        first, second = (bench.changes(one.path.parent, "llama") for one in (narrow, other))
        square = sum(float((first[name] - second[name]).square().sum()) for name in first)
        assert total.difference_norm == pytest.approx(square**0.5, rel=1e-4)
        q = next(
            module.comparison
            for layer in compare(narrow, other).layers
            for module in layer.modules
            if "q_proj" in module.module
        )
        assert (q.column_overlap is not None) == has_overlap


def test_every_type_that_peft_knows_is_composed_or_refused() -> None:
    known = {kind.value for kind in PeftType}
    assert known <= ALGEBRAS.keys() | REFUSED.keys()
    assert not ALGEBRAS.keys() & REFUSED.keys()
    for refusal in REFUSED.values():
        assert refusal.reason and refusal.remedy
    listed = {rules.peft_type for rules in TYPES} - {"-"}
    assert listed == ALGEBRAS.keys()
    assert {kind.rules for kind in KINDS.values()} == RULES.keys()


def test_the_readme_lists_the_types(root: Path) -> None:
    assert markdown() in (root / "README.md").read_text()

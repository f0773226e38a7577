"""Functions of updates on every PEFT type: what PEFT merges is what they promise and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import torch
from isogloss.dsl.errors import IncompatibleError, UnsupportedError
from isogloss.dsl.meaning.plan import Derived, Plan, Term
from isogloss.dsl.tensors.blueprint import prepare
from isogloss.dsl.tensors.closeness import farthest
from isogloss.dsl.tensors.comparison import compare
from isogloss.dsl.tensors.making import Ready, made_ready
from safetensors.torch import load_file, save_file

from .peft_kinds import HEADS, KINDS, RULES, UPDATES, as_option, assert_equal, expected_sum

if TYPE_CHECKING:
    from .peft_kinds import Bench

pytestmark = [
    # PEFT says so of every layer norm that it wraps, and of T5's embeddings.
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]


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
    derived = Derived("core", tuple(sorted((n, as_option(v)) for n, v in options.items())), plans)
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


def test_one_update_in_other_factors_is_close(bench: Bench) -> None:
    """Factors may differ in all numbers; heads beside them may not."""

    def changed(
        kind: str, change: Callable[[str, torch.Tensor], torch.Tensor]
    ) -> tuple[str, float]:
        one = bench.pair(kind, "llama")[0]
        place = bench.workshop.place() / "changed.safetensors"
        save_file({name: change(name, t) for name, t in load_file(one.path).items()}, place)
        return farthest(one.config, one.path, place)

    turned = {"lokr_w1": -2.0, "lokr_w2_a": -0.5, "lora_A.weight": 4.0, "lora_B.weight": 0.25}
    for kind in ("lokr", "lora", "modules_to_save"):
        _, distance = changed(
            kind, lambda name, t: t * next((v for k, v in turned.items() if k in name), 1.0)
        )
        assert distance < 1e-6
    where, distance = changed(
        "modules_to_save", lambda name, t: t * 1.01 if "lm_head" in name else t
    )
    assert where == "lm_head.weight" and distance == pytest.approx(0.01, rel=1e-4)
    where, distance = changed("ia3", lambda name, t: t + 1.0 if "q_proj" in name else t)
    assert "q_proj" in where and distance > 0.1

"""Functions that are not linear, carried out: on factors, on true updates, within each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from isogloss.dsl.errors import IncompatibleError, UnsupportedError
from isogloss.dsl.functions import FUNCTION_BY_NAME
from isogloss.dsl.meaning.plan import Derived, ModuleFilter, Plan, Term
from isogloss.dsl.merging.breadcrumbs import breadcrumbs
from isogloss.dsl.merging.dare import dare
from isogloss.dsl.merging.model_stock import model_stock
from isogloss.dsl.merging.slerp import slerp
from isogloss.dsl.merging.ties import ties
from isogloss.dsl.merging.trim import trim
from isogloss.dsl.tensors.blueprint import Operand, prepare
from isogloss.dsl.tensors.execute import state_dict
from isogloss.dsl.tensors.making import Ready, made_ready, require_memory
from safetensors.torch import load_file

HALF = Fraction(1, 2)
LIMIT = 256 << 20


def total(semantics: str, *terms: tuple[Any, Any] | tuple[Any, Any, ModuleFilter]) -> Plan:
    """A sum of operands and of what functions make."""
    found = [Term(Fraction(c), getattr(x, "key", x), tuple(kept)) for c, x, *kept in terms]
    return Plan(semantics, tuple(sorted(found, key=lambda term: term.order)))


def call(function: str, *operands: Plan, **options: Any) -> Derived:
    """A call with defaults filled in, as evaluation makes it."""
    known = FUNCTION_BY_NAME[function]
    values: dict[str, Any] = {
        one.name: one.default if one.type == "word" else Fraction(one.default)
        for one in known.parameters
        if one.default is not None
    }
    values |= {n: v if isinstance(v, str) else Fraction(v) for n, v in options.items()}
    parts = sorted(operands, key=lambda one: one.canonical) if known.is_symmetric else operands
    return Derived(function, tuple(sorted(values.items())), tuple(parts))


@contextmanager
def ready(
    plan: Plan, operands: Sequence[Operand], *, folder: Path | None = None, memory: int = LIMIT
) -> Iterator[Ready]:
    blueprint = prepare(plan, {one.key: one for one in operands}, None)
    with made_ready(blueprint, folder, memory) as made:
        yield made


def tensors(plan: Plan, *operands: Operand) -> dict[str, torch.Tensor]:
    with ready(plan, operands) as made:
        return state_dict(made.blueprint)


def updates(workshop: Any, plan: Plan, *operands: Operand) -> dict[str, torch.Tensor]:
    """The result's updates as PEFT has them, in float64."""
    with ready(plan, operands) as made:
        return workshop.updates(workshop.write(made.blueprint))


@pytest.fixture(scope="module")
def pair(workshop: Any) -> tuple[Operand, Operand]:
    one, other = (workshop.adapter(name, seed=seed) for seed, name in enumerate("ab"))
    return one, other


def by_factor(function: str, a: torch.Tensor, b: torch.Tensor, name: str) -> torch.Tensor:
    match function:
        case "ties":
            return ties([a, b], HALF)
        case "trim":
            return trim(a, HALF)
        case "breadcrumbs":
            return breadcrumbs(a, HALF, Fraction(1, 100))
        case "slerp":
            return slerp(a, b, 0.25)
        case "model_stock":
            return model_stock([a, b])
    raise ValueError(function)


CALLS: Mapping[str, dict[str, Any]] = {
    "ties": {"density": HALF},
    "trim": {"density": HALF},
    "breadcrumbs": {"density": HALF},
    "slerp": {"t": Fraction(1, 4)},
    "model_stock": {},
}
UNARY = {"trim", "breadcrumbs", "dare"}


def given(function: str, pair: Sequence[Operand], semantics: str) -> list[Plan]:
    one, other = pair
    plans = [total(semantics, (1, one)), total(semantics, (Fraction(3, 10), other))]
    return plans[:1] if function in UNARY else plans


@pytest.mark.parametrize("function", CALLS)
def test_elementwise_works_on_every_tensor(pair: Any, function: str) -> None:
    derived = call(function, *given(function, pair, "elementwise"), **CALLS[function])
    result = tensors(total("elementwise", (1, derived)), *pair)
    a, b = (load_file(one.path) for one in pair)
    # Symmetric functions take their operands in one order, whatever order they were given in.
    swapped = derived.operands[0].terms[0].adapter == pair[1].key
    for name in a:
        scaled = torch.tensor(0.3) * b[name]
        first, second = (scaled, a[name]) if swapped else (a[name], scaled)
        assert torch.equal(result[name], by_factor(function, first, second, name))


@pytest.mark.parametrize("function", CALLS)
def test_exact_works_on_every_update(workshop: Any, pair: Any, function: str) -> None:
    derived = call(function, *given(function, pair, "exact"), **CALLS[function], rank=2)
    found = updates(workshop, total("exact", (1, derived), (-1, pair[0])), *pair)
    a, b = (workshop.updates(one.path.parent) for one in pair)
    for module, update in found.items():
        merged = by_factor(function, a[module].float(), 0.3 * b[module].float(), module)
        u, s, vt = torch.linalg.svd(merged.double(), full_matrices=False)
        expected = u[:, :2] * s[:2] @ vt[:2] - a[module]
        torch.testing.assert_close(update, expected, rtol=1e-4, atol=1e-4)


def test_dare_is_the_same_for_multiples_and_differs_by_seed_and_place(pair: Any) -> None:
    one, other = pair

    def result(factor: Any, operand: Operand, seed: int) -> dict[str, torch.Tensor]:
        derived = call("dare", total("elementwise", (factor, operand)), density=HALF, seed=seed)
        return tensors(total("elementwise", (1, derived)), *pair)

    first = result(1, one, 0)
    for name, tensor in result(2, one, 0).items():
        assert torch.equal(tensor, 2 * first[name])
    patterns = [
        {name: tensor != 0 for name, tensor in found.items()}
        for found in (first, result(1, one, 1), result(1, other, 0))
    ]
    for different in patterns[1:]:
        assert any(not torch.equal(patterns[0][name], different[name]) for name in first)
    stem = "base_model.model.layers.{}.v.lora_A.weight"
    assert not torch.equal(first[stem.format(0)] != 0, first[stem.format(1)] != 0)
    weights = load_file(one.path)
    digest = total("elementwise", (1, one)).digest
    for name, tensor in first.items():
        assert torch.equal(tensor, dare(weights[name], HALF, seed=0, stream=f"{digest}\n{name}"))


def test_peft_linear_with_equal_weights_is_what_peft_makes(workshop: Any) -> None:
    """PEFT elects signs before it multiplies, which is the same where all are multiplied alike."""
    one, other = (
        workshop.adapter(name, seed=seed, r=4, lora_alpha=alpha)
        for seed, (name, alpha) in enumerate((("a", 8), ("b", 3)))
    )
    operands = [
        total("peft-linear", (HALF, one)),
        total("peft-linear", (Fraction(4, 3), other)),
    ]
    derived = call("ties", *operands, density=HALF)
    found = updates(workshop, total("peft-linear", (1, derived)), one, other)
    model = workshop.load(one.path.parent)
    model.load_adapter(str(other.path.parent), "other")
    model.base_model.add_weighted_adapter(
        ["default", "other"], [0.5, 4 / 3], "merged", combination_type="ties", density=0.5
    )
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight"):
            theirs = module.get_delta_weight("merged").detach().double()
            ours = found[name.removeprefix("base_model.model.")]
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_functions_nest_in_sums_filters_and_each_other(pair: Any) -> None:
    one, other = pair
    layer = ModuleFilter(first=1, last=1)
    inner = call("trim", total("elementwise", (2, one), (-1, other)), density=HALF)
    outer = call(
        "ties", total("elementwise", (1, inner)), total("elementwise", (1, one)), density=1
    )
    result = tensors(total("elementwise", (HALF, outer, layer), (1, other)), one, other)
    a, b = (load_file(operand.path) for operand in pair)
    for name, tensor in result.items():
        expected = b[name]
        if ".layers.1." in name:
            trimmed = trim(_added(pair, {"a": 2.0, "b": -1.0}, name, a, b), HALF)
            expected = b[name] + torch.tensor(0.5) * ties([trimmed, a[name]], Fraction(1))
        torch.testing.assert_close(tensor, expected)


def _added(
    pair: Sequence[Operand],
    factors: Mapping[str, float],
    name: str,
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
) -> torch.Tensor:
    return factors["a"] * a[name] + factors["b"] * b[name]


def test_truncation_of_an_exact_sum(workshop: Any, pair: Any) -> None:
    one, other = pair
    derived = call("truncate", total("exact", (1, one), (-HALF, other)), rank=3)
    with ready(total("elementwise", (1, derived)), pair) as made:
        found = workshop.updates(workshop.write(made.blueprint))
        (report,) = made.reports
    a, b = (workshop.updates(operand.path.parent) for operand in pair)
    lost = whole = 0.0
    for module, update in found.items():
        exact = a[module] - 0.5 * b[module]
        assert torch.linalg.matrix_rank(update, rtol=1e-5) <= 3
        values = torch.linalg.svdvals(exact)
        best = float(values[3:].norm())
        assert float((exact - update).norm()) == pytest.approx(best, rel=1e-4)
        (error,) = (one for one in report.modules if one.module == module)
        assert error.relative == pytest.approx(best / float(exact.norm()), rel=1e-5)
        lost, whole = lost + best**2, whole + float(exact.norm()) ** 2
    assert report.relative == pytest.approx((lost / whole) ** 0.5, rel=1e-5)


def test_truncation_of_factors_that_were_added_is_of_their_product(
    workshop: Any, pair: Any
) -> None:
    derived = call("truncate", total("elementwise", (1, pair[0]), (1, pair[1])), rank=1)
    found = updates(workshop, total("elementwise", (1, derived)), *pair)
    added = workshop.updates(
        workshop.write(workshop.prepare("elementwise", (1, pair[0]), (1, pair[1])))
    )
    for module, update in found.items():
        u, s, vt = torch.linalg.svd(added[module])
        best = s[0] * torch.outer(u[:, 0], vt[0])
        torch.testing.assert_close(update, best, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pad", [None, "vllm"])
def test_ranks_that_only_values_tell(workshop: Any, pair: Any, pad: str | None) -> None:
    options = {"energy": Fraction(9, 10)} | ({"pad": pad} if pad else {})
    derived = call("lora", total("exact", (1, pair[0]), (-HALF, pair[1])), **options)
    with ready(total("elementwise", (1, derived)), pair) as made:
        config = made.blueprint.config
        found = workshop.updates(workshop.write(made.blueprint))
    ranks = {module: int(torch.linalg.matrix_rank(u, rtol=1e-5)) for module, u in found.items()}
    a, b = (workshop.updates(operand.path.parent) for operand in pair)
    for module, rank in ranks.items():
        squares = torch.linalg.svdvals(a[module] - 0.5 * b[module]).square()
        shares = squares.cumsum(0) / squares.sum()
        assert float(shares[rank - 1]) >= 0.9
        assert rank == 1 or float(shares[rank - 2]) < 0.9
    assert config["r"] == (8 if pad else max(ranks.values()))
    assert bool(config["rank_pattern"]) == (not pad and len(set(ranks.values())) > 1)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("LoKr", {"r": 1, "alpha": 2, "target_modules": ["q_proj"]}),
        ("LoHa", {"r": 2, "alpha": 4, "target_modules": ["q_proj"]}),
        ("VeRA", {"r": 4, "target_modules": ["q_proj"]}),
        ("IA3", {"target_modules": ["q_proj"], "feedforward_modules": []}),
    ],
)
def test_elementwise_on_other_types(
    workshop: Any, architectures: Any, kind: str, settings: dict[str, Any]
) -> None:
    import peft

    base = architectures["llama"]
    configuration = {"LoKr": "LoKrConfig", "LoHa": "LoHaConfig", "VeRA": "VeraConfig"}
    make = getattr(peft, configuration.get(kind, "IA3Config"))
    one, other = (workshop.train(n, make(**settings), base(), seed=i) for i, n in enumerate("ab"))
    derived = call(
        "ties", total("elementwise", (1, one)), total("elementwise", (1, other)), density=HALF
    )
    result = tensors(total("elementwise", (1, derived)), one, other)
    a, b = load_file(one.path), load_file(other.path)
    assert result.keys() == a.keys()
    for name, tensor in result.items():
        if name.endswith(("vera_A", "vera_B")):
            assert torch.equal(tensor, a[name])
            continue
        # IA3 changes nothing at 1: what is trimmed and elected is what training added to that.
        origin = 1.0 if kind == "IA3" else 0.0
        expected = ties([a[name] - origin, b[name] - origin], HALF) + origin
        torch.testing.assert_close(tensor, expected)
    alone = call("trim", total("elementwise", (1, one)), density=HALF)
    for name, tensor in tensors(total("elementwise", (1, alone)), one).items():
        if not name.endswith(("vera_A", "vera_B")):
            torch.testing.assert_close(tensor, trim(a[name] - origin, HALF) + origin)


def test_projections_must_be_the_same_numbers(workshop: Any, architectures: Any) -> None:
    from peft import VeraConfig

    base = architectures["llama"]
    one, other = (
        workshop.train(
            name, VeraConfig(r=4, target_modules=["q_proj"], projection_prng_key=key), base()
        )
        for key, name in enumerate("ab")
    )
    derived = call(
        "ties", total("elementwise", (1, one)), total("elementwise", (1, other)), density=HALF
    )
    with pytest.raises(IncompatibleError, match=r"share .*vera_A.* not the same numbers"):
        tensors(total("elementwise", (1, derived)), one, other)


@pytest.mark.filterwarnings("ignore:Specified to not save vera_A:UserWarning")
def test_projections_are_taken_from_whoever_saved_them(workshop: Any, architectures: Any) -> None:
    from peft import VeraConfig

    base = architectures["llama"]
    one, other = (
        workshop.train(
            name, VeraConfig(r=4, target_modules=["q_proj"], save_projection=name == "b"), base()
        )
        for name in "ab"
    )
    derived = call(
        "ties", total("elementwise", (1, one)), total("elementwise", (1, other)), density=HALF
    )
    result = tensors(total("elementwise", (1, derived)), one, other)
    for name, tensor in load_file(other.path).items():
        if name.endswith(("vera_A", "vera_B")):
            assert torch.equal(result[name], tensor)


def test_values_that_replace_the_bases_are_refused(workshop: Any) -> None:
    one = workshop.adapter("one", modules_to_save=["conv"])
    derived = call("trim", total("elementwise", (1, one)), density=HALF)
    with pytest.raises(IncompatibleError, match=r"trained as a whole \(modules_to_save\)"):
        workshop_prepare(total("elementwise", (1, derived)), one)


def workshop_prepare(plan: Plan, *operands: Operand) -> Any:
    return prepare(plan, {one.key: one for one in operands}, None)


def test_elementwise_asks_for_equal_ranks(workshop: Any, pair: Any) -> None:
    other = workshop.adapter("wide", r=4)
    derived = call(
        "ties", total("elementwise", (1, pair[0])), total("elementwise", (1, other)), density=HALF
    )
    with pytest.raises(IncompatibleError, match="need equal ranks") as caught:
        workshop_prepare(total("elementwise", (1, derived)), pair[0], other)
    assert "exact" in str(caught.value.hint)


def test_exact_takes_adapters_of_different_ranks_and_types(
    workshop: Any, architectures: Any
) -> None:
    from peft import LoKrConfig, LoraConfig

    base = architectures["llama"]
    one = workshop.train("lora", LoraConfig(r=2, target_modules=["q_proj"]), base(), seed=1)
    other = workshop.train("lokr", LoKrConfig(r=1, target_modules=["q_proj"]), base(), seed=2)
    derived = call("truncate", total("exact", (1, one), (Fraction(1, 4), other)), rank=12)
    with ready(total("elementwise", (1, derived)), (one, other)) as made:
        changes = workshop.changes(workshop.write(made.blueprint), base)
    a, b = (workshop.changes(operand.path.parent, base) for operand in (one, other))
    assert changes.keys() == a.keys() == b.keys()
    for name, change in changes.items():
        torch.testing.assert_close(change, a[name] + 0.25 * b[name], rtol=1e-3, atol=1e-4)


def test_convolutions_and_embeddings_keep_their_forms(workshop: Any) -> None:
    one, other = (
        workshop.adapter(name, seed=seed, target_modules=["conv", "embed", "q"])
        for seed, name in enumerate("ab")
    )
    derived = call(
        "ties", total("exact", (1, one)), total("exact", (1, other)), density=HALF, rank=3
    )
    found = updates(workshop, total("exact", (1, derived)), one, other)
    a, b = (workshop.updates(operand.path.parent) for operand in (one, other))
    assert found.keys() == a.keys()
    for module, update in found.items():
        is_embedding = module == "embed"
        flat = [x[module].T if is_embedding else x[module].flatten(1) for x in (a, b)]
        merged = ties([x.float() for x in flat], HALF).double()
        u, s, vt = torch.linalg.svd(merged, full_matrices=False)
        expected = u[:, :3] * s[:3] @ vt[:3]
        ours = update.T if is_embedding else update.flatten(1)
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("function", ["truncate", "lora", "core", "ties"])
def test_filters_that_keep_nothing_are_refused_by_functions_of_updates(
    pair: Any, function: str
) -> None:
    one, other = pair
    kept = ModuleFilter(modules="layers.9")
    operands = [total("exact", (1, one), (1, other, kept))]
    if function in ("core", "ties"):
        operands = [total("exact", (1, one)), total("exact", (1, other, kept))]
    derived = call(function, *operands, **({"density": HALF} if function == "ties" else {}), rank=2)
    with pytest.raises(IncompatibleError, match=r"only\(\.\.\..* keeps no module of 'b'"):
        workshop_prepare(total("elementwise", (1, derived)), one, other)


def test_groups_are_refused_by_functions_of_updates(workshop: Any) -> None:
    one = workshop.adapter("grouped", target_modules=["grouped", "q"], r=4)
    derived = call("truncate", total("exact", (1, one)), rank=1)
    with pytest.raises(IncompatibleError, match="convolutions in groups"):
        workshop_prepare(total("elementwise", (1, derived)), one)
    kept = total("exact", (1, one, ModuleFilter(modules=r"(^|\.)q$")))
    workshop_prepare(total("elementwise", (1, call("truncate", kept, rank=1))), one)


def test_too_little_memory_is_refused_before_anything_is_made(pair: Any, tmp_path: Path) -> None:
    derived = call("ties", *(total("exact", (1, x)) for x in pair), density=HALF, rank=2)
    blueprint = workshop_prepare(total("exact", (1, derived)), *pair)
    need = blueprint.makings.memory_bytes
    require_memory(blueprint, need)
    with (
        pytest.raises(UnsupportedError, match=r"ties needs \d+KiB of memory for .*limit is 1KiB"),
        made_ready(blueprint, tmp_path / "made", 1 << 10),
    ):
        pass
    assert not (tmp_path / "made").exists()


def test_temporary_files_go_away_also_after_an_error(pair: Any, tmp_path: Path) -> None:
    derived = call("trim", total("elementwise", (1, pair[0])), density=HALF)
    plan = total("elementwise", (1, derived))
    with ready(plan, pair[:1], folder=tmp_path) as made:
        (path,) = tmp_path.iterdir()
        assert made.blueprint.sources == (path,)
        assert path.stat().st_size <= workshop_prepare(plan, pair[0]).makings.disk_bytes
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyError), ready(plan, pair[:1], folder=tmp_path):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_what_is_used_twice_is_made_once(pair: Any, tmp_path: Path) -> None:
    inner = call("trim", total("elementwise", (1, pair[0])), density=HALF)
    outer = call("dare", total("elementwise", (1, inner), (1, pair[1])), density=HALF)
    plan = total("elementwise", (1, inner), (1, outer))
    with ready(plan, pair, folder=tmp_path):
        assert len(list(tmp_path.iterdir())) == 2


def test_the_result_has_the_dtype_of_the_adapters(workshop: Any) -> None:
    one = workshop.adapter("half", dtype=torch.bfloat16)
    derived = call("trim", total("elementwise", (1, one)), density=HALF)
    result = tensors(total("elementwise", (1, derived)), one)
    weights = load_file(one.path)
    for name, tensor in result.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, trim(weights[name].float(), HALF).bfloat16())


def test_the_same_bits_from_many_threads(pair: Any) -> None:
    derived = call("ties", *(total("exact", (1, x)) for x in pair), density=HALF, rank=2)
    plan = total("exact", (1, derived))
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(tensors(plan, *pair))
    finally:
        torch.set_num_threads(threads)
    for name, tensor in results[0].items():
        torch.testing.assert_close(tensor, results[1][name], rtol=1e-5, atol=1e-6)

"""The functions of updates: what they need, what they give, and how that is written."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from isogloss.dsl.algebra.interface import UpdateLayout
from isogloss.dsl.decomposition.functions import UPDATE_FUNCTIONS, check, update_function
from isogloss.dsl.decomposition.interface import Bound, UpdateFunction
from isogloss.dsl.decomposition.updates import Dense, Kronecker, LowRank, Update
from isogloss.dsl.errors import IncompatibleError, UnsupportedError
from isogloss.dsl.tensors.tensorfile import TensorEntry

torch.manual_seed(0)
RANK = {"rank": Fraction(3)}
TIES = {"method": "ties", "density": Fraction(1, 2)}


def layout(form: str = "lora", kind: str = "linear", **shapes: Any) -> UpdateLayout:
    tensors = {name: TensorEntry(name, "F32", shape, 0, 0) for name, shape in shapes.items()}
    kernel = shapes["a"][2:] if "a" in shapes else ()
    return UpdateLayout(form, tensors, 1.0, kind=kind, kernel=kernel)


def low_rank(rank: int, rows: int = 12, columns: int = 10) -> Update:
    return Update(((0.5, LowRank(torch.randn(rows, rank), torch.randn(rank, columns))),))


def kronecker(rank: int | None = None) -> Update:
    w2 = (
        Dense(torch.randn(4, 5))
        if rank is None
        else LowRank(torch.randn(4, rank), torch.randn(rank, 5))
    )
    return Update(((2.0, Kronecker(Dense(torch.randn(3, 2)), w2)),))


def bound(update: Update) -> Bound:
    return Bound(*update.shape, update.rank)


def test_bounds_come_from_shapes_alone() -> None:
    assert layout(a=(4, 10), b=(12, 4)).bound == Bound(12, 10, 4)
    lokr = layout("lokr", lokr_w1=(3, 2), lokr_w2=(4, 5)).bound
    assert lokr == Bound(12, 10, 8, ((3, 2), (4, 5)))
    factored = layout("lokr", lokr_w1=(3, 2), lokr_w2_a=(4, 1), lokr_w2_b=(1, 5)).bound
    assert (factored.rank, factored.is_narrow, factored.is_dense) == (2, True, False)
    full = layout("lokr", lokr_w1=(3, 3), lokr_w2=(4, 4)).bound
    assert (full + full).halves == ((3, 3), (4, 4)) and (full + lokr).halves is None
    # One product takes the decompositions of its halves; a sum of two must be made.
    assert (full.is_dense, (full + full).is_dense) == (False, True)
    hada = {f"hada_w{n}_{x}": s for n in "12" for x, s in (("a", (12, 2)), ("b", (2, 10)))}
    assert layout("loha", **hada).bound == Bound(12, 10, 4)


@pytest.mark.parametrize("options", [RANK, {"energy": Fraction(9, 10)}])
def test_nothing_exceeds_what_was_foreseen(options: dict[str, Fraction]) -> None:
    for name in ("truncate", "lora"):
        function = UPDATE_FUNCTIONS[name]
        for update in (low_rank(2), low_rank(7), kronecker(), kronecker(1) + kronecker()):
            found = function.compute(options, [update], "m")
            assert found.rank <= function.rank(options, [bound(update)])
            assert function.memory_bytes(options, [bound(update)]) > 8 * sum(update.shape)


def test_lora_without_a_limit_is_exact_or_refused() -> None:
    lora = UPDATE_FUNCTIONS["lora"]
    update = kronecker(1) + kronecker(1)
    assert lora.rank({}, [bound(update)]) == 4
    found: Any = lora.compute({}, [update], "m")
    torch.testing.assert_close(found.b @ found.a, update.dense().float(), rtol=1e-4, atol=1e-5)
    assert (found.relative_error, found.singular_values) == (0.0, ())
    wide = kronecker() + kronecker()
    with pytest.raises(IncompatibleError, match="no exact factors that are smaller") as caught:
        lora.rank({}, [bound(wide)])
    assert "rank=... or energy=..." in str(caught.value.hint)


def test_vllm_has_one_rank_for_all_modules() -> None:
    form = UPDATE_FUNCTIONS["lora"].result
    assert form.ranks({"pad": "vllm"}, {"a": 3, "b": 9}) == {"a": 16, "b": 16}
    assert form.ranks({}, {"a": 3, "b": 9}) == {"a": 3, "b": 9}
    here = layout(a=(4, 10), b=(12, 4))
    found = UPDATE_FUNCTIONS["lora"].compute(RANK, [low_rank(4)], "m")
    tensors = form.tensors(here, found, 16)
    assert {name: tuple(t.shape) for name, t in tensors.items()} == form.shapes(here, 16)
    plain = form.tensors(here, found, found.rank)
    product = [t["lora_B.weight"] @ t["lora_A.weight"] for t in (tensors, plain)]
    torch.testing.assert_close(*product)
    config = form.config([{"target_modules": ["q"]}], [frozenset({"x.q"})], {"x.q": 16})
    assert (config["r"], config["lora_alpha"], config["rank_pattern"]) == (16, 16, {})
    with pytest.raises(IncompatibleError, match="more than the 512 that vLLM serves"):
        UPDATE_FUNCTIONS["lora"].rank(
            {"pad": "vllm", "rank": Fraction(600)}, [Bound(4000, 4000, 700)]
        )


def test_results_lie_as_their_modules_do() -> None:
    form = UPDATE_FUNCTIONS["truncate"].result
    table = layout(kind="embedding", a=(4, 10), b=(12, 4))
    assert form.shapes(table, 3) == {"lora_embedding_A": (3, 10), "lora_embedding_B": (12, 3)}
    image = layout(a=(4, 5, 2, 1), b=(12, 4, 1, 1))
    assert form.shapes(image, 3) == {"lora_A.weight": (3, 5, 2, 1), "lora_B.weight": (12, 3, 1, 1)}
    update = low_rank(4)
    found = UPDATE_FUNCTIONS["truncate"].compute(RANK, [update], "m")
    for where in (table, image):
        tensors = form.tensors(where, found, 3)
        assert {name: tuple(t.shape) for name, t in tensors.items()} == form.shapes(where, 3)
        a, b = (tensors[name].flatten(1) for name in sorted(tensors))
        assert a.shape == (3, 10) and b.shape == (12, 3)


@pytest.mark.parametrize("rank", [1, 2, 3, 9])
def test_truncated_lokr_is_laid_out_as_peft_would(rank: int) -> None:
    function = update_function("truncate", "LOKR", {"rank": Fraction(rank)})
    here = layout("lokr", lokr_w1=(3, 2), lokr_w2=(4, 5))
    options = {"rank": Fraction(rank)}
    update = kronecker() + kronecker()
    found = function.compute(options, [update], "m")
    foreseen = function.rank(options, [here.bound + here.bound])
    assert foreseen == min(rank, 3)
    ranks = {"m": foreseen, "narrower": 1}
    assert set(function.result.ranks(options, ranks).values()) == {foreseen}
    final = foreseen
    tensors = function.result.tensors(here, found, final)
    assert {n: tuple(t.shape) for n, t in tensors.items()} == function.result.shapes(here, final)
    # PEFT: not (r < max(shape[0][1], shape[1][1]) / 2)
    assert ("lokr_w2" in tensors) == (rank >= 2.5)
    config = function.result.config([{"target_modules": ["q"]}], [frozenset({"x.q"})], {"x.q": 3})
    assert (config["r"], config["alpha"], config["decompose_both"]) == (3, 3, False)


def test_a_nearest_lokr_has_no_energy() -> None:
    with pytest.raises(UnsupportedError, match="one Kronecker product") as caught:
        update_function("truncate", "LOKR", {"energy": Fraction(9, 10)})
    assert "lora(..., energy=0.9)" in str(caught.value.hint)
    assert update_function("lora", "LOKR", {"energy": Fraction(9, 10)}).name == "lora"


def refused(function: UpdateFunction, *layouts: UpdateLayout, **fields: Any) -> IncompatibleError:
    with pytest.raises(IncompatibleError) as caught:
        check(function, "x.q", layouts, [fields, *({} for _ in layouts[1:])])
    return caught.value


def test_what_cannot_be_summed_is_refused() -> None:
    truncate, lokr = UPDATE_FUNCTIONS["truncate"], update_function("truncate", "LOKR", RANK)
    plain = layout(a=(4, 10), b=(12, 4))
    check(truncate, "x.q", [plain, layout(a=(1, 10), b=(12, 1))], [{}, {}])
    other = refused(truncate, plain, layout(a=(4, 11), b=(12, 4)))
    assert "linear 12 x 10 and linear 12 x 11" in other.message
    refused(truncate, plain, layout(kind="embedding", a=(4, 10), b=(12, 4)))
    grouped = UpdateLayout("lora", plain.tensors, 1.0, groups=2)
    assert "no convolutions in groups" in refused(truncate, grouped).message
    one = layout("lokr", lokr_w1=(3, 2), lokr_w2=(4, 5))
    two = layout("lokr", lokr_w1=(4, 5), lokr_w2=(3, 2))
    check(truncate, "x.q", [one, two], [{}, {}])
    check(lokr, "x.q", [one, one], [{}, {}])
    assert "lora(..., rank=...)" in str(refused(lokr, one, two).hint)
    assert "(decompose_factor)" in refused(lokr, one, one, decompose_factor=2).message


def test_core_merges_what_adapters_share() -> None:
    core = UPDATE_FUNCTIONS["core"]
    one, other = low_rank(2), low_rank(3)
    bounds = [bound(one), bound(other)]
    assert core.rank(TIES, bounds) == 5 and core.rank({**TIES, "rank": Fraction(2)}, bounds) == 2
    # An adapter with itself is itself, whatever is elected; so it is beside one that is not there.
    alone: Any = core.compute({**TIES, "density": Fraction(1)}, [one, one, Update(())], "m")
    torch.testing.assert_close(alone.b @ alone.a, one.dense().float(), rtol=1e-4, atol=1e-5)
    found: Any = core.compute({"method": "isotropic"}, [one, other], "m")
    values = torch.linalg.svdvals(found.b @ found.a)
    total = torch.linalg.svdvals(one.dense() + other.dense())
    torch.testing.assert_close(values[:5], total[:5].mean().float().expand(5), rtol=1e-4, atol=1e-4)
    cut = core.compute({"method": "isotropic", "rank": Fraction(2)}, [one, other], "m")
    assert cut.rank == 2 and cut.relative_error == pytest.approx((3 / 5) ** 0.5)

"""Merge methods against PEFT's own functions, and against mergekit's rules written down again."""

from __future__ import annotations

import math
from fractions import Fraction
from hashlib import sha256
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.merging import MERGES, Place
from isogloss.dsl.merging.breadcrumbs import breadcrumbs
from isogloss.dsl.merging.dare import dare, drawn
from isogloss.dsl.merging.inner import inner
from isogloss.dsl.merging.model_stock import model_stock
from isogloss.dsl.merging.selection import largest, share
from isogloss.dsl.merging.slerp import slerp
from isogloss.dsl.merging.ties import ties
from isogloss.dsl.merging.trim import trim
from isogloss.dsl.nonlinear import NONLINEAR
from peft.utils import merge_utils

DENSITIES = [Fraction(1, 10), Fraction(1, 2), Fraction(7, 10), Fraction(1)]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def three() -> list[torch.Tensor]:
    return [normal(seed, 13, 7) for seed in range(3)]


@pytest.mark.parametrize("density", DENSITIES[:3])
def test_trim_is_pefts(density: Fraction) -> None:
    x = normal(1, 13, 7)
    assert torch.equal(trim(x, density), merge_utils.prune(x, float(density), method="magnitude"))


def test_trim_takes_the_first_of_equal_values() -> None:
    x = torch.tensor([1.0, -2.0, 2.0, 2.0, -2.0])
    assert trim(x, Fraction(2, 5)).tolist() == [0.0, -2.0, 2.0, 0.0, 0.0]
    assert trim(x, Fraction(1, 10)).tolist() == [0.0] * 5


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(0, 30))
def test_the_largest_are_so_many_and_nested(values: list[int], count: int) -> None:
    x = torch.tensor(values, dtype=torch.float32)
    chosen = torch.from_numpy(largest(x.numpy(), count))
    assert int(chosen.sum()) == min(count, len(values))
    if 0 < count < len(values):
        assert x[chosen].abs().min() >= x[~chosen].abs().max()
    assert not (chosen & ~torch.from_numpy(largest(x.numpy(), count + 1))).any()


@pytest.mark.parametrize(("density", "count"), [(Fraction(29, 100), 29), (Fraction(7, 10), 70)])
def test_shares_are_exact(density: Fraction, count: int) -> None:
    assert share(density, 100) == count


@pytest.mark.parametrize("density", DENSITIES[:3])
@pytest.mark.parametrize("method", ["total", "frequency"])
def test_ties_is_pefts_for_weights_of_one(
    three: list[torch.Tensor], density: Fraction, method: Any
) -> None:
    theirs = merge_utils.ties(three, torch.ones(3), float(density), method)
    assert torch.equal(ties(three, density, majority_sign_method=method), theirs)


@pytest.mark.parametrize("method", ["total", "frequency"])
def test_ties_elects_after_scaling_where_peft_elects_before(
    three: list[torch.Tensor], method: Any
) -> None:
    weights = torch.tensor([0.7, 2.0, -0.5])
    scaled = [w * x for w, x in zip(weights, three, strict=True)]
    ours = ties(scaled, Fraction(1, 2), majority_sign_method=method)
    assert not torch.allclose(ours, merge_utils.ties(three, weights, 0.5, method))
    assert torch.equal(ours, merge_utils.ties(scaled, torch.ones(3), 0.5, method))


def mergekit_ties(
    deltas: list[torch.Tensor], weights: list[float], density: float, normalize: bool
) -> torch.Tensor:
    """mergekit's GeneralizedTaskArithmeticMerge with sparsification and sign consensus."""
    sparse = []
    for delta in deltas:
        count = int(density * delta.numel())
        mask = torch.zeros_like(delta)
        order = torch.argsort(delta.abs().view(-1), descending=True)
        mask.view(-1)[order[:count]] = 1
        sparse.append(delta * mask)
    stacked, factors = torch.stack(sparse), torch.tensor(weights)
    while factors.dim() < stacked.dim():
        factors = factors.unsqueeze(-1)
    weighted = stacked * factors
    sign = weighted.sign()
    majority = (weighted.sum(dim=0) >= 0).float() * 2 - 1
    mask = sign == majority
    mixed = (weighted * mask).sum(dim=0)
    if normalize:
        divisor = (factors * mask).sum(dim=0)
        divisor[divisor.abs() < 1e-8] = 1
        mixed /= divisor
    return mixed


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("weights", [[0.7, 0.3, 1.0], [1.0, -0.5, 0.25]])
def test_ties_is_mergekits(
    three: list[torch.Tensor], weights: list[float], normalize: bool
) -> None:
    ours = ties(
        [w * x for w, x in zip(weights, three, strict=True)],
        Fraction(1, 2),
        normalize="weight" if normalize else "none",
        weights=[Fraction(str(w)) for w in weights],
    )
    torch.testing.assert_close(ours, mergekit_ties(three, weights, 0.5, normalize))


def test_breadcrumbs_is_mergekits() -> None:
    x = normal(2, 40, 5)
    order = x.abs().view(-1).argsort()
    mask = torch.zeros(200)
    # density 0.6 and gamma 0.05 of 200: 120 stay, 10 at the top go, 70 at the bottom.
    mask[order[70:-10]] = 1
    assert torch.equal(breadcrumbs(x, Fraction(3, 5), Fraction(1, 20)), x * mask.view(x.shape))


def test_breadcrumbs_drops_fewer_outliers_to_keep_its_density() -> None:
    x = torch.tensor([4.0, 3.0, 2.0, 1.0])
    assert breadcrumbs(x, Fraction(3, 4), Fraction(1, 2)).tolist() == [0.0, 3.0, 2.0, 1.0]
    assert torch.equal(breadcrumbs(x, Fraction(1), Fraction(1, 2)), x)


def test_dare_scales_what_stays_as_peft_does() -> None:
    x = normal(3, 200, 50)
    result = dare(x, Fraction(1, 4), seed=1, stream="s")
    kept = result != 0
    torch.testing.assert_close(result[kept], x[kept] / 0.25)
    assert abs(float(kept.float().mean()) - 0.25) < 0.02
    assert abs(float((result.sum() - x.sum()) / x.abs().sum())) < 0.05


def test_dare_draws_the_same_anywhere() -> None:
    """The first numbers of a stream, so that no other machine or version can draw others."""
    kept = drawn(24, Fraction(1, 2), seed=7, stream="digest\ntensor")
    assert "".join("01"[bool(one)] for one in kept) == "001010100100101101101100"
    longer = drawn(5000, Fraction(1, 2), seed=7, stream="digest\ntensor")
    assert numpy.array_equal(longer[:24], kept)
    for other in ({"seed": 8, "stream": "digest\ntensor"}, {"seed": 7, "stream": "digest\nother"}):
        assert not numpy.array_equal(drawn(5000, Fraction(1, 2), **other), longer)


def test_dare_draws_across_its_own_chunks() -> None:
    count = (1 << 20) + 1000
    kept = drawn(count, Fraction(1, 3), seed=0, stream="x")
    key = int.from_bytes(sha256(b"isogloss dare\n0\nx").digest()[:16], "little")
    words = numpy.random.Philox(key=key).random_raw(count)
    assert numpy.array_equal(kept, words < (1 << 64) // 3)


def test_dare_keeps_all_at_density_one() -> None:
    x = normal(4, 9)
    assert torch.equal(dare(x, Fraction(1), seed=0, stream="x"), x)


def mergekit_slerp(t: float, a: numpy.ndarray, b: numpy.ndarray) -> numpy.ndarray:
    """mergekit's slerp: of directions, then applied to the vectors as they are."""
    x, y = a / numpy.linalg.norm(a), b / numpy.linalg.norm(b)
    dot = float(numpy.sum(x * y))
    if abs(dot) > 0.9995:
        return (1 - t) * a + t * b
    whole = numpy.arccos(dot)
    return (numpy.sin(whole - whole * t) * a + numpy.sin(whole * t) * b) / numpy.sin(whole)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("near", [False, True])
def test_slerp_is_mergekits(t: float, near: bool) -> None:
    x, y = normal(5, 11, 3), normal(6, 11, 3)
    if near:
        y = x + 0.01 * y
    theirs = mergekit_slerp(t, x.double().numpy(), y.double().numpy())
    torch.testing.assert_close(slerp(x, y, t), torch.from_numpy(theirs).float())


def test_slerp_of_opposite_and_of_nothing_goes_straight() -> None:
    x = normal(7, 5)
    assert torch.allclose(slerp(x, -x, 0.25), 0.5 * x)
    halfway = slerp(torch.zeros(5), x, 0.5)
    assert torch.allclose(halfway, math.sin(math.pi / 4) * x)


def mergekit_model_stock(tensors: list[torch.Tensor]) -> torch.Tensor:
    """mergekit's ModelStockTask with a base of zeros."""
    flat = [one.view(-1) for one in tensors]
    cosines = [
        float((a * b).sum() / (a.norm() * b.norm()))
        for i, a in enumerate(flat)
        for b in flat[i + 1 :]
    ]
    count, cosine = len(tensors), float(numpy.mean(cosines))
    t = count * cosine / (1 + (count - 1) * cosine)
    return t * torch.stack(tensors).mean(dim=0)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_model_stock_is_mergekits(count: int) -> None:
    start = normal(8, 17, 4)
    tensors = [start + 0.7 * normal(seed, 17, 4) for seed in range(count)]
    torch.testing.assert_close(model_stock(tensors), mergekit_model_stock(tensors))


def test_model_stock_never_goes_past_nothing() -> None:
    x = normal(9, 6)
    assert not model_stock([x, -x]).any()
    assert not model_stock([x, torch.zeros(6)]).any()
    torch.testing.assert_close(model_stock([x, x, x]), x)


@settings(max_examples=30)
@given(st.integers(1, 300), st.integers(0, 100))
def test_inner_products_are_exact_to_the_last_bits(count: int, seed: int) -> None:
    x, y = normal(seed, count), normal(seed + 1, count)
    exact = math.fsum(float(a) * float(b) for a, b in zip(x, y, strict=True))
    assert inner(x, y) == pytest.approx(exact, rel=1e-12, abs=1e-12)


def test_inner_products_of_many_parts() -> None:
    x = normal(10, 200_000)
    assert inner(x, x) == pytest.approx(float(x.double().square().sum()), rel=1e-12)


OPTIONS: dict[str, dict[str, Fraction | str]] = {
    "ties": {
        "density": Fraction(1, 2),
        "majority_sign_method": "total",
        "normalize": "weight",
    },
    "trim": {"density": Fraction(1, 2)},
    "dare": {"density": Fraction(1, 2), "seed": Fraction(3)},
    "breadcrumbs": {"density": Fraction(1, 2), "gamma": Fraction(1, 10)},
    "slerp": {"t": Fraction(1, 4)},
    "model_stock": {},
}


def test_every_function_of_values_is_a_method() -> None:
    names = {one.name for one in NONLINEAR if one.works_on == "values"}
    assert names == set(MERGES) == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_methods_change_no_input_and_do_not_depend_on_threads(name: str) -> None:
    tensors = [normal(seed, 64, 33) for seed in range(2)]
    before = [one.clone() for one in tensors]
    place = Place("tensor", ("a", "b"), (Fraction(1), Fraction(1)))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(MERGES[name].compute(tensors, OPTIONS[name], place))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)
    assert all(map(torch.equal, tensors, before))
    assert results[0].dtype == torch.float32
    assert results[0].shape == (64, 33)

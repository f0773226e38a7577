"""Truncation from factors against the singular value decomposition of the dense product."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.decomposition.truncation import Truncation, truncate_factors
from isogloss.dsl.errors import CheckError

MANY = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def factors(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors as adapters stack them: also nearly dependent, badly scaled, cancelling, too many."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    out, into = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    adapters, rank = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    start = torch.randn(rank, into, generator=generator)
    all_b, all_a = [], []
    for _ in range(adapters):
        apart = draw(st.sampled_from([1.0, 1e-2, 1e-5, 0.0]))
        gauge = draw(st.sampled_from([1.0, 1e-6, 1e6]))
        a = start + apart * torch.randn(rank, into, generator=generator)
        b = torch.randn(out, rank, generator=generator)
        # Every singular value of a factor may have an order of magnitude of its own.
        steep = 10.0 ** torch.linspace(0, draw(st.sampled_from([0.0, -3.0, -6.0])), rank)
        all_b.append(b * steep * draw(st.sampled_from([1.0, -0.4, 0.05])) / gauge)
        all_a.append(a * gauge)
    if draw(st.booleans()) and adapters > 1:
        all_b[1], all_a[1] = -all_b[0], all_a[0]
    return torch.cat(all_b, dim=1), torch.cat(all_a)


def product(found: Truncation) -> torch.Tensor:
    return found.b.double() @ found.a.double()


@MANY
@given(given_factors=factors(), rank=st.integers(1, 45))
def test_singular_values_are_those_of_the_dense_product(
    given_factors: tuple[torch.Tensor, torch.Tensor], rank: int
) -> None:
    b, a = given_factors
    dense = b.double() @ a.double()
    wanted = torch.linalg.svdvals(dense)
    found = truncate_factors(b, a, rank=rank)
    assert found.rank == min(rank, b.shape[1], *dense.shape)
    assert found.b.shape == (len(b), found.rank)
    assert found.a.shape == (found.rank, a.shape[1])
    assert found.b.dtype == found.a.dtype == torch.float32
    size = float(b.double().norm(dim=0) @ a.double().norm(dim=1))
    for value, exact in zip(found.singular_values, wanted.tolist(), strict=False):
        assert value == pytest.approx(exact, rel=1e-5, abs=1e-12 * size)
    lost = float((dense - product(found)).norm())
    best = float(wanted[rank:].norm())
    assert lost == pytest.approx(best, rel=1e-5, abs=3e-7 * float(wanted.norm()) + 1e-12 * size)
    total = float(wanted.norm())
    assert found.norm == pytest.approx(total, rel=1e-5, abs=1e-12 * size)
    if wanted[0] > 1e-6 * size:
        assert found.relative_error == pytest.approx(best / total, rel=1e-5, abs=1e-6)


@MANY
@given(given_factors=factors(), energy=st.sampled_from([1e-9, 0.3, 0.9, 0.999999, 1.0]))
def test_energy_keeps_the_fewest_that_have_it(
    given_factors: tuple[torch.Tensor, torch.Tensor], energy: float
) -> None:
    b, a = given_factors
    found = truncate_factors(b, a, energy=energy)
    squares = torch.tensor(truncate_factors(b, a, rank=99).singular_values).double().square()
    kept = float(squares[: found.rank].sum())
    assert kept >= energy * float(squares.sum()) * (1 - 1e-6)
    if found.rank > 1:
        before = float(squares[: found.rank - 1].sum())
        assert before <= energy * float(squares.sum()) * (1 + 1e-6)
    assert found.relative_error == pytest.approx(
        math.sqrt(float(squares[found.rank :].sum() / squares.sum())) if squares.any() else 0.0,
        abs=1e-6,
    )


def test_both_factors_have_one_norm_and_the_singular_vectors_directions() -> None:
    torch.manual_seed(0)
    found = truncate_factors(torch.randn(30, 12), torch.randn(12, 20), rank=5)
    values = torch.tensor(found.singular_values)
    assert torch.allclose(found.a @ found.a.T, values.diag(), atol=1e-5)
    assert torch.allclose(found.b.T @ found.b, values.diag(), atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_signs_do_not_depend_on_rounding_or_order(scale: float) -> None:
    """Rows whose largest elements tie, and factors in another order."""
    a = torch.tensor([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
    b = scale * torch.tensor([[3.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    first = truncate_factors(b, a, rank=2)
    other = truncate_factors(b.flip(1) * (1 + 1e-7), a.flip(0), rank=2)
    assert torch.allclose(first.a, other.a, atol=1e-5)
    assert torch.allclose(first.b, other.b, atol=1e-5)
    assert (first.a[:, 0] > 0).all()


def test_what_cancels_is_zero_and_a_missing_rank_is_filled_with_zeros() -> None:
    torch.manual_seed(0)
    b, a = torch.randn(9, 3), torch.randn(3, 8)
    nothing = truncate_factors(torch.cat([b, -b], dim=1), torch.cat([a, a]), rank=4)
    assert nothing.singular_values == (0.0,) * 4
    assert nothing.relative_error == 0
    assert not nothing.b.any()
    assert not nothing.a.any()
    twice = truncate_factors(torch.cat([b, b], dim=1), torch.cat([a, a]), rank=5)
    assert twice.rank == 5
    assert twice.singular_values[3:] == (0.0, 0.0)
    assert torch.allclose(twice.b @ twice.a, 2 * b @ a, atol=1e-5)
    assert truncate_factors(torch.cat([b, b], dim=1), torch.cat([a, a]), energy=1).rank == 3


def test_a_factor_of_half_the_precision_is_taken_as_it_is() -> None:
    torch.manual_seed(0)
    b, a = torch.randn(9, 3).bfloat16(), torch.randn(3, 8).half()
    found = truncate_factors(b, a, rank=3)
    assert torch.allclose(found.b @ found.a, b.float() @ a.float(), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of rank= and energy="),
        ({"rank": 2, "energy": 0.5}, "exactly one of rank= and energy="),
        ({"rank": 0}, "rank=0 keeps nothing"),
        ({"energy": 0.0}, "energy=0.0 is no share"),
        ({"energy": 1.5}, "energy=1.5 is no share"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(CheckError, match=message):
        truncate_factors(torch.ones(2, 1), torch.ones(1, 2), **options)  # type: ignore[arg-type]

"""The nearest single Kronecker product against the rearrangement that defines it."""

from __future__ import annotations

import pytest
import torch
from isogloss.dsl.decomposition.core import core_space, isotropic
from isogloss.dsl.decomposition.kronecker import halves_shapes, nearest_kronecker
from isogloss.dsl.decomposition.updates import Dense, Half, Kronecker, LowRank, Update

SHAPES = (3, 4), (5, 6)


def half(generator: torch.Generator, shape: tuple[int, int], rank: int | None) -> Half:
    if rank is None:
        return Dense(torch.randn(shape, generator=generator))
    b = torch.randn(shape[0], rank, generator=generator)
    return LowRank(b, torch.randn(rank, shape[1], generator=generator))


def kroneckers(count: int, rank: int | None = None, seed: int = 0) -> Update:
    generator = torch.Generator().manual_seed(seed)
    terms = tuple(
        (
            1.0 - n / 3.5,
            Kronecker(half(generator, SHAPES[0], None), half(generator, SHAPES[1], rank)),
        )
        for n in range(count)
    )
    return Update(terms)


def rearranged(matrix: torch.Tensor) -> torch.Tensor:
    """Van Loan and Pitsianis: block (i, j), as a vector, is row i * n1 + j."""
    (m1, n1), (m2, n2) = SHAPES
    blocks = [
        matrix[i * m2 : (i + 1) * m2, j * n2 : (j + 1) * n2].flatten()
        for i in range(m1)
        for j in range(n1)
    ]
    return torch.stack(blocks)


def product(w1: torch.Tensor, w2: Half) -> torch.Tensor:
    return torch.kron(w1, w2.rows(0, w2.shape[0]))


def error(update: Update, w1: torch.Tensor, w2: Half) -> float:
    dense = update.dense()
    return float((dense - product(w1, w2)).norm() / dense.norm())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_is_the_best_approximation_of_rank_one_of_the_rearrangement(count: int) -> None:
    update = kroneckers(count)
    assert halves_shapes(update) == SHAPES
    found = nearest_kronecker(update)
    values = torch.linalg.svdvals(rearranged(update.dense()))
    assert int((values > 1e-6 * values[0]).sum()) == count
    best = float((values[1:].square().sum() / values.square().sum()).sqrt())
    assert found.relative_error == pytest.approx(best, abs=1e-7)
    assert error(update, found.w1, found.w2) == pytest.approx(best, abs=1e-6)
    assert found.norm == pytest.approx(float(update.dense().norm()), rel=1e-6)
    sizes = found.w1.norm(), found.w2.rows(0, 5).norm()
    torch.testing.assert_close(sizes[0], sizes[1])


def test_a_rank_of_w2_is_reached_at_a_stationary_point() -> None:
    update = kroneckers(3)
    free = nearest_kronecker(update)
    fits = [nearest_kronecker(update, rank=rank) for rank in (1, 2, 3, 5)]
    errors = [found.relative_error for found in fits]
    assert errors == sorted(errors, reverse=True) and errors[-1] >= free.relative_error - 1e-9
    assert errors[-1] == pytest.approx(free.relative_error, abs=1e-9)
    for rank, found in zip((1, 2, 3, 5), fits, strict=True):
        assert isinstance(found.w2, LowRank) and found.w2.rank == rank
        assert error(update, found.w1, found.w2) == pytest.approx(found.relative_error, abs=1e-6)
        # Cut down afterwards instead, it would be no nearer.
        u, s, vt = torch.linalg.svd(free.w2.rows(0, 5), full_matrices=False)
        cut = Dense((u[:, :rank] * s[:rank]) @ vt[:rank])
        assert found.relative_error <= error(update, free.w1, cut) + 1e-9
        # Neither half can be bettered alone.
        whole = found.w2.rows(0, 5)
        r = rearranged(update.dense())
        best_w1 = (r @ whole.flatten() / whole.square().sum()).reshape(SHAPES[0])
        torch.testing.assert_close(best_w1, found.w1, rtol=1e-3, atol=1e-4)


def test_what_fits_is_found_without_error() -> None:
    update = kroneckers(1, rank=2)
    found = nearest_kronecker(update, rank=2)
    assert found.relative_error < 1e-6
    torch.testing.assert_close(product(found.w1, found.w2), update.dense(), rtol=1e-5, atol=1e-5)
    wide = nearest_kronecker(update, rank=7)
    assert isinstance(wide.w2, LowRank) and wide.w2.rank == 7
    torch.testing.assert_close(product(wide.w1, wide.w2), update.dense(), rtol=1e-5, atol=1e-5)


def test_nothing_is_near_nothing() -> None:
    one = kroneckers(1)
    for rank in (None, 2):
        found = nearest_kronecker(one + one.times(-1), rank=rank)
        assert found.relative_error == 0 and not found.w1.any() and not found.w2.rows(0, 5).any()


def test_halves_of_other_shapes_have_none_in_common() -> None:
    other = Update(((1.0, Kronecker(Dense(torch.ones(5, 6)), Dense(torch.ones(3, 4)))),))
    assert other.shape == kroneckers(1).shape
    assert halves_shapes(kroneckers(1) + other) is None
    assert halves_shapes(Update(((1.0, LowRank(torch.ones(3, 1), torch.ones(1, 2))),))) is None


def low_rank(seed: int, rank: int) -> LowRank:
    generator = torch.Generator().manual_seed(seed)
    return LowRank(
        torch.randn(12, rank, generator=generator), torch.randn(rank, 10, generator=generator)
    )


def test_the_core_space_loses_nothing() -> None:
    updates = [low_rank(0, 2), low_rank(1, 3), low_rank(2, 1)]
    space = core_space(updates)
    assert space.u.shape == (12, 6) and space.vt.shape == (6, 10)
    eye = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(space.u.T @ space.u, eye)
    torch.testing.assert_close(space.vt @ space.vt.T, eye)
    for update, core in zip(updates, space.cores, strict=True):
        torch.testing.assert_close(space.u @ core @ space.vt, update.rows(0, 12))
    # A sum in it is the sum outside of it.
    total = sum(update.rows(0, 12) for update in updates)
    found = space.back(torch.stack(space.cores).sum(0))
    torch.testing.assert_close(found.b @ found.a, total.float(), rtol=1e-5, atol=1e-5)
    assert found.relative_error < 1e-6 and found.rank == 6
    values = torch.linalg.svdvals(total)
    cut = space.back(torch.stack(space.cores).sum(0), rank=2)
    assert cut.singular_values == pytest.approx(values[:2].tolist())


def test_its_axes_are_the_published_ones() -> None:
    updates = [low_rank(0, 2), low_rank(1, 2)]
    space = core_space(updates)
    u = torch.linalg.svd(torch.cat([one.b for one in updates], 1).double(), full_matrices=False)[0]
    vt = torch.linalg.svd(torch.cat([one.a for one in updates]).double(), full_matrices=False)[2]
    # But for their signs, which no method that looks at elements can notice.
    torch.testing.assert_close(torch.abs(u.T @ space.u), torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(torch.abs(vt @ space.vt.T), torch.eye(4, dtype=torch.float64))


def test_equal_adapters_have_a_core_of_their_own_rank() -> None:
    one = low_rank(0, 2)
    space = core_space([one, one, one])
    assert space.cores[0].shape == (2, 2)


def test_isotropic_keeps_directions_and_the_sum_of_singular_values() -> None:
    core = low_rank(3, 9).rows(0, 10)
    found = isotropic(core)
    values = torch.linalg.svdvals(found)
    mean = torch.linalg.svdvals(core).mean()
    torch.testing.assert_close(values, mean.expand(10))
    u, _, vt = torch.linalg.svd(core)
    torch.testing.assert_close(u.T @ found @ vt.T, mean * torch.eye(10, dtype=torch.float64))

"""Updates of every form against their definition: rows, exact factors, the nearest lower rank."""

from __future__ import annotations

import pytest
import torch
from isogloss.dsl.decomposition.products import inner_products
from isogloss.dsl.decomposition.ranks import VLLM_RANKS, padded, served_rank
from isogloss.dsl.decomposition.reduction import exact_factors, nearest_low_rank
from isogloss.dsl.decomposition.updates import (
    FORMS,
    Dense,
    Hadamard,
    Kronecker,
    LowRank,
    Term,
    Update,
)
from isogloss.dsl.errors import IncompatibleError

torch.manual_seed(0)


def pair(rows: int, rank: int, columns: int) -> LowRank:
    return LowRank(torch.randn(rows, rank), torch.randn(rank, columns))


def matrix(rows: int, columns: int) -> Dense:
    return Dense(torch.randn(rows, columns))


def product(half: LowRank | Dense) -> torch.Tensor:
    return half.b.double() @ half.a.double() if isinstance(half, LowRank) else half.values.double()


def by_definition(term: Term) -> torch.Tensor:
    if isinstance(term, Kronecker):
        return torch.kron(product(term.w1), product(term.w2))
    if isinstance(term, Hadamard):
        return product(term.first) * product(term.second)
    return product(term)


TERMS: dict[str, Term] = {
    "low rank": pair(24, 3, 20),
    "dense": matrix(24, 20),
    "kronecker, whole": Kronecker(matrix(4, 5), matrix(6, 4)),
    "kronecker, tall": Kronecker(matrix(6, 2), pair(4, 2, 10)),
    "kronecker, wide": Kronecker(matrix(2, 10), pair(12, 1, 2)),
    "kronecker, both factored": Kronecker(pair(4, 1, 5), pair(6, 2, 4)),
    "hadamard": Hadamard(pair(24, 2, 20), pair(24, 3, 20)),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_what_its_form_says(name: str) -> None:
    term = TERMS[name]
    expected = by_definition(term)
    assert term.shape == (24, 20)
    for first, last in ((0, 24), (0, 1), (5, 17), (23, 24)):
        torch.testing.assert_close(term.rows(first, last), expected[first:last])
    factors = term.factors()
    assert factors.rank == term.rank
    torch.testing.assert_close(product(factors), expected, rtol=1e-5, atol=1e-5)
    assert torch.linalg.matrix_rank(expected) == min(term.rank, 20)


def test_half_precision_is_left_before_anything_is_multiplied() -> None:
    def half(*shape: int) -> torch.Tensor:
        return torch.randn(shape).bfloat16()

    factored = LowRank(half(6, 2), half(2, 4))
    for term in (
        Kronecker(Dense(half(4, 5)), factored),
        Hadamard(factored, LowRank(half(6, 3), half(3, 4))),
        Kronecker(Dense(half(4, 5)), Dense(half(6, 4))),
    ):
        expected = by_definition(term)
        update = Update(((1.0, term),))
        torch.testing.assert_close(term.rows(0, 24), expected)
        torch.testing.assert_close(product(term.factors()), expected, rtol=1e-12, atol=1e-12)
        found = nearest_low_rank(update, energy=1.0)
        torch.testing.assert_close(found.b @ found.a, expected.float(), rtol=1e-5, atol=1e-5)


def test_a_kronecker_product_takes_the_smaller_of_two_ranks() -> None:
    assert Kronecker(matrix(6, 2), pair(4, 3, 10)).rank == 2 * 3
    assert Kronecker(matrix(2, 6), pair(4, 3, 10)).rank == 2 * 3
    assert Kronecker(pair(6, 1, 6), pair(4, 3, 10)).rank == 3


def test_a_sum_is_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {name: 0.5 - n for n, name in enumerate(TERMS)}
    update = Update(tuple((sizes[name], term) for name, term in TERMS.items()))
    expected = sum(sizes[name] * by_definition(term) for name, term in TERMS.items())
    torch.testing.assert_close(update.dense(), expected)
    torch.testing.assert_close((update + update.times(-3)).dense(), -2 * expected)
    monkeypatch.setattr("isogloss.dsl.decomposition.updates.BLOCK_ELEMENTS", 100)
    blocks = list(update.blocks())
    assert [len(block) for block in blocks] == [5, 5, 5, 5, 4]
    torch.testing.assert_close(torch.cat(blocks), expected)
    found = exact_factors(update)
    torch.testing.assert_close(found.b @ found.a, expected.float(), rtol=1e-4, atol=1e-4)
    assert found.b.dtype == found.a.dtype == torch.float32
    assert (found.relative_error, found.rank) == (0, update.rank)
    assert found.norm == pytest.approx(float(expected.norm()), rel=1e-5)
    # Its shapes alone are known from the tensors' shapes alone.
    flat = Update(tuple((1.0, Kronecker(matrix(4, 5), pair(6, 2, 4))) for _ in range(2)))
    assert (flat.rank, flat.is_narrow) == (16, True)


@pytest.mark.parametrize("limit", [{"rank": 1}, {"rank": 5}, {"rank": 90}, {"energy": 0.7}])
@pytest.mark.parametrize("name", [*TERMS, "two whole kroneckers"])
def test_the_nearest_low_rank_is_that_of_the_dense_svd(name: str, limit: dict[str, float]) -> None:
    if name in TERMS:
        update = Update(((-1.5, TERMS[name]),))
    else:
        update = Update(tuple((w, Kronecker(matrix(4, 5), matrix(6, 4))) for w in (1.0, 0.3)))
        assert not update.is_narrow
    dense = update.dense()
    u, values, vt = torch.linalg.svd(dense, full_matrices=False)
    energies = values.square().cumsum(0) / values.square().sum()
    count = int(limit.get("rank") or (energies < limit["energy"]).sum() + 1)
    count = min(count, 20)
    found = nearest_low_rank(update, **limit)  # type: ignore[arg-type]
    expected = (u[:, :count] * values[:count]) @ vt[:count]
    torch.testing.assert_close(found.b @ found.a, expected.float(), rtol=1e-4, atol=1e-4)
    kept = torch.tensor(found.singular_values, dtype=torch.float64)
    torch.testing.assert_close(kept, values[: len(kept)], rtol=1e-6, atol=1e-6)
    error = (dense - expected).norm() / dense.norm()
    assert found.relative_error == pytest.approx(float(error), abs=1e-7)
    assert found.norm == pytest.approx(float(dense.norm()), rel=1e-6)


def test_a_large_sum_of_kronecker_products_comes_near_the_best() -> None:
    halves = [(matrix(20, 18), matrix(15, 16)), (matrix(20, 18), matrix(15, 16))]
    update = Update(tuple((1.0, Kronecker(*both)) for both in halves))
    assert update.shape == (300, 288) and not update.is_narrow
    found = nearest_low_rank(update, rank=4)
    values = torch.linalg.svdvals(update.dense())
    best = float((values[4:].square().sum() / values.square().sum()).sqrt())
    assert found.relative_error == pytest.approx(best, rel=1e-5)
    error = (update.dense() - (found.b @ found.a).double()).norm() / update.dense().norm()
    assert float(error) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(
    "names",
    [
        ["kronecker, whole", "kronecker, whole"],
        ["low rank", "hadamard"],
        ["kronecker, tall", "low rank", "hadamard"],
        ["kronecker, whole", "dense", "low rank"],
    ],
)
def test_inner_products_are_those_of_the_elements(names: list[str]) -> None:
    updates = [
        Update(tuple((0.5 - n - m, TERMS[name]) for m, name in enumerate(names))) for n in range(3)
    ]
    dense = torch.stack([update.dense().flatten() for update in updates])
    torch.testing.assert_close(inner_products(updates), dense @ dense.T)
    alone = inner_products([Update(((2.0, TERMS[names[0]]),))])
    torch.testing.assert_close(alone[0, 0], 4 * by_definition(TERMS[names[0]]).square().sum())


def test_the_forms_of_peft_types() -> None:
    a, b = torch.randn(4, 3, 2), torch.randn(6, 2, 1)
    updates = FORMS["lora"]({"a": a, "b": b}, 0.5, 2)
    for group, update in enumerate(updates):
        expected = b[3 * group : 3 * group + 3, :, 0] @ a[2 * group : 2 * group + 2].flatten(1)
        torch.testing.assert_close(update.dense(), 0.5 * expected.double())
    tucker = {"w1": (2, 3), "t2": (2, 2, 3, 3), "w2_a": (2, 4), "w2_b": (2, 5)}
    tensors = {f"lokr_{name}": torch.randn(shape) for name, shape in tucker.items()}
    (update,) = FORMS["lokr"](tensors, 2.0, 1)
    core = [tensors[f"lokr_{name}"] for name in ("t2", "w2_a", "w2_b")]
    w2 = torch.einsum("ijkl,ip,jr->prkl", *core).contiguous()
    expected = 2 * torch.kron(tensors["lokr_w1"][:, :, None, None], w2)
    torch.testing.assert_close(update.dense(), expected.flatten(1).double(), rtol=1e-5, atol=1e-5)
    assert update.rank == 2 * 2


def test_ranks_that_vllm_serves() -> None:
    assert [served_rank(rank) for rank in (1, 8, 16, 17, 256, 300, 512)] == [
        8, 8, 16, 32, 256, 320, 512,
    ]  # fmt: skip
    assert tuple(sorted(VLLM_RANKS)) == VLLM_RANKS
    with pytest.raises(IncompatibleError, match="513 is more than the 512 that vLLM serves"):
        served_rank(513)
    b, a = padded(torch.randn(5, 3), torch.randn(3, 4), 8)
    assert (b.shape, a.shape) == ((5, 8), (8, 4))
    torch.testing.assert_close(b @ a, b[:, :3] @ a[:3])
    assert not b[:, 3:].any() and not a[3:].any()

"""The single Kronecker product nearest to a sum of them (Van Loan and Pitsianis 1993).

Rearranged so that each block of the update becomes a row, kron(W1, W2) is the outer product
vec(W1) vec(W2)^T. A sum of k Kronecker products is rearranged into a matrix of rank k, whose best
approximation of rank one is the nearest single product ("Approximation with Kronecker Products", in
Linear Algebra for Large Scale and Real-Time Applications). It comes from the k pairs of vectors
alone: neither the update nor its rearrangement is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from .ranks import padded
from .truncation import truncate_factors
from .updates import Dense, Half, Kronecker, LowRank, Update

_MOST_ROUNDS: Final = 200
_SETTLED: Final = 1e-12


@dataclass(frozen=True, slots=True)
class NearestKronecker:
    """The nearest update of the form kron(W1, W2).

    Attributes:
        w1, w2: its halves in float64; W2 as factors where it was to have a rank.
        relative_error: Frobenius norm of the difference over that of the update; 0 for zero.
        norm: Frobenius norm of the update.
    """

    w1: torch.Tensor
    w2: Half
    relative_error: float
    norm: float

    @property
    def rank(self) -> int:
        """The rank of W2, or its shorter side where that is whole."""
        return self.w2.rank


def halves_shapes(update: Update) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The shapes of W1 and W2 that all terms have in common; None where they have not."""
    shapes = {
        (term.w1.shape, term.w2.shape) if isinstance(term, Kronecker) else None
        for _, term in update.terms
    }
    return shapes.pop() if len(shapes) == 1 else None


def nearest_kronecker(update: Update, *, rank: int | None = None) -> NearestKronecker:
    """Find the nearest single Kronecker product to a sum of them, all with halves of equal shapes.

    Without a rank it is the nearest one (Van Loan and Pitsianis, theorem 2.1). With a rank of W2
    there is no closed form: from there on each half is fitted to the other in turn, W2 by its own
    truncation, and no round makes the error larger.

    Args:
        update: whose terms have common `halves_shapes`.
        rank: of W2; None for any.
    """
    pairs = [(weight, term) for weight, term in update.terms if isinstance(term, Kronecker)]
    first = pairs[0][1]
    left = torch.stack([weight * _whole(term.w1).flatten() for weight, term in pairs], dim=1)
    right = torch.stack([_whole(term.w2).flatten() for _, term in pairs])
    every = truncate_factors(left, right, energy=1.0)
    square = sum(value**2 for value in every.singular_values)
    if not square:
        zero = left.new_zeros(first.w1.shape), left.new_zeros(first.w2.shape)
        return NearestKronecker(zero[0], _of_rank(zero[1], rank), 0.0, 0.0)
    w1 = every.b[:, 0].double().reshape(first.w1.shape)
    if rank is None or rank >= min(first.w2.shape):
        best = every.singular_values[0] ** 2
        w2 = every.a[0].double().reshape(first.w2.shape)
        return NearestKronecker(w1, _of_rank(w2, rank), _root(square - best, square), every.norm)
    return _fitted(left, right, w1, first.w2.shape, rank, square)


def _fitted(
    left: torch.Tensor,
    right: torch.Tensor,
    w1: torch.Tensor,
    shape: tuple[int, int],
    rank: int,
    square: float,
) -> NearestKronecker:
    """Fit W2 of a rank to W1 and W1 to W2 in turn, until what they explain grows no more."""
    explained = 0.0
    for _ in range(_MOST_ROUNDS):
        one = (w1 / w1.norm()).flatten()
        u, values, vt = torch.linalg.svd(((one @ left) @ right).reshape(shape), full_matrices=False)
        # What W2 explains of the update, W1 being a unit vector.
        before, explained = explained, float(values[:rank].square().sum())
        if explained - before <= _SETTLED * square:
            break
        w2 = (u[:, :rank] * values[:rank]) @ vt[:rank]
        w1 = (left @ (right @ w2.flatten()) / w2.square().sum()).reshape(w1.shape)
    size = values[0].sqrt()
    factors = _of_rank((u[:, :rank] * values[:rank]) @ vt[:rank] / size, rank)
    w1 = one.reshape(w1.shape) * size
    return NearestKronecker(w1, factors, _root(square - explained, square), square**0.5)


def _whole(half: Half) -> torch.Tensor:
    return half.rows(0, half.shape[0])


def _of_rank(w2: torch.Tensor, rank: int | None) -> Half:
    """W2 as it is, or as factors of exactly a rank, which is no less than its own."""
    if rank is None:
        return Dense(w2)
    whole = Dense(w2).factors()
    found = truncate_factors(whole.b, whole.a, rank=rank)
    return LowRank(*padded(found.b, found.a, rank))


def _root(rest: float, square: float) -> float:
    return float((max(0.0, rest) / square) ** 0.5)

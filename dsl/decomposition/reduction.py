"""The nearest product of two factors to any update, by the cheapest way that its form allows."""

from __future__ import annotations

from dataclasses import replace

import torch

from .krylov import nearest_to_matrix
from .truncation import Truncation, truncate_factors
from .updates import Dense, Kronecker, Update


def nearest_low_rank(
    update: Update, *, rank: int | None = None, energy: float | None = None
) -> Truncation:
    """Bring an update to a lower rank, with the least error in the Frobenius norm.

    One Kronecker product takes the decompositions of its halves alone, since its singular values
    are all products of theirs (Van Loan 2000, The ubiquitous Kronecker product). An update whose
    exact factors are narrow takes theirs. What is left is made whole, once.

    Args:
        update: of any form.
        rank: keep as many singular values, or all where there are fewer.
        energy: keep as few as have this share, above 0 and at most 1, of the sum of their squares.

    Raises:
        CheckError: not exactly one of rank and energy, or one out of its range.
    """
    (weight, term), *others = update.terms
    if isinstance(term, Kronecker) and not others:
        return _of_kronecker(weight, term, rank, energy)
    if rank is not None and energy is None and not update.is_narrow:
        return nearest_to_matrix(_whole(update), rank)
    found = update.factors() if update.is_narrow else Dense(update.dense()).factors()
    return truncate_factors(found.b, found.a, rank=rank, energy=energy)


def exact_factors(update: Update) -> Truncation:
    """Factors with the update as their product, without a decomposition: nothing is lost."""
    found = update.factors()
    square = float(((found.b.T @ found.b) * (found.a @ found.a.T)).sum())
    return Truncation(found.b.float(), found.a.float(), (), 0.0, max(0.0, square) ** 0.5)


def _whole(update: Update) -> torch.Tensor:
    """All elements in float32, made some rows at a time."""
    values = torch.empty(update.shape, dtype=torch.float32)
    row = 0
    for block in update.blocks():
        values[row : row + len(block)] = block
        row += len(block)
    return values


def _of_kronecker(
    weight: float, term: Kronecker, rank: int | None, energy: float | None
) -> Truncation:
    (u1, s1, vt1), (u2, s2, vt2) = (
        torch.linalg.svd(half.rows(0, half.shape[0]), full_matrices=False)
        for half in (term.w1, term.w2)
    )
    values, order = torch.kron(s1, s2).sort(descending=True, stable=True)
    # Summed from the smallest on, so that a small rest is right, too.
    tails = torch.cat([values.square().flip(0).cumsum(0).flip(0), values.new_zeros(1)])
    count = len(values)
    if rank is not None:
        count = max(1, min(rank, count))
    elif energy is not None:
        count = max(1, int((tails > (1 - energy) * tails[0]).sum()))
    first, second = order[:count] // len(s2), order[:count] % len(s2)
    b = (u1[:, None, first] * u2[None, :, second]).flatten(0, 1) * (weight * values[:count])
    a = (vt1[first, :, None] * vt2[second, None, :]).flatten(1)
    # The factors are orthogonal by now; what is left is to share out sizes and signs.
    found = truncate_factors(b, a, rank=rank, energy=energy and 1.0)
    error = float((tails[count] / tails[0]).sqrt()) if tails[0] > 0 else 0.0
    return replace(found, relative_error=error, norm=abs(weight) * float(tails[0].sqrt()))

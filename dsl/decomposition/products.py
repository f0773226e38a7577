"""Inner products of updates of any form, by the cheapest way that their terms allow, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .kronecker import halves_shapes
from .updates import Half, Kronecker, Update


def inner_products(updates: Sequence[Update]) -> torch.Tensor:
    """The inner products of updates with one another: shape (n, n), float64.

    Kronecker products of equal halves have <kron(A, B), kron(C, D)> = <A, C> <B, D>; narrow factors
    have Gram matrices; else rows are made some at a time.

    Args:
        updates: of equal shapes.
    """
    whole = Update(tuple(term for update in updates for term in update.terms))
    if halves_shapes(whole) is not None:
        return _summed(updates, _of_halves(whole))
    if whole.is_narrow:
        return _summed(updates, _of_factors(whole))
    total = torch.zeros(len(updates), len(updates), dtype=torch.float64)
    for blocks in zip(*(update.blocks() for update in updates), strict=True):
        rows = torch.stack([block.flatten() for block in blocks])
        total += rows @ rows.T
    return total


def _of_halves(whole: Update) -> torch.Tensor:
    """Those of the terms of Kronecker products, with their weights."""
    pairs = [(weight, term) for weight, term in whole.terms if isinstance(term, Kronecker)]
    first = torch.stack([weight * _flat(term.w1) for weight, term in pairs])
    second = torch.stack([_flat(term.w2) for _, term in pairs])
    return (first @ first.T) * (second @ second.T)


def _flat(half: Half) -> torch.Tensor:
    return half.rows(0, half.shape[0]).flatten()


def _of_factors(whole: Update) -> torch.Tensor:
    """Those of the terms that are products of two factors, with their weights."""
    factors = whole.factors()
    products = (factors.b.T @ factors.b) * (factors.a @ factors.a.T)
    ends = torch.tensor([term.rank for _, term in whole.terms]).cumsum(0).tolist()
    spans = [slice(end - term.rank, end) for end, (_, term) in zip(ends, whole.terms, strict=True)]
    rows = torch.stack([products[span].sum(dim=0) for span in spans])
    return torch.stack([rows[:, span].sum(dim=1) for span in spans], dim=1)


def _summed(updates: Sequence[Update], of_terms: torch.Tensor) -> torch.Tensor:
    """Inner products of sums, from those of their terms."""
    owner = torch.tensor([n for n, update in enumerate(updates) for _ in update.terms])
    member = (owner[None, :] == torch.arange(len(updates))[:, None]).double()
    return member @ of_terms @ member.T

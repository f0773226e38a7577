"""The nearest matrix of a low rank to a whole one, without decomposing all of it.

A matrix of 4096 x 4096 numbers takes most of a minute to decompose, of which a rank of 16 needs
next to nothing. A block Krylov space, begun at random and grown until the part of the matrix that
it holds grows no more, takes some hundred products of the matrix with a vector. What is left out is
known exactly, since it is orthogonal to what is kept.
"""

from __future__ import annotations

from typing import Final

import numpy
import torch

from .truncation import Truncation, truncate_factors
from .updates import Dense

_SMALL: Final = 256
_MORE: Final = 8
_MOST_BLOCKS: Final = 12
_STILL: Final = 1e-7
_PART_ROWS: Final = 512


def nearest_to_matrix(values: torch.Tensor, rank: int) -> Truncation:
    """Bring a matrix to a lower rank, with the least error in the Frobenius norm.

    Block Krylov iteration (Musco and Musco 2015, arXiv:1504.05477) where that is less work than the
    decomposition of the whole: the sum of the squares of the singular values that are kept comes
    within 1e-6 of the best.

    Args:
        values: float32, of shape (rows, columns).
        rank: keep as many singular values, or all where there are fewer.
    """
    if min(values.shape) <= max(_SMALL, 4 * rank):
        factors = Dense(values).factors()
        return truncate_factors(factors.b, factors.a, rank=rank)
    norm = float(
        sum(part.double().square().sum() for part in torch.split(values, _PART_ROWS)) ** 0.5
    )
    if not norm:
        return truncate_factors(values[:, :rank], values[:rank], rank=rank)
    q, product = _space(values, rank)
    # What is kept is Q (Q^T M) at a lower rank, whose distance from M is known by Pythagoras.
    found = truncate_factors(q, product.T, rank=rank)
    kept = float(sum(value**2 for value in found.singular_values))
    error = max(0.0, 1 - kept / norm**2) ** 0.5
    return Truncation(found.b, found.a, found.singular_values, error, norm)


def bytes_needed(rows: int, columns: int, rank: int) -> int:
    """The most memory that takes, the matrix itself not counted."""
    if min(rows, columns) <= max(_SMALL, 4 * rank):
        inner = min(rows, columns)
        return 8 * (3 * rows * columns + 10 * inner**2)
    width = (rank + _MORE) * (_MOST_BLOCKS + 1)
    return 8 * (4 * (rows + columns) * width + 10 * width**2 + _PART_ROWS * columns)


def _space(values: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An orthonormal basis Q that holds nearly all of the strongest directions, and M^T Q."""
    width = rank + _MORE
    generator = numpy.random.Generator(numpy.random.Philox(0))
    start = torch.from_numpy(generator.standard_normal((values.shape[1], width)))
    q = _orthonormal(_times(values, start))
    product = _times(values.T, q)
    held = _held(product, rank)
    block = product
    for _ in range(_MOST_BLOCKS):
        new = _times(values, block)
        # Twice, since once leaves what rounding made of large parts that cancelled out.
        for _ in range(2):
            new = new - q @ (q.T @ new)
        new = _orthonormal(new)
        block = _times(values.T, new)
        q, product = torch.cat([q, new], dim=1), torch.cat([product, block], dim=1)
        before, held = held, _held(product, rank)
        if held - before <= _STILL * held:
            break
    return q, product


def _times(matrix: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """A product in the matrix's own precision, so that no second copy of it is made."""
    return (matrix @ vectors.to(matrix.dtype)).double()


def _orthonormal(columns: torch.Tensor) -> torch.Tensor:
    basis: torch.Tensor = torch.linalg.qr(columns).Q
    return basis


def _held(product: torch.Tensor, rank: int) -> float:
    """The sum of the squares of the largest singular values of a product."""
    return float(torch.linalg.eigvalsh(product.T @ product)[-rank:].sum())

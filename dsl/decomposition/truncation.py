"""The nearest update of a lower rank, from its factors alone: never the dense product.

With triangular factors B = Q R and A^T = P S, the small core R S^T has the singular values of B A.
Neither Q nor P is ever made: the vectors come from B and A times small matrices. Householder's QR
in float64 was chosen over Gram matrices by measuring: these take half the time, but square the
condition number, and adapters that share their initialisation stack to nearly dependent factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import CheckError
from ..one_thread import in_one_thread

# Of elements that are as good as equally large, the first decides about the sign of a vector.
_NEARLY_LARGEST = 0.999


@dataclass(frozen=True, slots=True)
class Truncation:
    """The best approximation of an update by one of lower rank (Eckart and Young 1936).

    Attributes:
        b, a: its factors in float32, of shapes (out, rank) and (rank, in); each carries the root
            of the singular values, so that both have one norm.
        singular_values: those that were kept, largest first, in float64; none where the factors
            were found without them.
        relative_error: Frobenius norm of what was left out over that of the update; 0 for zero.
        norm: Frobenius norm of the update before the truncation.
    """

    b: torch.Tensor
    a: torch.Tensor
    singular_values: tuple[float, ...]
    relative_error: float
    norm: float

    @property
    def rank(self) -> int:
        """The number of columns of B."""
        return self.b.shape[1]


def truncate_factors(
    b: torch.Tensor, a: torch.Tensor, *, rank: int | None = None, energy: float | None = None
) -> Truncation:
    """Bring the update B A to a lower rank, with the least error in the Frobenius norm.

    Singular values agree with those of the dense product to 1e-5 relative wherever they exceed
    1e-7 of the sum of |column of B| |row of A|; those that rounding could have made are zero. The
    sign of each pair of vectors is chosen so that the first of the largest elements of the row of A
    is positive.

    Args:
        b: of shape (out, n), for example the factors of several adapters side by side.
        a: of shape (n, in), with the coefficients in either.
        rank: keep as many singular values, or all where there are fewer.
        energy: keep as few as have this share, above 0 and at most 1, of the sum of their squares.

    Raises:
        CheckError: not exactly one of rank and energy, or one out of its range.
    """
    _check(rank, energy)
    return in_one_thread(_truncated, b, a, rank, energy)


def _truncated(
    b: torch.Tensor, a: torch.Tensor, rank: int | None, energy: float | None
) -> Truncation:
    left, right = _triangle(b.double()), _triangle(a.double().T)
    u, values, vt = torch.linalg.svd(left @ right.T, full_matrices=False)
    # Scaling a column of B and a row of A against each other changes no bound on the rounding.
    size = left.norm(dim=0) @ right.norm(dim=0)
    noise = torch.finfo(torch.float64).eps * max(b.shape[0], *a.shape) * size
    values = values.where(values > noise, 0.0)
    # Summed from the smallest on, so that a small rest is right, too: tails[k] is left by k values.
    tails = torch.cat([values.square().flip(0).cumsum(0).flip(0), values.new_zeros(1)])
    count = _count(tails, rank, energy)
    roots = values[:count].sqrt().reciprocal().where(values[:count] > 0, 0.0)
    new_b = b.double() @ (right.T @ vt[:count].T * roots)
    new_a = (roots[:, None] * u[:, :count].T @ left) @ a.double()
    signs = _signs(new_a)
    return Truncation(
        b=(new_b * signs).float(),
        a=(signs[:, None] * new_a).float(),
        singular_values=tuple(values[:count].tolist()),
        relative_error=float((tails[count] / tails[0]).sqrt()) if tails[0] > 0 else 0.0,
        norm=float(tails[0].sqrt()),
    )


def _check(rank: int | None, energy: float | None) -> None:
    if (rank is None) == (energy is None):
        raise CheckError("a truncation takes exactly one of rank= and energy=")
    if rank is not None and rank < 1:
        raise CheckError(f"rank={rank} keeps nothing, expected at least 1")
    if energy is not None and not 0 < energy <= 1:
        raise CheckError(f"energy={energy} is no share, expected above 0 and at most 1")


def _triangle(tall: torch.Tensor) -> torch.Tensor:
    """A matrix with the same inner products of its columns, of no more rows than columns."""
    if tall.shape[0] <= tall.shape[1]:
        return tall
    triangle: torch.Tensor = torch.linalg.qr(tall, mode="r").R
    return triangle


def _count(tails: torch.Tensor, rank: int | None, energy: float | None) -> int:
    most = len(tails) - 1
    if energy is None:
        return min(rank or most, most)
    return max(1, int((tails > (1 - energy) * tails[0]).sum()))


def _signs(rows: torch.Tensor) -> torch.Tensor:
    """+1 or -1 for each row; +1 for a row of zeros."""
    sizes = rows.abs()
    nearly = sizes >= _NEARLY_LARGEST * sizes.amax(dim=1, keepdim=True)
    first = rows.gather(1, nearly.int().argmax(dim=1, keepdim=True)).squeeze(1)
    return torch.ones_like(first).copysign(first)

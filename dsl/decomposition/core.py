"""Merging low-rank updates in the core space that they share (Panariello et al. 2025).

"Accurate and Efficient Low-Rank Model Merging in Core Space", arXiv:2509.17786: with U, the left
singular vectors of all B side by side, and V^T, the right ones of all A on top of each other, every
update B_i A_i is U M_i V^T without loss. Methods that look at single elements are applied to the
small cores M_i, whose axes mean the same to all updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from .truncation import Truncation, truncate_factors
from .updates import LowRank

# Directions so much weaker than the strongest are rounding of float32 factors.
_NO_DIRECTION: Final = 1e-7


@dataclass(frozen=True, slots=True)
class CoreSpace:
    """What updates of one module have in common, and each of them within it.

    Attributes:
        u: of shape (out, p), with orthonormal columns, strongest first.
        vt: of shape (q, in), with orthonormal rows.
        cores: of shape (p, q) each, so that update i is u @ cores[i] @ vt. All in float64.
    """

    u: torch.Tensor
    vt: torch.Tensor
    cores: tuple[torch.Tensor, ...]

    def back(self, core: torch.Tensor, rank: int | None = None) -> Truncation:
        """A core as an update of the model, brought to a rank where one is given."""
        return truncate_factors(self.u @ core, self.vt, rank=rank or min(core.shape))


def core_space(updates: Sequence[LowRank]) -> CoreSpace:
    """Find the space that updates share; they may differ in rank.

    Args:
        updates: at least one, of equal shapes, with weights in the factors.
    """
    u = _directions(torch.cat([update.b.double() for update in updates], dim=1))
    v = _directions(torch.cat([update.a.double() for update in updates]).T)
    cores = tuple((u.T @ update.b.double()) @ (update.a.double() @ v) for update in updates)
    return CoreSpace(u, v.T, cores)


def isotropic(core: torch.Tensor) -> torch.Tensor:
    """A matrix with all singular values made equal to their mean.

    Marczak et al. 2025, No Task Left Behind: Isotropic Model Merging, arXiv:2502.04959 (Iso-C).
    """
    u, values, vt = torch.linalg.svd(core, full_matrices=False)
    flat: torch.Tensor = (u * values.mean()) @ vt
    return flat


def _directions(stacked: torch.Tensor) -> torch.Tensor:
    """The left singular vectors of a tall matrix, without those of nothing but rounding."""
    q, r = torch.linalg.qr(stacked)
    u, values, _ = torch.linalg.svd(r, full_matrices=False)
    kept = max(1, int((values > _NO_DIRECTION * values[0]).sum()))
    directions: torch.Tensor = q @ u[:, :kept]
    return directions

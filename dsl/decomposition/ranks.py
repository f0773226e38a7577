"""The ranks that vLLM serves, and padding with zeros, which changes no product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import IncompatibleError

if TYPE_CHECKING:
    import torch

VLLM_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's `max_lora_rank` can be; it makes room for as much in every module."""


def served_rank(rank: int) -> int:
    """The smallest rank that vLLM serves and that holds another one.

    Raises:
        IncompatibleError: there is none.

    >>> [served_rank(rank) for rank in (1, 8, 9, 257, 512)]
    [8, 8, 16, 320, 512]
    """
    for served in VLLM_RANKS:
        if rank <= served:
            return served
    raise IncompatibleError(
        f"a rank of {rank} is more than the {VLLM_RANKS[-1]} that vLLM serves",
        hint=f"bring it down with rank={VLLM_RANKS[-1]} or less, or with energy=",
    )


def padded(b: torch.Tensor, a: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Widen B and A with zeros: their product, and so the scaling it needs, stays as it is.

    Args:
        b: of shape (out, r).
        a: of shape (r, in).
        rank: at least r.
    """
    from torch.nn.functional import pad

    more = rank - a.shape[0]
    return pad(b, (0, more)), pad(a, (0, 0, 0, more))

"""Running out of memory, said in words that tell what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import ScoringError


@contextmanager
def explain_out_of_memory(rows: int, length: int, batch_tokens: int) -> Iterator[None]:
    """Turn an allocator's failure into a ScoringError.

    Args:
        rows, length: of the batch that is being computed, in examples and tokens.
        batch_tokens: the setting that made it so.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        lower = "--max-length" if rows == 1 else f"--batch-tokens ({batch_tokens})"
        raise ScoringError(
            f"out of memory in a batch of {rows} x {length} tokens: lower {lower}, "
            "or load the model with --dtype bfloat16"
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    # The CPU's allocator has no error class of its own.
    said = str(error)
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate" in said

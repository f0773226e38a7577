"""Lack of memory, as allocators of accelerators and of the machine put it."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there was no more memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # Neither the CPU's allocator nor a library of an accelerator has an error class of its own.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )

"""Tensors of files as torch has them, whole: for one module at a time."""

from __future__ import annotations

from typing import Final

import torch

from .sources import Sources
from .tensorfile import TensorEntry

_DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def read_values(sources: Sources, source: int, entry: TensorEntry) -> torch.Tensor:
    """Read a tensor in the dtype in which it is stored.

    Args:
        sources: open files.
        source: the number of the tensor's file among them.
        entry: a tensor of one of the dtypes that can be computed with.

    Raises:
        WeightsError: the file cannot be read or became shorter.
    """
    buffer = bytearray(entry.end - entry.start)
    sources.read(source, memoryview(buffer), entry.start)
    if not buffer:
        return torch.empty(entry.shape, dtype=_DTYPES[entry.dtype])
    return torch.frombuffer(buffer, dtype=_DTYPES[entry.dtype]).reshape(entry.shape)

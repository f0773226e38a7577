"""What can be said of an adapter of any PEFT type: counts, and the rank where one is configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..tensors.tensorfile import Header
from .interface import Inspection

DTYPE_NAMES: Final[Mapping[str, str]] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
}
"""torch's names of the format's floating dtypes."""


def counted(config: Mapping[str, Any], header: Header) -> Inspection:
    """Count an adapter's parameters and read rank and alpha as they are configured."""
    rank = config.get("r", config.get("rank"))
    alpha = config.get("lora_alpha", config.get("alpha"))
    dtypes = {DTYPE_NAMES.get(entry.dtype, entry.dtype) for entry in header.entries}
    return Inspection(
        peft_type=str(config.get("peft_type") or "").upper(),
        rank=rank if type(rank) is int and rank > 0 else None,
        alpha=float(alpha) if type(alpha) in (int, float) and abs(alpha) < 1e30 else None,
        modules=(),
        parameters=sum(entry.elements for entry in header.entries),
        dtype="+".join(sorted(dtypes)),
    )

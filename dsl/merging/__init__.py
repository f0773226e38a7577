"""Merge methods: arithmetic on tensors alone, which knows no expressions and no catalogue."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .breadcrumbs import BREADCRUMBS
from .dare import DARE
from .interface import Merge, Options, Place
from .model_stock import MODEL_STOCK
from .slerp import SLERP
from .ties import TIES
from .trim import TRIM

__all__ = ["MERGES", "Merge", "Options", "Place"]

MERGES: Final[Mapping[str, Merge]] = MappingProxyType(
    {one.name: one for one in (TIES, DARE, TRIM, BREADCRUMBS, SLERP, MODEL_STOCK)}
)
"""The methods by the names that they have in the language."""

"""What `+` and `*` mean on adapters: the meanings by name, and how expressions call them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SEMANTICS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "elementwise": "A = sum c_i A_i, B = sum c_i B_i, scaling kept (the paper's equations)",
        "exact": "the true sum of updates, sum c_i s_i B_i A_i, as stacked factors",
        "onesided": "A = sum |c_i| A_i, B = sum c_i s_i B_i: the sign on one factor alone",
        "peft-linear": "A = sum sgn(c_i s_i) sqrt|c_i s_i| A_i, B = sum sqrt|c_i s_i| B_i: "
        "what PEFT's add_weighted_adapter(..., 'linear') does",
    }
)
"""The meanings by name, with their rules; the first one is the default."""

DEFAULT_SEMANTICS: Final = "elementwise"

COEFFICIENTS_INSIDE: Final = frozenset({"onesided", "peft-linear"})
"""Meanings that have a function and under which a factor outside of it is none of inside."""


def function_name(semantics: str) -> str:
    """How expressions call a meaning: its name, where a hyphen would be a minus.

    >>> function_name("peft-linear")
    'peft_linear'
    """
    return semantics.replace("-", "_")

"""The arithmetic of PEFT types, one algebra each behind one small interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..tensors.tensorfile import Header
from . import adalora, ia3, lora, vera
from .generic import counted
from .interface import Algebra, Inspection, Operand
from .loha import LOHA
from .lokr import LOKR
from .prompt import P_TUNING, PREFIX_TUNING, PROMPT_TUNING
from .replacing import LN_TUNING, TRAINABLE_TOKENS

__all__ = ["ALGEBRAS", "Algebra", "Inspection", "Operand", "inspect"]

ALGEBRAS: Final[Mapping[str, Algebra]] = {
    "LORA": lora,
    "ADALORA": adalora,
    "LOKR": LOKR,
    "LOHA": LOHA,
    "VERA": vera,
    "IA3": ia3,
    "PROMPT_TUNING": PROMPT_TUNING,
    "PREFIX_TUNING": PREFIX_TUNING,
    "P_TUNING": P_TUNING,
    "LN_TUNING": LN_TUNING,
    "TRAINABLE_TOKENS": TRAINABLE_TOKENS,
}
"""The PEFT types that can be composed."""


def inspect(config: Mapping[str, Any], header: Header) -> Inspection:
    """Check that weights and configuration belong together, and say what they are.

    A type without an algebra is only counted.

    Raises:
        IncompatibleError: the tensors do not fit the configuration.
    """
    general = counted(config, header)
    algebra = ALGEBRAS.get(general.peft_type)
    return algebra.inspect(config, header) if algebra is not None else general

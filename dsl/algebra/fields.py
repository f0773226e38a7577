"""Which fields of a configuration are understood whatever the PEFT type; others are refused."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from ..errors import IncompatibleError, UnsupportedError, quoted
from ..tensors.configuration import INITIALISATION_FIELDS, NEUTRAL_FIELDS
from .interface import Operand

COMMON_FIELDS: Final = (
    frozenset({"base_model_name_or_path", "exclude_modules", "layers_pattern"})
    | {"layers_to_transform", "peft_type", "revision", "target_modules", "task_type"}
    | INITIALISATION_FIELDS
    | NEUTRAL_FIELDS
)
"""Fields of any type that targets modules, which say where it is or how it was trained."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, as the end of a sentence that begins with the adapter's name, and what to do."""

    reason: str
    remedy: str


def unknown_fields(config: Mapping[str, Any], understood: frozenset[str]) -> list[str]:
    """The names of the fields that are set and not understood, sorted."""
    return sorted(field for field in config.keys() - understood if config[field])


def unknown_refusal(config: Mapping[str, Any], understood: frozenset[str]) -> Refusal | None:
    """Refuse the first field that is set and not understood."""
    for field in unknown_fields(config, understood):
        return Refusal(
            f"has {quoted(field)} set to {reprlib.repr(config[field])}, "
            "which is not understood here and may change what the adapter does",
            f"remove {quoted(field)} from adapter_config.json if it only concerned training",
        )
    return None


def require_understood(operand: Operand, understood: frozenset[str]) -> None:
    """Refuse a configuration with a field that is set and not understood.

    Raises:
        IncompatibleError: naming the field.
    """
    refused = unknown_refusal(operand.config, understood)
    if refused is not None:
        raise IncompatibleError(f"{operand.quoted} {refused.reason}", hint=refused.remedy)


def positive(field: str, value: Any) -> int:
    """A value that is an integer above zero.

    Raises:
        IncompatibleError: it is none, naming the field.
    """
    if type(value) is not int or value <= 0:
        raise IncompatibleError(f"{field} is {reprlib.repr(value)}, expected a positive integer")
    return value


def finite(field: str, value: Any) -> Fraction:
    """A value that is a number, of a size that float32 can hold.

    Raises:
        IncompatibleError: it is none, naming the field.
    """
    if type(value) not in (int, float) or not -1e30 < value < 1e30:
        raise IncompatibleError(f"{field} is {reprlib.repr(value)}, expected a finite number")
    return Fraction(value)


def require_semantics(kind: str, semantics: str, known: tuple[str, ...]) -> None:
    """Refuse a semantics that a PEFT type does not have.

    Raises:
        UnsupportedError: naming those that it has.
    """
    if semantics not in known:
        raise UnsupportedError(
            f"{kind} has no semantics {quoted(semantics)}, expected one of {', '.join(known)}"
        )

"""How AdaLoRA lies in a file: three factors a module, and the ranks that training kept."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from ..errors import IncompatibleError, quoted
from ..tensors.tensorfile import Header, TensorEntry
from .fields import finite, positive
from .lora_layout import check_targets
from .modules import Tensors, find
from .replaced import Replaced, replaced_alone

FACTORS: Final = frozenset({"lora_A", "lora_B", "lora_E"})
"""What PEFT calls Q, P and E."""

# PEFT adds this to the rank, so that modules of rank zero do not divide by it.
_EPSILON: Final = Fraction(1, 100_000)


@dataclass(frozen=True, slots=True)
class AdaLoraSettings:
    """The rank that training began with, and alpha, which all modules share."""

    rank: int
    alpha: Fraction

    @property
    def scaling(self) -> Fraction:
        """What the product of the three factors is multiplied with."""
        return self.alpha / (self.rank + _EPSILON)


def settings_of(config: Mapping[str, Any]) -> AdaLoraSettings:
    """Read rank and alpha from a configuration; what is missing has PEFT's default.

    Raises:
        IncompatibleError: a value is not of its kind.
    """
    rank = positive("init_r", config.get("init_r", 12))
    alpha = finite("lora_alpha", config.get("lora_alpha", 8))
    return AdaLoraSettings(rank, alpha if alpha > 0 else Fraction(rank))


def factors_of(
    config: Mapping[str, Any], header: Header
) -> tuple[dict[str, dict[str, TensorEntry]], Replaced]:
    """The factors of every module, checked against the configuration, and what is beside them.

    Raises:
        IncompatibleError: they do not fit it.
    """
    modules, others = find("AdaLoRA", header, FACTORS)
    settings = settings_of(config)
    for module, tensors in modules.items():
        shapes = {name: entry.shape for name, entry in tensors.items()}
        if shapes.keys() != FACTORS or any(len(shape) != 2 for shape in shapes.values()):
            raise IncompatibleError(
                f"{quoted(module, 120)} has {', '.join(sorted(shapes))}, expected matrices "
                f"{', '.join(sorted(FACTORS))}"
            )
        mask = kept_ranks(config, module)
        rank = settings.rank if mask is None else sum(mask)
        if shapes["lora_E"] != (rank, 1) or (shapes["lora_A"][0], shapes["lora_B"][1]) != (
            rank,
            rank,
        ):
            raise IncompatibleError(
                f"adapter_config.json gives {quoted(module, 120)} rank {rank}, but its factors "
                f"are of shapes A {list(shapes['lora_A'])}, B {list(shapes['lora_B'])}"
            )
    check_targets(config, tuple(modules))
    return modules, replaced_alone("AdaLoRA", config, others)


def kept_ranks(config: Mapping[str, Any], module: str) -> list[bool] | None:
    """Which of the ranks of a module training kept; None for all.

    Raises:
        IncompatibleError: rank_pattern has something else there.
    """
    pattern = config.get("rank_pattern") or {}
    mask = pattern.get(f"{module}.lora_E") if isinstance(pattern, Mapping) else pattern
    if mask is None:
        return None
    if not isinstance(mask, list) or not all(type(kept) is bool for kept in mask):
        raise IncompatibleError(
            f"rank_pattern has {reprlib.repr(mask)} for {quoted(module, 120)}, expected which "
            "ranks were kept, as a list of true and false"
        )
    return mask


def rank_of(tensors: Tensors) -> int:
    """The rank of a module."""
    return tensors["lora_E"].shape[0]

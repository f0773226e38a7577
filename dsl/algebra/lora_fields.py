"""Which fields of a LoraConfig are understood; every other one that is set is refused by name.

PEFT's own add_weighted_adapter copies what it does not look at from the first adapter, which is
how DoRA magnitudes, trained heads and bias terms get lost without a word.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

from ..errors import IncompatibleError, quoted
from ..patterns import compiled, match
from ..tensors.configuration import changes_base
from .fields import COMMON_FIELDS, Refusal, finite, positive, unknown_fields, unknown_refusal
from .replaced import REPLACING_FIELDS
from .scaling import Scaling

_UNDERSTOOD: Final = (
    COMMON_FIELDS
    | REPLACING_FIELDS
    | {"alpha_pattern", "fan_in_fan_out", "lora_alpha", "qalora_group_size", "r", "rank_pattern"}
    | {"use_dora", "use_rslora"}
)
_HARMLESS_INITIALISATIONS: Final = ("gaussian", "eva", "orthogonal", "mica")


_REFUSED: Final[Mapping[str, Refusal]] = {
    "lora_bias": Refusal(
        "has a trained bias beside B (lora_bias), which is no part of the sum of updates",
        "train with lora_bias=False",
    ),
    "target_parameters": Refusal(
        "adapts parameters directly (target_parameters={value}), whose factors are laid out "
        "differently from those of modules",
        "adapt modules (target_modules) instead",
    ),
    "layer_replication": Refusal(
        "repeats layers of the base model (layer_replication={value})",
        "compose adapters of the base model's own layers",
    ),
}


_KNOWN: Final = _UNDERSTOOD | _REFUSED.keys()


def refusal(config: Mapping[str, Any]) -> Refusal | None:
    """Why a LoRA configuration cannot be composed rightly and what to do, or None."""
    for field, refused in _REFUSED.items():
        value = config.get(field)
        if value:
            return Refusal(refused.reason.format(value=reprlib.repr(value)), refused.remedy)
    if changes_base(config):
        return Refusal(
            f"began with init_lora_weights={config['init_lora_weights']!r}, which changed the base "
            "model's weights: its factors belong to that changed base alone",
            "convert it where it was trained: model.save_pretrained(..., "
            "path_initial_model_for_weight_conversion=...) writes it as plain LoRA",
        )
    begun = config.get("init_lora_weights")
    if isinstance(begun, str) and begun.lower() not in _HARMLESS_INITIALISATIONS:
        return Refusal(
            f"began with init_lora_weights={quoted(begun)}, which is not known here: "
            "it may have changed the base model's weights",
            "set init_lora_weights to true in adapter_config.json if it did not",
        )
    return unknown_refusal(config, _KNOWN)


def changes_layout(config: Mapping[str, Any]) -> bool:
    """Whether factors may have other names or shapes than those of plain LoRA."""
    return bool(config.get("target_parameters") or unknown_fields(config, _KNOWN))


@dataclass(frozen=True)
class LoraSettings:
    """Rank and alpha of every module, resolved as PEFT does."""

    rank: int
    alpha: Fraction
    rslora: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, Fraction]

    def scaling(self, module: str) -> Scaling:
        """Rank, alpha and their rule for a module."""
        rank_key = _matching(self.ranks, module)
        alpha_key = _matching(self.alphas, module)
        if rank_key is None and alpha_key is None:
            return self.usual
        return Scaling(
            self.alpha if alpha_key is None else self.alphas[alpha_key],
            self.rank if rank_key is None else self.ranks[rank_key],
            self.rslora,
        )

    @cached_property
    def usual(self) -> Scaling:
        """Of every module that no pattern names: one object, which remembers its value."""
        return Scaling(self.alpha, self.rank, self.rslora)


def settings(config: Mapping[str, Any], alpha: str = "lora_alpha") -> LoraSettings:
    """Read rank and alpha from a configuration; what is missing has PEFT's default.

    Args:
        config: an adapter_config.json as parsed.
        alpha: the name of the field for alpha.

    Raises:
        IncompatibleError: a value is not of its kind.
    """
    return LoraSettings(
        rank=positive("r", config.get("r", 8)),
        alpha=finite(alpha, config.get(alpha, 8)),
        rslora=bool(config.get("use_rslora")),
        ranks={key: positive("rank_pattern", value) for key, value in _pattern("rank", config)},
        alphas={key: finite("alpha_pattern", value) for key, value in _pattern("alpha", config)},
    )


def _matching(patterns: Mapping[str, Any], module: str) -> str | None:
    for key in patterns:
        if match(rf"(.*\.)?({key})$", module):
            return key
    return module if module in patterns else None


def _pattern(kind: str, config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    field = f"{kind}_pattern"
    patterns = config.get(field) or {}
    if not isinstance(patterns, Mapping):
        raise IncompatibleError(f"{field} is {reprlib.repr(patterns)}, expected an object")
    for key in patterns:
        try:
            compiled(rf"(.*\.)?({key})$")
        except re.error as error:
            raise IncompatibleError(
                f"{field} has the key {quoted(key)}, which is no regular expression: {error}"
            ) from error
    return list(patterns.items())

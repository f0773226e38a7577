"""What of an adapter_config.json bears on the function: the other half of an adapter's identity.

PEFT writes some forty fields, of which most say how training went or repeat a default that changes
from release to release. Two adapters are equal when their weights and the rest are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from ..errors import IncompatibleError, quoted

NEUTRAL_FIELDS: Final = frozenset(
    {
        "auto_mapping",
        "inference_mode",
        "lora_dropout",
        "megatron_core",
        "module_dropout",
        "peft_version",
        "rank_dropout",
        "rank_dropout_scale",
        "runtime_config",
    }
)
"""Fields that say how or with what the adapter was trained or is run, whatever its type."""

INITIALISATION_FIELDS: Final = frozenset(
    {"corda_config", "eva_config", "init_ia3_weights", "init_lora_weights", "init_weights"}
    | {"loftq_config", "lora_ga_config"}
)
"""Fields that say how the factors began; neutral unless that changed the base model's weights."""

BASE_CHANGING: Final = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Beginnings of the values of init_lora_weights that subtract something from the base model."""

_UNORDERED: Final = frozenset({"exclude_modules", "feedforward_modules", "layers_pattern"}) | {
    "layers_to_transform",
    "modules_to_save",
    "target_modules",
    "target_parameters",
}
# In these the first key that matches wins, so that their order is part of their meaning.
_ORDERED_PATTERNS: Final = frozenset({"alpha_pattern", "rank_pattern"})
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "LORA": {"r": 8, "lora_alpha": 8},
    "LOKR": {"r": 8, "alpha": 8, "decompose_factor": -1},
    "LOHA": {"r": 8, "alpha": 8},
}


def changes_base(config: Mapping[str, Any]) -> bool:
    """Whether the initialisation took a part of the base model's weights into the adapter."""
    value = config.get("init_lora_weights")
    return isinstance(value, str) and value.lower().startswith(BASE_CHANGING)


def effective(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that bear on the function, in a form that has one spelling.

    Args:
        config: an adapter_config.json as parsed. Fields that are not known are kept when they are
            neither false nor empty, since they may change the function.

    >>> effective({"peft_type": "LORA", "r": 4, "lora_dropout": 0.1, "target_modules": ["v", "q"]})
    {'lora_alpha': 8, 'peft_type': 'LORA', 'r': 4, 'target_modules': ['q', 'v']}
    """
    config = {**_DEFAULTS.get(str(config.get("peft_type", "")).upper(), {}), **config}
    base_changed = changes_base(config)
    kept = {
        name: _normal(name, value)
        for name, value in config.items()
        if value and name not in NEUTRAL_FIELDS and _bears(name, value, config, base_changed)
    }
    return dict(sorted(kept.items()))


def _bears(name: str, value: Any, config: Mapping[str, Any], base_changed: bool) -> bool:
    if name in INITIALISATION_FIELDS:
        return base_changed
    if name == "qalora_group_size":
        return bool(config.get("use_qalora"))
    return not (name == "bias" and value == "none")


def _normal(name: str, value: Any) -> Any:
    if name in _ORDERED_PATTERNS and isinstance(value, Mapping):
        return [[key, value[key]] for key in value]
    if name in _UNORDERED and isinstance(value, list | tuple | set | frozenset):
        return sorted(value, key=lambda item: (str(type(item)), _orderable(item)))
    return value


def _orderable(item: Any) -> Any:
    return item if isinstance(item, str | int | float) else repr(item)


def config_digest(config: Mapping[str, Any]) -> str:
    """sha256 (hex) of the fields that bear on the function, as compact JSON with sorted keys.

    Raises:
        IncompatibleError: a text in it holds half a character, which no UTF-8 is.
    """
    text = json.dumps(effective(config), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    try:
        return hashlib.sha256(text.encode()).hexdigest()
    except UnicodeEncodeError as error:
        shown = quoted(text[error.start : error.end])
        raise IncompatibleError(
            f"adapter_config.json holds half a character (a lone surrogate), {shown}",
            hint="write it in UTF-8",
        ) from error

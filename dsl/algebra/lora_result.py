"""The adapter_config.json of a composed LoRA adapter, the same whatever the order of the terms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .lora_layout import is_target
from .scaling import Scaling, number

_TARGET_FIELDS: Final = (
    "exclude_modules",
    "layers_pattern",
    "layers_to_transform",
    "target_modules",
)
_SHARED_FIELDS: Final = ("base_model_name_or_path", "revision", "task_type")


def result_config(
    configs: Sequence[Mapping[str, Any]],
    modules: Sequence[frozenset[str]],
    scalings: Mapping[str, Scaling],
    beside: Mapping[str, Any],
) -> dict[str, Any]:
    """Configure PEFT to use the composed factors with their scalings.

    Args:
        configs: the parents' configurations, which agree in what they share.
        modules: the modules of each parent.
        scalings: rank and scaling of every module of the result, by its name in the base model.
        beside: fields of what replaces values of the base model.
    """
    rslora = all(scaling.rslora for scaling in scalings.values())
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "bias": "none",
        "fan_in_fan_out": any(config.get("fan_in_fan_out") for config in configs),
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_bias": False,
        "lora_dropout": 0.0,
        "use_dora": False,
        "use_rslora": rslora,
        **beside,
        **rank_fields(scalings, rslora=rslora),
        **target_fields(configs, modules, frozenset(scalings)),
        **shared_fields(configs),
    }
    return dict(sorted(config.items()))


def shared_fields(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields that parents agree in where they have them: base model, revision, task type."""
    return {f: next((c[f] for c in configs if c.get(f)), None) for f in _SHARED_FIELDS}


def rank_fields(
    scalings: Mapping[str, Scaling], *, rslora: bool, alpha_field: str = "lora_alpha"
) -> dict[str, Any]:
    """r and alpha as most modules have them, and patterns for the others.

    r is the largest rank, since that is what servers reserve room for. A pattern names one module
    whole, so that neither the order of patterns nor a part of a name can mislead.
    """
    ranks = {module: scaling.rank for module, scaling in scalings.items()}
    alphas = {
        module: number(scaling.alpha if rslora else scaling.plain_alpha)
        for module, scaling in scalings.items()
    }
    rank = max(ranks.values())
    counted = Counter(alphas[module] for module in alphas if ranks[module] == rank)
    alpha = max(counted, key=lambda value: (counted[value], value))
    return {
        "r": rank,
        alpha_field: alpha,
        "rank_pattern": {
            _whole(module): ranks[module] for module in sorted(ranks) if ranks[module] != rank
        },
        "alpha_pattern": {
            _whole(module): alphas[module] for module in sorted(alphas) if alphas[module] != alpha
        },
    }


def _whole(module: str) -> str:
    return f"^{re.escape(module)}"


def target_fields(
    configs: Sequence[Mapping[str, Any]],
    modules: Sequence[frozenset[str]],
    composed: frozenset[str],
) -> dict[str, Any]:
    """The parents' targets where they agree and nothing fell away, else the modules' full names."""
    described = [_stated_fields(config) for config in configs]
    agreed = all(fields == described[0] for fields in described)
    if agreed and _is_stated(described[0]) and all(names == composed for names in modules):
        return described[0]
    listed = {"target_modules": sorted(composed)}
    if any(is_target(listed, module) for module in frozenset().union(*modules) - composed):
        # One full name is the end of another's, which a list would select as well.
        return {"target_modules": "|".join(map(re.escape, sorted(composed)))}
    return listed


def _is_stated(fields: Mapping[str, Any]) -> bool:
    """Whether the targets are said, rather than left to PEFT's choice for the base model."""
    targets = fields.get("target_modules")
    return bool(targets) and str(targets).lower() != "all-linear"


def _stated_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for field in _TARGET_FIELDS:
        value = config.get(field)
        if value is not None and value != []:
            plain = isinstance(value, str | int)
            fields[field] = value if plain else sorted(value)
    return fields

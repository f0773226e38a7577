"""The fresh adapter that a run starts from: which PEFT type, on which modules, from which seed."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ModelError, SettingsError
from ..models.projections import check_targets, find_projections
from .settings import Settings

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

    from ..models.base import Base

LORA_RANK = 4
# The paper's Kronecker adapter has a first factor of (32, 16); peft's LoKr splits both sides of a
# layer by one number, so that 32 is as near as it comes, and square layers get a square factor.
PAPER_KRONECKER = (32, 16)
LOKR_FACTOR = 32
ADALORA = "ADALORA"


def start_adapter(base: Base, settings: Settings) -> PeftModel:
    """Put a fresh adapter on a base; its numbers follow from the initialisation's seed alone.

    Raises:
        ModelError: modules that are not found. SettingsError: what peft does not take.
    """
    from peft import get_peft_model

    config = adapter_config(base, settings)
    with torch.random.fork_rng():
        torch.manual_seed(settings.init_seed)
        try:
            adapter = get_peft_model(base.model, config)
        except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
            raise ModelError(
                f"peft cannot put {settings.peft} on {type(base.model).__name__}: {error}"
            ) from error
    # A set there, and so in an order that differs from one process to the next.
    if isinstance(targets := getattr(config, "target_modules", None), (set, list)):
        config.target_modules = sorted(targets)
    return adapter


def adapter_config(base: Base, settings: Settings) -> PeftConfig:
    """Return the PEFT configuration of a run.

    Raises:
        ModelError: modules that are not found. SettingsError: what peft does not take.
    """

    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    name = settings.peft.strip().upper().replace("-", "_")
    known = {str(one.value): kind for one, kind in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if name not in known:
        names = sorted(one.lower() for one in known)
        near = difflib.get_close_matches(settings.peft.lower(), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
        raise SettingsError(f"there is no PEFT type {settings.peft!r}; {hint}")
    kind = known[name]
    there = {item.name for item in fields(kind)}
    values: dict[str, Any] = {
        "task_type": "SEQ_2_SEQ_LM" if base.encoder_decoder else "CAUSAL_LM",
        "base_model_name_or_path": base.name,
    }
    if "target_modules" in there:
        values["target_modules"] = _targets(base, settings)
    elif settings.targets:
        raise SettingsError(
            f"{settings.peft} adapts no modules of its own choice: leave out targets"
        )
    values |= _size(name, there, base, settings, values.get("target_modules", []))
    if name == "IA3":
        values["feedforward_modules"] = []
    if "fan_in_fan_out" in there and _is_transposed(base):
        values["fan_in_fan_out"] = True
    unknown = sorted(set(settings.peft_options) - there)
    if unknown:
        raise SettingsError(
            f"{settings.peft} has no option {', '.join(map(repr, unknown))}: it has "
            f"{', '.join(sorted(there - {'peft_type', 'auto_mapping', 'inference_mode'}))}"
        )
    try:
        return kind(**(values | dict(settings.peft_options)))
    except (ValueError, TypeError) as error:
        raise SettingsError(f"peft refuses this {settings.peft}: {error}") from error


def is_whole_when_saved(model: PeftModel) -> bool:
    """Return whether training can go on from what peft saves of an adapter.

    Of AdaLoRA it does not save what the ranks are given by, and of p-tuning and of prefix tuning
    with a projection not the network that makes the prompt, but the prompt alone.
    """
    from peft import get_peft_model_state_dict

    if model.peft_config["default"].peft_type == ADALORA:
        return False
    saved = get_peft_model_state_dict(model, save_embedding_layers=False)
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    return bool(sum(tensor.numel() for tensor in saved.values()) >= trained)


def kronecker_deviation(model: PeftModel) -> str | None:
    """Say how a LoKr adapter's factors differ in shape from the paper's; None for another type."""
    shapes = {
        tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if ".lokr_w1." in name
    }
    if not shapes or shapes == {PAPER_KRONECKER}:
        return None
    written = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(shapes))
    return (
        f"the first Kronecker factor is {written}, where the paper's is "
        f"{' x '.join(map(str, PAPER_KRONECKER))}: peft's LoKr has one factor for both sides of a "
        "layer"
    )


def _targets(base: Base, settings: Settings) -> list[str]:
    if settings.targets:
        check_targets(base.model, settings.targets)
        return list(settings.targets)
    found = find_projections(base.model)
    short = list(dict.fromkeys(name.rpartition(".")[2] for name in found))
    meant = [name for name, _ in base.model.named_modules() if name.rpartition(".")[2] in short]
    # GPT-2 calls a projection of its feed-forward block by the same name: then all are named whole.
    return short if sorted(meant) == sorted(found) else found


def _size(
    name: str, there: set[str], base: Base, settings: Settings, targets: list[str]
) -> dict[str, Any]:
    """Rank and alpha; what is not LoRA or LoKr keeps peft's own where nobody says any."""
    if name == ADALORA:
        size: dict[str, Any] = {"total_step": settings.steps}
        return size | ({} if settings.rank is None else {"target_r": settings.rank})
    if "r" not in there:
        if settings.rank is not None:
            raise SettingsError(f"{settings.peft} has no rank: leave it out")
        return {}
    rank = settings.rank
    if name == "LORA":
        rank = rank or LORA_RANK
    elif name == "LOKR":
        rank = rank or _full_rank(base, targets)
    size = {} if rank is None else {"r": rank}
    if name == "LOKR":
        size["decompose_factor"] = LOKR_FACTOR
    alpha = rank if settings.alpha is None else settings.alpha
    field = next((one for one in ("lora_alpha", "alpha") if one in there), None)
    if field is not None and alpha is not None:
        size[field] = int(alpha) if float(alpha).is_integer() else alpha
    return size


def _full_rank(base: Base, targets: list[str]) -> int:
    """The rank from which on peft keeps the second Kronecker factor of every target whole."""
    from peft.tuners.lokr.layer import factorization

    sides = [
        factorization(side, LOKR_FACTOR)[1]
        for name, module in base.model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and any(name == target or name.endswith(f".{target}") for target in targets)
        for side in module.weight.shape
    ]
    if not sides:
        raise ModelError(f"lokr adapts linear modules, and {', '.join(targets)} are none")
    return int(max(sides))


def _is_transposed(base: Base) -> bool:
    return any(type(module).__name__ == "Conv1D" for module in base.model.modules())

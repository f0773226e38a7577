"""PEFT types that are no linear space, or whose sums would be none of their kind, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .fields import Refusal

_ROTATION: Final = Refusal(
    "turns the weights by orthogonal matrices, and a sum of rotations is none: "
    "neither their sum nor their parameters' sum turns by anything that has a meaning",
    "merge it into the base model, or train LoRA instead",
)
_ROUTED: Final = Refusal(
    "chooses between adapters as it runs, so that it is no fixed change of the weights",
    "compose the adapters that it chooses from",
)
_CODED: Final = Refusal(
    "looks its update up in shared tables by trained indices, which cannot be added",
    "train LoRA instead",
)
_GATED: Final = Refusal(
    "puts trained prompts behind gates of their own in the attention, "
    "so that what it does is no sum over its parameters",
    "train prompt tuning or LoRA instead",
)

REFUSED: Final[Mapping[str, Refusal]] = {
    "OFT": _ROTATION,
    "BOFT": _ROTATION,
    "HRA": _ROTATION,
    "POLY": _ROUTED,
    "XLORA": _ROUTED,
    "VBLORA": _CODED,
    "ADAPTION_PROMPT": _GATED,
    "MULTITASK_PROMPT_TUNING": Refusal(
        "multiplies a shared prompt with factors of each task, and a sum of products is none",
        "save the prompt of one task and compose prompts (PROMPT_TUNING)",
    ),
}
"""Why an adapter of a type is refused, and what to do, by the type's name."""

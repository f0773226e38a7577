"""PEFT types that are no linear space, or whose sums would be none of their kind, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .fields import Refusal

_CONVERT: Final = (
    "turn it into LoRA where it was trained: peft.save_as_lora(folder, model, rank=...)"
)
_TRAIN: Final = "train LoRA instead, or merge it into a model of its own"

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
    "looks the numbers of its factors up in what they share, by trained or drawn indices, and "
    "multiplies them: a sum of such products is none",
    _CONVERT,
)
_GATED: Final = Refusal(
    "puts trained prompts behind gates of their own in the attention, "
    "so that what it does is no sum over its parameters",
    "train prompt tuning or LoRA instead",
)
_OF_THE_BASE: Final = Refusal(
    "changes the weights by something made of themselves, so that what it adds is not known "
    "without the base model",
    _TRAIN,
)
_OF_ITS_BASIS: Final = Refusal(
    "is laid out along directions that it took from the base model's weights, so that what it "
    "adds is not known without them",
    _TRAIN,
)
_CONVERTIBLE: Final = Refusal(
    "lays its update out in a way that is not understood here",
    _CONVERT,
)
_SPARSE: Final = Refusal(
    "changes single weights at places of its own, and places that differ between adapters cannot "
    "be held by one of its kind",
    _TRAIN,
)

REFUSED: Final[Mapping[str, Refusal]] = {
    "OFT": _ROTATION,
    "BOFT": _ROTATION,
    "HRA": _ROTATION,
    "ROAD": _ROTATION,
    "PSOFT": _ROTATION,
    "POLY": _ROUTED,
    "XLORA": _ROUTED,
    "LILY": _ROUTED,
    "VBLORA": _CODED,
    "UNILORA": _CODED,
    "ADAPTION_PROMPT": _GATED,
    "MULTITASK_PROMPT_TUNING": Refusal(
        "multiplies a shared prompt with factors of each task, and a sum of products is none",
        "save the prompt of one task and compose prompts (PROMPT_TUNING)",
    ),
    "CPT": Refusal(
        "adds to the embeddings of a text of its own, which differs between adapters",
        "train prompt tuning (PROMPT_TUNING) instead",
    ),
    "CARTRIDGE": Refusal(
        "holds the keys and values of a text that a model has read, and their sum is no text's",
        "train prefix tuning (PREFIX_TUNING) instead",
    ),
    "HIRA": _OF_THE_BASE,
    "GLORA": _OF_THE_BASE,
    "DEFT": _OF_THE_BASE,
    "PEANUT": _OF_THE_BASE,
    "FROD": _OF_ITS_BASIS,
    "OSF": _OF_ITS_BASIS,
    "ADAMSS": _OF_ITS_BASIS,
    "TINYLORA": _OF_ITS_BASIS,
    "SHADOW": Refusal(
        "runs a small model beside the base model, which is no fixed change of the weights",
        _TRAIN,
    ),
    "PVERA": Refusal(
        "trains means and variances of its vectors, from which it draws as it runs",
        "train VeRA or LoRA instead",
    ),
    "DELORA": Refusal(
        "normalises its factors and gives their product a length of its own, and a sum of "
        "normalised products is none",
        _CONVERT,
    ),
    "RANDLORA": Refusal(
        "multiplies random bases with trained scales on both sides, and a sum of such products is "
        "none",
        _CONVERT,
    ),
    "GRALORA": _CONVERTIBLE,
    "MISS": _CONVERTIBLE,
    "FOURIERFT": _CONVERTIBLE,
    "WAVEFT": _CONVERTIBLE,
    "C3A": _CONVERTIBLE,
    "SHIRA": _SPARSE,
    "SUPERTUNING": _SPARSE,
    "BEFT": Refusal(
        "adds to biases alone, which is not understood here",
        "train LoRA with bias='all' instead",
    ),
}
"""Why an adapter of a type is refused, and what to do, by the type's name."""

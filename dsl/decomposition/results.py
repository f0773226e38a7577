"""How what was found at modules becomes an adapter that PEFT loads: LoRA, or one LoKr.

The scaling is 1 everywhere, so that padding with zeros and ranks that differ change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any, Final

from .interface import Options, ResultForm, Shapes
from .ranks import padded, served_rank

if TYPE_CHECKING:
    from torch import Tensor

    from ..algebra.interface import UpdateLayout
    from ..algebra.scaling import Scaling
    from .kronecker import NearestKronecker
    from .truncation import Truncation


def _lora_ranks(options: Options, ranks: Mapping[str, int]) -> Mapping[str, int]:
    """What was found, or for vLLM the smallest rank that it serves and that holds all of them."""
    if options.get("pad") != "vllm":
        return ranks
    return dict.fromkeys(ranks, served_rank(max(ranks.values())))


def _lora_shapes(layout: UpdateLayout, rank: int) -> Shapes:
    rows, columns = layout.bound.rows, layout.bound.columns
    if layout.kind == "embedding":
        return {"lora_embedding_A": (rank, columns), "lora_embedding_B": (rows, rank)}
    kernel = layout.kernel
    return {
        "lora_A.weight": (rank, columns // prod(kernel), *kernel),
        "lora_B.weight": (rows, rank, *(1 for _ in kernel)),
    }


def _lora_tensors(layout: UpdateLayout, found: Truncation, rank: int) -> Mapping[str, Tensor]:
    b, a = padded(found.b, found.a, rank)
    names = sorted(_lora_shapes(layout, rank).items())
    return {name: x.float().reshape(shape) for (name, shape), x in zip(names, (a, b), strict=True)}


def _lora_config(
    configs: Sequence[Mapping[str, Any]],
    modules: Sequence[frozenset[str]],
    ranks: Mapping[str, int],
) -> dict[str, Any]:
    from ..algebra.lora_result import result_config

    return result_config(configs, modules, _scalings(ranks), {"modules_to_save": None})


def _scalings(ranks: Mapping[str, int]) -> dict[str, Scaling]:
    from ..algebra.scaling import Scaling

    return {module: Scaling(Fraction(rank), rank) for module, rank in ranks.items()}


LORA: Final = ResultForm("LORA", _lora_ranks, _lora_shapes, _lora_tensors, _lora_config)
"""Two factors a module."""


def whole_from(shape: tuple[int, int]) -> int:
    """The rank from which on PEFT lays W2 of a shape out as one matrix, not as two factors."""
    return -(-max(shape) // 2)


def _lokr_ranks(options: Options, ranks: Mapping[str, int]) -> Mapping[str, int]:
    return dict.fromkeys(ranks, max(ranks.values()))


def _lokr_shapes(layout: UpdateLayout, rank: int) -> Shapes:
    halves = layout.bound.halves
    if halves is None:
        raise ValueError(f"{layout.form} has no halves")
    first, (rows, columns) = halves
    if rank >= whole_from((rows, columns)):
        return {"lokr_w1": first, "lokr_w2": (rows, columns)}
    return {"lokr_w1": first, "lokr_w2_a": (rows, rank), "lokr_w2_b": (rank, columns)}


def _lokr_tensors(layout: UpdateLayout, found: NearestKronecker, rank: int) -> Mapping[str, Tensor]:
    from .updates import Dense

    w2 = found.w2
    if isinstance(w2, Dense):
        tensors = {"lokr_w1": found.w1, "lokr_w2": w2.values}
    else:
        tensors = {"lokr_w1": found.w1, "lokr_w2_a": w2.b, "lokr_w2_b": w2.a}
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}


def _lokr_config(
    configs: Sequence[Mapping[str, Any]],
    modules: Sequence[frozenset[str]],
    ranks: Mapping[str, int],
) -> dict[str, Any]:
    from ..algebra.lora_result import rank_fields, shared_fields, target_fields

    config = {
        "peft_type": "LOKR",
        "decompose_both": False,
        "decompose_factor": configs[0].get("decompose_factor", -1),
        "inference_mode": True,
        "init_weights": True,
        "modules_to_save": None,
        "use_effective_conv2d": False,
        **rank_fields(_scalings(ranks), rslora=False, alpha_field="alpha"),
        **target_fields(configs, modules, frozenset(ranks)),
        **shared_fields(configs),
    }
    return dict(sorted(config.items()))


LOKR: Final = ResultForm("LOKR", _lokr_ranks, _lokr_shapes, _lokr_tensors, _lokr_config)
"""One Kronecker product a module, W1 whole, W2 whole or in two factors as PEFT would have it."""

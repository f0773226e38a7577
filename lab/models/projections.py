"""Finds the query, key, value and output projections of a model's attention."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from ..errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What architectures call the four projections of one attention, the fused ones included; the
# first row whose modules all lie side by side in one module of the model is the model's.
NAMES: tuple[tuple[str, ...], ...] = (
    ("q_proj", "k_proj", "v_proj", "o_proj"),  # Llama, Mistral, Qwen, Gemma, SmolLM, Phi-3's kin
    ("q_proj", "k_proj", "v_proj", "out_proj"),  # OPT, BART, M2M100, NLLB, GPT-Neo, CodeGen
    ("q_proj", "k_proj", "v_proj", "dense"),  # Phi
    ("qkv_proj", "o_proj"),  # Phi-3
    ("q", "k", "v", "o"),  # T5, mT5, UMT5
    ("query_key_value", "dense"),  # BLOOM, GPT-NeoX, Falcon
    ("Wqkv", "out_proj"),  # MPT
    ("c_attn", "c_proj"),  # GPT-2, GPTBigCode
    ("qkv_proj", "out_proj"),  # GPT-J, CodeGen
    ("query", "key", "value", "dense"),  # BERT, RoBERTa
)


def find_projections(model: PreTrainedModel) -> list[str]:
    """Return the full names of the modules that are attention's projections, in the model's order.

    Found by what lies side by side: an `o_proj` beside `q_proj` is attention's, a `dense` in a
    feed-forward block is not.

    Raises:
        ModelError: no attention of a known kind; the message lists the linear modules.
    """
    linear = {name: module for name, module in model.named_modules() if _is_linear(module)}
    beside: dict[str, set[str]] = {}
    for name in linear:
        parent, _, own = name.rpartition(".")
        beside.setdefault(parent, set()).add(own)
    found: set[str] = set()
    for parent, names in beside.items():
        row = next((row for row in NAMES if set(row) <= names), None)
        if row is None and {"query", "key", "value"} <= names:
            # BERT's output projection lies beside its attention: attention.self, attention.output.
            row = ("query", "key", "value")
            output = f"{parent.rpartition('.')[0]}.output.dense"
            found |= {output} & linear.keys()
        found |= {f"{parent}.{name}".removeprefix(".") for name in row or ()}
    if not found:
        raise _not_found(model, "attention whose projections are known", linear)
    return [name for name in linear if name in found]


def check_targets(model: PreTrainedModel, targets: Iterable[str]) -> None:
    """Refuse targets that no module of a model is called by, or ends in.

    Raises:
        ModelError: naming those, and the linear modules.
    """
    there = {name for name, _ in model.named_modules()}
    absent = [
        target
        for target in targets
        if not any(name == target or name.endswith(f".{target}") for name in there)
    ]
    if absent:
        linear = {name: one for name, one in model.named_modules() if _is_linear(one)}
        raise _not_found(model, f"module called {', '.join(absent)}", linear)


def _is_linear(module: torch.nn.Module) -> bool:
    # GPT-2's Conv1D is a linear layer with its weight transposed.
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def _not_found(model: PreTrainedModel, what: str, linear: Iterable[str]) -> ModelError:
    names = sorted({name.rpartition(".")[2] for name in linear})
    return ModelError(
        f"{type(model).__name__} has no {what}; its linear modules are "
        f"{', '.join(names) or 'none'}: name those to adapt with --targets"
    )

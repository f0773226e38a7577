"""Every PEFT type with settings of its own, and a bench on which PEFT shows what they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from isogloss.dsl.algebra.types import TYPES
from isogloss.dsl.meaning.plan import Derived, Plan, Term
from isogloss.dsl.tensors.blueprint import prepare
from isogloss.dsl.tensors.making import Ready, made_ready
from safetensors.torch import load_file, save_file

TARGETS = {
    "llama": ["q_proj", "down_proj"],
    "t5": ["SelfAttention.q", "wo"],
    "gpt2": ["c_attn", "mlp.c_proj"],
}
TASKS = {"llama": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM", "gpt2": "CAUSAL_LM"}
NORMS = {"llama": "input_layernorm", "t5": "layer_norm", "gpt2": "ln_1"}
EMBEDDINGS = {"llama": "model.embed_tokens", "t5": "decoder.embed_tokens", "gpt2": "wte"}
HEADS = {"llama": "lm_head", "t5": "encoder.final_layer_norm", "gpt2": "lm_head"}


@dataclass(frozen=True)
class Kind:
    """A PEFT type with settings of its own.

    Args:
        rules: the name under which the list of types has it.
        settings: PEFT's configuration for an architecture.
        is_affine: whether the coefficients must sum to 1.
        adds: whether it adds something to weights.
        has_update: whether that is known without these.
        is_closed: whether a sum of such updates is one again.
        families: the architectures that PEFT has it for.
    """

    rules: str
    settings: Callable[[str], Any]
    is_affine: bool = False
    adds: bool = False
    has_update: bool = False
    is_closed: bool = True
    families: tuple[str, ...] = ("llama", "t5", "gpt2")


def lora(**more: Any) -> Callable[[str], Any]:
    def settings(family: str) -> Any:
        fan = family == "gpt2"
        given = {"target_modules": TARGETS[family], "r": 2, "lora_alpha": 3, "fan_in_fan_out": fan}
        return peft.LoraConfig(**{**given, **more})

    return settings


def with_bias(family: str) -> Any:
    targets = [*TARGETS[family], *(["relative_attention_bias"] if family == "t5" else [])]
    return lora(target_modules=targets)(family)


def adalora(family: str) -> Any:
    fan = {"fan_in_fan_out": family == "gpt2", "total_step": 10}
    return peft.AdaLoraConfig(target_modules=TARGETS[family], init_r=3, lora_alpha=6, **fan)


def lokr(**more: Any) -> Callable[[str], Any]:
    return lambda family: peft.LoKrConfig(target_modules=TARGETS[family], rank_dropout=0.3, **more)


def loha(family: str) -> Any:
    return peft.LoHaConfig(target_modules=TARGETS[family], r=2, alpha=3)


def vera(family: str) -> Any:
    fan = {"fan_in_fan_out": family == "gpt2"}
    return peft.VeraConfig(target_modules=TARGETS[family], r=3, **fan)


def ia3(family: str) -> Any:
    fan = {"fan_in_fan_out": family == "gpt2"}
    targets = TARGETS[family]
    return peft.IA3Config(target_modules=targets, feedforward_modules=targets[1:], **fan)


def prompt(config: Any, **more: Any) -> Callable[[str], Any]:
    def settings(family: str) -> Any:
        shared = {"task_type": TASKS[family], "num_virtual_tokens": 3, **more}
        # Keys and values of the tiny Llama have one head of six where the others have two.
        if family == "llama" and config is peft.PrefixTuningConfig:
            shared |= {"token_dim": 6, "num_attention_heads": 1}
        return config(**shared)

    return settings


def replacing(config: Any, targets: Mapping[str, str], **more: Any) -> Callable[[str], Any]:
    return lambda family: config(target_modules=[targets[family]], **more)


NO_CONV1D = ("llama", "t5")
KINDS = {
    "lora": Kind("LoRA, rsLoRA", with_bias, adds=True, has_update=True),
    "rslora": Kind("LoRA, rsLoRA", lora(use_rslora=True), adds=True, has_update=True),
    "dora": Kind("DoRA", lora(use_dora=True), is_affine=True, is_closed=False),
    "adalora": Kind("AdaLoRA", adalora, adds=True, has_update=True),
    "lokr": Kind(
        "LoKr", lokr(r=1, alpha=2), adds=True, has_update=True, is_closed=False, families=NO_CONV1D
    ),
    "lokr, whole": Kind(
        "LoKr", lokr(r=8, alpha=3), adds=True, has_update=True, is_closed=False, families=NO_CONV1D
    ),
    "loha": Kind("LoHa", loha, adds=True, has_update=True, is_closed=False, families=NO_CONV1D),
    "vera": Kind("VeRA", vera, adds=True, is_closed=False),
    "ia3": Kind("IA3", ia3),
    "prompt": Kind("prompt tuning", prompt(peft.PromptTuningConfig)),
    "p-tuning": Kind("p-tuning", prompt(peft.PromptEncoderConfig, encoder_hidden_size=7)),
    "prefix": Kind("prefix tuning", prompt(peft.PrefixTuningConfig)),
    "ln": Kind("LN tuning", replacing(peft.LNTuningConfig, NORMS), is_affine=True),
    "tokens": Kind(
        "trainable tokens",
        replacing(peft.TrainableTokensConfig, EMBEDDINGS, token_indices=[1, 5]),
        is_affine=True,
    ),
    "modules_to_save": Kind(
        "modules_to_save, trained biases, trained tokens beside these",
        lambda family: lora(modules_to_save=[HEADS[family]])(family),
        is_affine=True,
    ),
}
# One architecture always, the others on request.
CASES = [
    pytest.param(kind, family, marks=[] if family == "llama" else pytest.mark.slow)
    for kind in KINDS
    for family in KINDS[kind].families
]
UPDATES = [case for case in CASES if KINDS[str(case.values[0])].has_update]
RULES = {rules.name: rules for rules in TYPES}


@dataclass
class Bench:
    """Pairs of adapters, made once each, and what PEFT makes of compositions of them."""

    workshop: Any
    architectures: Mapping[str, Any]
    pairs: dict[tuple[str, str], list[Any]]

    def pair(self, kind: str, family: str) -> list[Any]:
        if (kind, family) not in self.pairs:
            base, settings = self.architectures[family], KINDS[kind].settings
            self.pairs[kind, family] = [
                self.workshop.train(f"{kind}-{n}", settings(family), base(), seed=n + 1)
                for n in range(2)
            ]
        return self.pairs[kind, family]

    def effect(self, place: Path, kind: str, family: str) -> dict[str, torch.Tensor]:
        """The merged weights; logits of a type that cannot be merged."""
        base = self.architectures[family]
        if "prompt" in kind or "prefix" in kind or kind == "p-tuning":
            return {"logits": base.logits(self.workshop.load(place, base()))}
        merged: dict[str, torch.Tensor] = self.workshop.merged(place, base())
        return merged

    def changes(self, place: Path, family: str) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = self.workshop.changes(place, self.architectures[family])
        return found

    def by_hand(self, operands: list[Any], coefficients: tuple[float, ...], center: float) -> Path:
        """The sum of all tensors around a centre, under the first adapter's configuration."""
        place: Path = self.workshop.place()
        tensors = [load_file(operand.path) for operand in operands]
        summed = {
            name: center
            + sum(c * (one[name] - center) for c, one in zip(coefficients, tensors, strict=True))
            for name in tensors[0]
        }
        # What VeRA draws at random is no part of a sum.
        summed |= {name: one for name, one in tensors[0].items() if "base_model.vera_" in name}
        save_file(summed, place / "adapter_model.safetensors", metadata={"format": "pt"})
        config = (operands[0].path.parent / "adapter_config.json").read_text()
        (place / "adapter_config.json").write_text(config)
        return place

    def applied(
        self, function: str, options: Mapping[str, Any], semantics: str, *terms: tuple[Any, Any]
    ) -> tuple[Path, Ready]:
        """What a function makes of a sum, as a folder, and what it reports."""
        derived = Derived(
            function,
            tuple(sorted((name, as_option(value)) for name, value in options.items())),
            (self.workshop.plan(semantics, *terms),),
        )
        plan = Plan("elementwise", (Term(Fraction(1), derived),))
        blueprint = prepare(plan, {operand.key: operand for _, operand in terms}, None)
        with made_ready(blueprint, None, 1 << 28) as ready:
            return self.workshop.write(ready.blueprint), ready


def as_option(value: Any) -> Fraction | str:
    return value if isinstance(value, str) else Fraction(value)


def coefficients(kind: str) -> tuple[str, str]:
    return ("1.3", "-0.3") if KINDS[kind].is_affine else ("0.6", "-0.4")


def assert_equal(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-4, msg=name)


def expected_sum(bench: Bench, terms: Any, family: str) -> dict[str, torch.Tensor]:
    parts = [bench.changes(operand.path.parent, family) for _, operand in terms]
    return {
        name: sum(float(c) * part[name] for (c, _), part in zip(terms, parts, strict=True)).double()
        for name in parts[0]
    }

"""A workshop that makes real PEFT adapters for a tiny model, composes them and loads the result."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from isogloss.dsl.meaning.linear import LinearForm, collect
from isogloss.dsl.meaning.plan import AdapterKey, ModuleFilter, Plan
from isogloss.dsl.tensors.blueprint import Blueprint, Operand, prepare
from isogloss.dsl.tensors.configuration import config_digest
from isogloss.dsl.tensors.execute import execute
from isogloss.dsl.tensors.tensorfile import canonicalize
from torch import nn

from .peft_kinds import Bench


class TinyModel(nn.Module):
    """Every kind of module that LoRA adapts: linear, embedding, convolutions, one in groups."""

    def __init__(self, vocabulary: int = 11) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(vocabulary, 6)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"q": nn.Linear(6, 4), "v": nn.Linear(6, 6, bias=False)})
            for _ in range(2)
        )
        self.conv = nn.Conv2d(3, 4, (3, 2))
        self.grouped = nn.Conv1d(4, 8, 3, groups=2)
        self.q = nn.Linear(6, 3)

    def forward(self, tokens: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(tokens)
        for layer in self.layers:
            hidden = hidden + layer["v"](hidden)
        return self.q(hidden).sum() + self.conv(image).sum()


LINEAR = ("layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v")
ALL = (*LINEAR, "conv", "embed", "grouped", "q")


@contextmanager
def grouped_convolutions_are_fine() -> Iterator[None]:
    """PEFT warns that it could not merge these, which nobody asks of it here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* groups > 1. Merging is not supported")
        yield


@dataclass(frozen=True)
class Architecture:
    """A tiny model of a family: its builder, and inputs to run it on."""

    name: str
    build: Callable[[], nn.Module]
    inputs: Mapping[str, torch.Tensor]

    def __call__(self) -> nn.Module:
        """The model, with equal weights each time."""
        torch.manual_seed(0)
        return self.build().eval()

    def logits(self, model: nn.Module) -> torch.Tensor:
        with torch.inference_mode():
            return model(**self.inputs).logits


def _llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=13, hidden_size=12, intermediate_size=18, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1,
        )
    )  # fmt: skip


def _t5() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=13, d_model=12, d_kv=6, d_ff=18, num_layers=1, num_heads=2,
            decoder_start_token_id=0, tie_word_embeddings=False,
        )
    )  # fmt: skip


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=13,
            n_positions=16,
            n_embd=12,
            n_layer=2,
            n_head=2,
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


_TOKENS = torch.tensor([[1, 5, 3, 12, 7], [2, 2, 9, 4, 0]])
ARCHITECTURES = {
    one.name: one
    for one in (
        Architecture("llama", _llama, {"input_ids": _TOKENS}),
        Architecture("t5", _t5, {"input_ids": _TOKENS, "decoder_input_ids": _TOKENS[:, 1:]}),
        Architecture("gpt2", _gpt2, {"input_ids": _TOKENS}),
    )
}


class Workshop:
    """Makes adapters under numbered folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = 0

    def place(self) -> Path:
        self.made += 1
        place = self.folder / f"{self.made}"
        place.mkdir()
        return place

    def save(
        self,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        base: nn.Module | None = None,
        **settings: Any,
    ) -> Path:
        """Let PEFT write an adapter whose factors are all random, in the given dtype."""
        from peft import LoraConfig, get_peft_model

        settings = {"target_modules": list(LINEAR), **settings}
        with grouped_convolutions_are_fine():
            model = get_peft_model(base or TinyModel(), LoraConfig(**settings))
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = torch.empty(parameter.shape).normal_(generator=generator).to(dtype)
        place = self.place()
        model.save_pretrained(str(place))
        return place

    def operand(self, place: Path, label: str, **corrections: Any) -> Operand:
        """Take an adapter's folder into the form that the tensor stages need."""
        given = json.loads((place / "adapter_config.json").read_text())
        config = {"base_model_name_or_path": "tiny", **given, **corrections}
        config["base_model_name_or_path"] = config["base_model_name_or_path"] or "tiny"
        digest = hashlib.sha256()
        weights = place / "canonical.safetensors"
        with weights.open("wb") as out:
            canonicalize(
                place / "adapter_model.safetensors",
                lambda block: (digest.update(block), out.write(block)),
            )
        return Operand(
            AdapterKey(digest.hexdigest(), config_digest(config)), label, weights, config
        )

    def adapter(self, label: str, corrections: Mapping[str, Any] = {}, **settings: Any) -> Operand:
        """Make and take an adapter."""
        return self.operand(self.save(**settings), label, **corrections)

    def prepare(
        self,
        semantics: str,
        *terms: tuple[Any, Operand] | tuple[Any, Operand, ModuleFilter],
        dtype: str | None = None,
    ) -> Blueprint:
        """Prepare a sum; coefficients are anything that makes a Fraction."""
        return prepare(self.plan(semantics, *terms), {t[1].key: t[1] for t in terms}, dtype)

    def plan(self, semantics: str, *terms: tuple[Any, ...]) -> Plan:
        form = LinearForm({})
        for coefficient, operand, *filters in terms:
            term = LinearForm.of(operand.key)
            for kept in filters:
                term = term.filtered(kept)
            form.add(term, Fraction(coefficient))
        return collect(form, semantics)

    def write(self, blueprint: Blueprint, **limits: int) -> Path:
        """Execute a blueprint into a folder that PEFT can load."""
        place = self.place()
        with (place / "adapter_model.safetensors").open("wb") as out:
            execute(blueprint, out.write, **limits)
        (place / "adapter_config.json").write_text(json.dumps(blueprint.config, sort_keys=True))
        return place

    def digest(self, blueprint: Blueprint, **limits: int) -> str:
        digest = hashlib.sha256()
        execute(blueprint, digest.update, **limits)
        return digest.hexdigest()

    def load(self, place: Path, base: nn.Module | None = None) -> Any:
        """Let PEFT load an adapter; a key too many or too few is a warning, and so an error."""
        from peft import PeftModel

        with grouped_convolutions_are_fine():
            return PeftModel.from_pretrained(base or TinyModel(), str(place))

    def updates(self, place: Path, base: nn.Module | None = None) -> dict[str, torch.Tensor]:
        """PEFT's own update of every adapted module, in float64."""
        model = self.load(place, base)
        found = {}
        for name, module in model.named_modules():
            if hasattr(module, "get_delta_weight"):
                short = name.removeprefix("base_model.model.")
                found[short] = _update(module.double())
        return found

    def train(self, label: str, settings: Any, base: nn.Module, *, seed: int = 0) -> Operand:
        """Let PEFT make an adapter of any type, with all that it would train drawn at random."""
        return self.operand(self.trained(settings, base, seed=seed), label)

    def trained(self, settings: Any, base: nn.Module, *, seed: int = 0) -> Path:
        """The folder of such an adapter."""
        from peft import get_peft_model

        model = get_peft_model(base, settings)
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = torch.empty(parameter.shape).normal_(generator=generator)
        place = self.place()
        model.save_pretrained(str(place))
        return place

    def merged(self, place: Path, base: nn.Module) -> dict[str, torch.Tensor]:
        """The weights of the base with an adapter merged into them by PEFT."""
        model = self.load(place, base).merge_and_unload()
        return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def changes(self, place: Path, architecture: Architecture) -> dict[str, torch.Tensor]:
        """What merging an adapter adds to the weights of an architecture, where it is not zero."""
        before, after = architecture().state_dict(), self.merged(place, architecture())
        found = {name: after[name] - before[name] for name in before}
        return {name: change for name, change in found.items() if change.any()}


def _update(module: Any) -> torch.Tensor:
    """The update as PEFT has it, or by hand where it has none that is right (groups)."""
    if getattr(module.get_base_layer(), "groups", 1) == 1:
        return module.get_delta_weight("default").detach()
    a, b = module.lora_A["default"], module.lora_B["default"]
    rows = a.weight.reshape(a.weight.shape[0], -1)
    groups = b.groups
    products = [
        left @ right
        for left, right in zip(b.weight.flatten(1).chunk(groups), rows.chunk(groups), strict=True)
    ]
    return torch.cat(products).detach() * module.scaling["default"]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="session")
def tiny_model() -> type[TinyModel]:
    return TinyModel


@pytest.fixture(scope="session")
def architectures() -> Mapping[str, Architecture]:
    return ARCHITECTURES


@pytest.fixture(scope="session")
def bench(workshop: Workshop) -> Bench:
    return Bench(workshop, ARCHITECTURES, {})

"""A catalogue of tiny adapters; one thread, for with more they only wait for each other."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from click.testing import CliRunner, Result
from isogloss.cli.main import main
from isogloss.hub import AdapterHub
from isogloss.lab.tiny import byte_tokenizer, tiny_llama
from peft import (
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    VeraConfig,
    get_peft_model,
)


# Of a module, so that what its fixtures train has one thread too.
@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Vectors:
    """A catalogue of random adapters for the tiny Llama, and that Llama in a folder."""

    home: Path
    base: Path


@pytest.fixture(scope="session")
def stocked_vectors(tmp_path_factory: pytest.TempPathFactory) -> Vectors:
    """What `vectors` is a copy of: xlsum-en, lm-en and lm-pt, of rank 2 and one initialisation."""
    folder = tmp_path_factory.mktemp("vectors")
    base = folder / "tiny"
    tiny_llama().save_pretrained(base)
    byte_tokenizer().save_pretrained(base)
    with AdapterHub.init(folder / "home") as hub:
        for number, (name, kind) in enumerate(
            (("xlsum-en", "task"), ("lm-en", "lm"), ("lm-pt", "lm"))
        ):
            place = save_random_lora(folder / name, seed=number)
            hub.add(
                place,
                name=name,
                kind=kind,
                language=name.rpartition("-")[2],
                task="xlsum" if kind == "task" else None,
                base=str(base),
            )
    return Vectors(folder / "home", base)


@pytest.fixture
def vectors(stocked_vectors: Vectors, tmp_path: Path) -> Vectors:
    """A catalogue to write into, at the place where commands look for it."""
    home = tmp_path / "isogloss-home"
    shutil.copytree(stocked_vectors.home, home)
    return Vectors(home, stocked_vectors.base)


def save_random_lora(folder: Path, *, seed: int, rank: int = 2) -> Path:
    """Save a LoRA adapter for the tiny Llama whose B is random and whose A is everybody's."""
    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "v_proj"]
    )
    torch.manual_seed(0)
    model = get_peft_model(tiny_llama(), config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


class Invoke(Protocol):
    def __call__(self, *arguments: str | Path, code: int = 0) -> Result: ...


@pytest.fixture
def invoke() -> Invoke:
    """Run a command in this process, and see to it that it ends with the expected code."""
    runner = CliRunner()

    def run(*arguments: str | Path, code: int = 0) -> Result:
        result = runner.invoke(main, list(map(str, arguments)), catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run


def lora(rank: int = 2, **more: Any) -> LoraConfig:
    given = {"target_modules": ["q_proj", "v_proj"]} | more
    return LoraConfig(task_type="CAUSAL_LM", r=rank, **given)


CONFIGS = {
    "lora": lora(),
    "rank 3, rslora": lora(3, use_rslora=True),
    "biases": lora(bias="all"),
    "dora": lora(use_dora=True),
    "with a head": lora(modules_to_save=["lm_head"]),
    "on the head": lora(target_modules=["lm_head", "v_proj"]),
    "loha": LoHaConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"]),
    "oft": OFTConfig(task_type="CAUSAL_LM", oft_block_size=16, target_modules=["q_proj"]),
    "lokr": LoKrConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"]),
    "ia3": IA3Config(
        task_type="CAUSAL_LM",
        target_modules=["k_proj", "down_proj"],
        feedforward_modules=["down_proj"],
    ),
    "vera": VeraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]),
    "prompt": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    "prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    "layer norms": LNTuningConfig(task_type="CAUSAL_LM", target_modules=["input_layernorm"]),
}


@pytest.fixture(scope="session")
def adapter_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An adapter folder of each kind, with random weights."""
    parent = tmp_path_factory.mktemp("adapters")
    for number, (name, config) in enumerate(CONFIGS.items()):
        torch.manual_seed(number)
        with warnings.catch_warnings():
            # peft knows no norms by name, though its LN tuning is for nothing else.
            warnings.filterwarnings("ignore", message="Unsupported layer type")
            model = get_peft_model(tiny_llama(), config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(parent / name, save_embedding_layers=False)
    return {name: parent / name for name in CONFIGS}

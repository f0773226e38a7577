"""A catalogue of tiny adapters for the tests of the front door."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from isogloss.hub import AdapterHub

WriteLora = Callable[..., Path]

MODULES = tuple(
    f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
)
WIDTH = 16


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[AdapterHub]:
    """An empty catalogue."""
    with AdapterHub.init(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def stocked(hub: AdapterHub, tmp_path: Path, write_lora: Callable[..., Path]) -> AdapterHub:
    """Task vectors for en and ar, language vectors for en, pt and yo, of one base."""
    adapters = [("task", "en"), ("task", "ar"), ("lm", "en"), ("lm", "pt"), ("lm", "yo")]
    for seed, (kind, language) in enumerate(adapters):
        folder = write_lora(tmp_path / "runs" / f"{kind}-{language}", seed)
        hub.add(
            folder,
            kind=kind,
            language=language,
            task="xlsum" if kind == "task" else None,
            license="apache-2.0",
        )
    return hub


@pytest.fixture
def write_lora() -> WriteLora:
    """A function that writes a LoRA folder as `save_pretrained` does, of random tiny factors."""
    return _write_lora


def _write_lora(
    folder: Path,
    seed: int = 0,
    *,
    rank: int = 2,
    alpha: int = 4,
    base: str | None = "acme/tiny",
    modules: tuple[str, ...] = MODULES,
    dtype: str = "float32",
    config: Mapping[str, Any] | None = None,
) -> Path:
    """A (rank, 16) and B (16, rank) of every module; `config` overrides or adds fields."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    fields: dict[str, Any] = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({module.rpartition(".")[2] for module in modules}),
        "inference_mode": True,
        "init_lora_weights": True,
        "fan_in_fan_out": False,
        "peft_version": "0.21.2",
    }
    fields.update(config or {})
    (folder / "adapter_config.json").write_text(json.dumps(fields, indent=2))
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for module in modules:
        for factor, shape in (("A", (rank, WIDTH)), ("B", (WIDTH, rank))):
            tensor = torch.randn(shape, generator=generator).to(getattr(torch, dtype))
            tensors[f"base_model.model.{module}.lora_{factor}.weight"] = tensor
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder

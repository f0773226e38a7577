"""What every test may rely on: the repository's root, and no catalogue but its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

WriteLora = Callable[..., Path]

MODULES = tuple(
    f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
)
WIDTH = 16


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point isogloss at an empty home, so that no test touches the catalogue of who runs it."""
    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "isogloss-home"))
    monkeypatch.delenv("ISOGLOSS_DATABASE_URL", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


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

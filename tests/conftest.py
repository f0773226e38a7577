"""What every test may rely on: the root, a home of its own, no network, and tiny LoRA folders."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

LOCAL = ("127.0.0.1", "::1", "localhost")
MODULES = tuple(
    f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
)
WIDTH = 16


class WriteLora(Protocol):
    """Writes a LoRA folder; a name that is not absolute lies in the test's own folder."""

    def __call__(
        self,
        folder: str | Path,
        seed: int = 0,
        *,
        rank: int = 2,
        alpha: int = 4,
        base: str | None = "acme/tiny",
        modules: tuple[str, ...] = MODULES,
        dtype: str = "float32",
        config: Mapping[str, Any] | None = None,
    ) -> Path: ...


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point isogloss at an empty home, so that no test touches the catalogue of who runs it."""
    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "isogloss-home"))
    monkeypatch.delenv("ISOGLOSS_DATABASE_URL", raising=False)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that reaches out of this machine, even where the library would swallow it."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in LOCAL:
            pytest.fail(f"a test tried to connect to {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)


@pytest.fixture
def write_lora(tmp_path: Path) -> WriteLora:
    """A function that writes a LoRA folder as `save_pretrained` does, of random tiny factors."""
    return partial(_write_lora, tmp_path)


@pytest.fixture(scope="session")
def write_lora_into() -> Any:
    """The same, for what a session makes once; it takes the folder that names lie in first."""
    return _write_lora


def _write_lora(
    parent: Path,
    folder: str | Path,
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

    place = parent / folder
    place.mkdir(parents=True)
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
    text = json.dumps(fields | dict(config or {}), indent=2)
    (place / "adapter_config.json").write_text(text, encoding="utf-8")
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for module in modules:
        for factor, shape in (("A", (rank, WIDTH)), ("B", (WIDTH, rank))):
            tensor = torch.randn(shape, generator=generator).to(getattr(torch, dtype))
            tensors[f"base_model.model.{module}.lora_{factor}.weight"] = tensor
    save_file(tensors, place / "adapter_model.safetensors", metadata={"format": "pt"})
    return place

"""A runner for commands, LoRA folders that they can read, and a catalogue of some."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from click.testing import CliRunner, Result
from isogloss.cli.main import main
from safetensors.torch import save_file

MODULES = tuple(
    f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
)
WIDTH = 16


class Invoke(Protocol):
    def __call__(
        self, *arguments: str | Path, code: int = 0, stdin: bytes | None = None
    ) -> Result: ...


class OnATerminal(Protocol):
    def __call__(self, columns: int, *arguments: str) -> str: ...


class WriteLora(Protocol):
    def __call__(self, name: str, *, seed: int = 0, rank: int = 2, **config: Any) -> Path: ...


@pytest.fixture
def invoke() -> Invoke:
    """Run a command in this process, and see to it that it ends with the expected code."""
    runner = CliRunner()

    def run(*arguments: str | Path, code: int = 0, stdin: bytes | None = None) -> Result:
        result = runner.invoke(main, list(map(str, arguments)), input=stdin, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def write_lora(tmp_path: Path) -> WriteLora:
    """Write a LoRA folder as PEFT does; `config` changes fields of its configuration."""

    def write(name: str, *, seed: int = 0, rank: int = 2, **config: Any) -> Path:
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        for module in MODULES:
            for factor, shape in (("A", (rank, WIDTH)), ("B", (WIDTH, rank))):
                key = f"base_model.model.{module}.lora_{factor}.weight"
                tensors[key] = torch.randn(shape, generator=generator)
        fields = {
            "peft_type": "LORA",
            "base_model_name_or_path": "acme/tiny",
            "task_type": "CAUSAL_LM",
            "r": rank,
            "lora_alpha": 2 * rank,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": ["q_proj", "v_proj"],
            "inference_mode": True,
            "init_lora_weights": True,
        }
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(json.dumps(fields | config), encoding="utf-8")
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        return folder

    return write


@pytest.fixture
def catalogue(invoke: Invoke, write_lora: WriteLora) -> None:
    """A catalogue of an English task vector and the language vectors of English and Portuguese."""
    invoke("init")
    task = write_lora("runs/xlsum-en", seed=1)
    invoke("add", task, "--kind", "task", "--task", "xlsum", "--language", "en", "--steps", "5000")
    for seed, language in enumerate(("en", "pt"), start=2):
        folder = write_lora(f"runs/lm-{language}", seed=seed)
        invoke("add", folder, "--kind", "lm", "--language", language, "--steps", str(1000 * seed))


@pytest.fixture
def flip_byte() -> Callable[[Path], None]:
    """Change the last byte of a file, also of one that may not be written."""

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)

    return flip


@pytest.fixture
def on_a_terminal() -> OnATerminal:
    """Run a command in a process with a terminal of so many columns as its output."""
    return _on_a_terminal


def _on_a_terminal(columns: int, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    environment = os.environ | {"TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "isogloss.cli", *arguments], stdout=theirs, env=environment
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(ours)
    assert process.wait() == 0
    return output.decode().replace("\r\n", "\n")

"""LoRA adapters of random numbers in any size, and sums of them, for the benchmarks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

HIDDEN = 4096
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Shape:
    """So many adapters of one rank, for so many layers of a model that is 4096 wide."""

    adapters: int = 11
    layers: int = 32
    rank: int = 16
    projections: tuple[str, ...] = PROJECTIONS

    @property
    def config(self) -> dict[str, Any]:
        return {
            "base_model_name_or_path": "seven-b",
            "bias": "none",
            "lora_alpha": 2 * self.rank,
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": sorted(self.projections),
            "task_type": None,
        }

    @property
    def modules(self) -> list[str]:
        return [
            f"model.layers.{layer}.self_attn.{name}"
            for layer in range(self.layers)
            for name in self.projections
        ]


def places(folder: Path, shape: Shape) -> list[Path]:
    return [folder / f"adapter{number}" for number in range(shape.adapters)]


def weights(folder: Path, shape: Shape) -> list[Path]:
    return [place / WEIGHTS for place in places(folder, shape)]


def make(folder: Path, shape: Shape) -> None:
    """Write the adapters that are not there yet, in bfloat16, as the store writes files."""
    import torch
    from isogloss.dsl.tensors.tensorfile import canonicalize
    from safetensors.torch import save_file

    for number, place in enumerate(places(folder, shape)):
        if (place / WEIGHTS).exists():
            continue
        generator = torch.Generator().manual_seed(number)
        place.mkdir(parents=True, exist_ok=True)
        sizes = (("A", (shape.rank, HIDDEN)), ("B", (HIDDEN, shape.rank)))
        tensors = {
            f"base_model.model.{module}.lora_{factor}.weight": torch.empty(
                size, dtype=torch.bfloat16
            ).normal_(std=0.02, generator=generator)
            for module in shape.modules
            for factor, size in sizes
        }
        save_file(tensors, place / "given", metadata={"format": "pt"})
        # Where a file's writes began and ended shows when it is read.
        with (place / WEIGHTS).open("wb", buffering=0) as out:
            canonicalize(place / "given", out.write)
        (place / "given").unlink()
        (place / "adapter_config.json").write_text(json.dumps(shape.config))


def warm(folder: Path, shape: Shape) -> float:
    """Bring the files into the page cache, and return how many megabytes they have."""
    return sum(len(path.read_bytes()) for path in weights(folder, shape)) / 1e6


def coefficients(count: int, shift: int = 0) -> list[Fraction]:
    """Different ones of both signs, none of them 0 or 1."""
    return [Fraction(6 * number - 6 * count // 2 + 1 + 2 * shift, 41) for number in range(count)]


def prepared(folder: Path, shape: Shape, *, rank: int | None = None, repeated: int = 1) -> Any:
    """A prepared sum of all adapters: elementwise, or the exact one truncated to a rank.

    Args:
        repeated: take every file so many times, as if they were other adapters.
    """
    from isogloss.dsl.meaning.plan import AdapterKey, Derived, Plan, Term
    from isogloss.dsl.tensors.blueprint import Operand, prepare

    paths = weights(folder, shape) * repeated
    keys = [AdapterKey(f"{number:064x}", "0" * 64) for number in range(len(paths))]
    operands = {
        key: Operand(key, f"adapter{number}", path, shape.config, None)
        for number, (key, path) in enumerate(zip(keys, paths, strict=True))
    }
    terms = tuple(Term(c, key) for c, key in zip(coefficients(len(keys)), keys, strict=True))
    if rank is None:
        return prepare(Plan("elementwise", terms), operands, None)
    derived = Derived("truncate", (("rank", rank),), (Plan("exact", terms),))
    return prepare(Plan("elementwise", (Term(Fraction(1), derived),)), operands, None)

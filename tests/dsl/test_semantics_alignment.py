"""Whether adapters share a start: cosines of A factors, and which pairs are compared."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from isogloss.dsl.meaning.plan import ModuleFilter
from isogloss.dsl.tensors import gram
from isogloss.dsl.tensors.alignment import Alignment, alignments
from safetensors.torch import load_file, save_file

ALL = ["layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v", "conv", "embed", "grouped", "q"]


def found(blueprint: Any) -> dict[tuple[str, str], Alignment]:
    """The pairs by the folders of their files, whatever their order."""
    paths = [path.parent.name for path in blueprint.sources]
    return {
        (min(paths[one.first], paths[one.second]), max(paths[one.first], paths[one.second])): one
        for one in alignments(blueprint.sources, blueprint.sums)
    }


def is_a(name: str) -> bool:
    return "lora_A" in name or "lora_embedding_A" in name


def a_vector(operand: Any, keeps: str = "") -> torch.Tensor:
    tensors = load_file(operand.path)
    return torch.cat([tensors[n].double().flatten() for n in tensors if is_a(n) and keeps in n])


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


@pytest.mark.parametrize("chunk", [32768, 7])
@pytest.mark.parametrize("semantics", ["elementwise", "onesided", "peft-linear"])
def test_cosines_are_those_of_all_a_factors(
    workshop: Any, semantics: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gram, "_FLOAT32_ELEMENTS", chunk)
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    adapters = [
        workshop.adapter(f"a{n}", seed=n, r=4, target_modules=ALL, dtype=dtype)
        for n, dtype in enumerate(dtypes)
    ]
    pairs = found(workshop.prepare(semantics, *((1, adapter) for adapter in adapters)))
    assert len(pairs) == 3
    for i, one in enumerate(adapters):
        for other in adapters[i + 1 :]:
            names = sorted((one.path.parent.name, other.path.parent.name))
            pair = pairs[names[0], names[1]]
            assert pair.cosine == pytest.approx(cosine(a_vector(one), a_vector(other)), abs=1e-5)
            assert pair.elements == len(a_vector(one))


def test_only_modules_where_both_take_part_are_compared(workshop: Any) -> None:
    one, other, third = (
        workshop.adapter(f"a{n}", seed=n, r=4, target_modules=ALL) for n in range(3)
    )
    early, late = ModuleFilter(first=0, last=0), ModuleFilter(first=1, last=1)
    blueprint = workshop.prepare("elementwise", (1, one, early), (1, other, late), (2, third))
    pairs = found(blueprint)
    folders = [operand.path.parent.name for operand in (one, other, third)]
    assert tuple(sorted(folders[:2])) not in pairs
    pair = pairs[min(folders[0], folders[2]), max(folders[0], folders[2])]
    expected = cosine(a_vector(one, "layers.0"), a_vector(third, "layers.0"))
    assert pair.cosine == pytest.approx(expected, abs=1e-5)
    assert found(workshop.prepare("exact", (1, one), (1, other))) == {}
    assert found(workshop.prepare("elementwise", (3, one))) == {}


def test_an_adapter_whose_a_is_zero_is_compared_with_nothing(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1)
    place = workshop.place()
    tensors = {name: tensor * (not is_a(name)) for name, tensor in load_file(one.path).items()}
    save_file(tensors, place / "adapter_model.safetensors", metadata={"format": "pt"})
    (place / "adapter_config.json").write_text(json.dumps(one.config))
    zero = workshop.operand(place, "zero")
    assert found(workshop.prepare("elementwise", (1, one), (1, zero))) == {}


def test_few_numbers_need_a_higher_cosine() -> None:
    """By chance alone 16 numbers have a cosine of 0.25 give or take, 10000 one of 0.01."""
    assert Alignment(0, 1, 0.25, 10_000).unrelated is False
    assert Alignment(0, 1, 0.15, 10_000_000).unrelated is True
    assert Alignment(0, 1, 0.25, 100).unrelated is True
    assert Alignment(0, 1, 0.45, 16).unrelated is True
    assert Alignment(0, 1, 0.55, 16).unrelated is False
    assert Alignment(0, 1, -1.0, 10_000).unrelated is True

"""Adapters with a shared start and others, really trained, are told apart by their weights."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from isogloss.dsl.tensors.alignment import alignments
from isogloss.hub import AdapterHub
from isogloss.hub.composition import Request, compile_request
from isogloss.lab.data.source import shipped
from isogloss.lab.models.base import load_base
from isogloss.lab.tiny import byte_tokenizer, tiny_llama
from isogloss.lab.training.run import train_lm, train_task
from isogloss.lab.training.settings import Settings

SETTINGS = Settings(batch_size=4, max_length=96)
# Those of one start learn another language and another thing, and all others have their own.
STARTS = {"lm-en": 10, "lm-yo": 10, "task-en": 10, "lm-es": 11}
MORE = STARTS | {"lm-pt": 12, "task-es": 13}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdapterHub]:
    """A catalogue of adapters that were trained hot, so that they moved far from their start."""
    with trained(tmp_path_factory.mktemp("start"), 1e-2, 20, STARTS) as opened:
        yield opened


def trained(folder: Path, rate: float, steps: int, starts: Mapping[str, int]) -> AdapterHub:
    hub = AdapterHub.init(folder / "home")
    tiny_llama().save_pretrained(folder / "base")
    byte_tokenizer().save_pretrained(folder / "base")
    base = load_base(folder / "base")
    for number, (name, start) in enumerate(starts.items()):
        settings = dataclasses.replace(
            SETTINGS, learning_rate=rate, steps=steps, seed=number, init_seed=start
        )
        kind, _, language = name.partition("-")
        data = shipped(language)
        if kind == "lm":
            train_lm(hub, base, data, language=language, settings=settings, name=name)
        else:
            train_task(hub, base, data, language=language, task="t", settings=settings, name=name)
    return hub


def cosines(hub: AdapterHub, starts: Mapping[str, int] = STARTS) -> tuple[list[float], list[float]]:
    """Of all pairs that share a start, and of all others."""
    names = sorted(starts)
    request = Request(" + ".join(f'"{name}"' for name in names))
    compiled = compile_request(hub.catalog, hub.blobs, request)
    labels = [compiled.parents[key].name for key in compiled.evaluation.plan.adapters]
    shared, independent = [], []
    for one in alignments(compiled.blueprint.sources, compiled.blueprint.sums):
        equal = starts[labels[one.first]] == starts[labels[one.second]]
        (shared if equal else independent).append(one.cosine)
        assert one.unrelated is not equal
    assert len(shared) + len(independent) == len(list(itertools.combinations(names, 2)))
    return shared, independent


def test_cosines_tell_starts_apart(hub: AdapterHub) -> None:
    shared, independent = cosines(hub)
    assert min(shared) > 0.4 > 0.2 > max(map(abs, independent))


def test_sums_of_one_start_are_silent(hub: AdapterHub) -> None:
    expression = '0.6*"task-en" + 0.4*("lm-yo" - "lm-en")'
    for semantics in ("elementwise", "onesided", "peft-linear", "exact"):
        assert hub.explain(expression, semantics=semantics).warnings == ()
    assert hub.compose(expression, name="kept").warnings == ()


def test_sums_of_two_starts_say_so(hub: AdapterHub, tmp_path: Path) -> None:
    expression = '0.6*"task-en" + 0.4*"lm-es"'
    for semantics in ("elementwise", "onesided", "peft-linear"):
        (warning,) = hub.explain(expression, semantics=semantics).warnings
        assert "'lm-es@v1'" in warning
        assert "'task-en@v1'" in warning
        assert f"{semantics} sums" in warning
        assert "exact(...)" in warning
    composed = hub.compose(expression, output=tmp_path / "out")
    (warning,) = composed.warnings
    assert warning in (tmp_path / "out" / "README.md").read_text()
    assert hub.explain(f"exact({expression})").warnings == ()
    assert hub.compose(f"exact({expression})", name="true").warnings == ()


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "steps"), [(1e-3, 150), (1e-2, 80)])
def test_longer_training_leaves_them_apart(tmp_path: Path, rate: float, steps: int) -> None:
    with trained(tmp_path, rate, steps, MORE) as hub:
        shared, independent = cosines(hub, MORE)
        assert min(shared) > 1.5 * max(map(abs, independent))

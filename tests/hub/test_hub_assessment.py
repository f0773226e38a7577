"""What explain, compose and the card say of a sum's distance and of its adapters' start."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from isogloss.dsl.errors import WeightsError
from isogloss.hub import AdapterHub

WriteLora = Callable[..., Path]
SUM = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"


@pytest.fixture
def related(hub: AdapterHub, tmp_path: Path, write_lora: WriteLora) -> AdapterHub:
    """Four adapters with one A, as if trained a little, and a fifth with its own."""
    import torch
    from safetensors.torch import load_file, save_file

    first = load_file(write_lora(tmp_path / "start", 0, rank=8) / "adapter_model.safetensors")
    for seed, name in enumerate(("task-en", "lm-en", "lm-pt", "lm-yo", "lm-fr"), start=1):
        folder = write_lora(tmp_path / name, seed, rank=8)
        path = folder / "adapter_model.safetensors"
        own = load_file(path)
        if name != "lm-fr":
            own = {
                key: (first[key] + 0.2 * tensor if "lora_A" in key else tensor).to(torch.float32)
                for key, tensor in own.items()
            }
        save_file(own, path, metadata={"format": "pt"})
        kind, _, language = name.partition("-")
        hub.add(folder, kind=kind, language=language, name=name)
    return hub


def test_explain_says_how_far_it_is_from_exact(related: AdapterHub) -> None:
    for semantics in ("elementwise", "onesided", "peft-linear"):
        found = related.explain(SUM, semantics=semantics).divergence
        assert found is not None
        assert found.total.relative is not None and found.total.relative > 0.05
        assert [layer.layer for layer in found.layers] == ["model.layers.0", "model.layers.1"]
        squares = sum(layer.distance.difference_norm**2 for layer in found.layers)
        assert squares == pytest.approx(found.total.difference_norm**2)
    assert related.explain(SUM, semantics="exact").divergence is None
    whole = related.explain("task[en]").divergence
    assert whole is not None
    assert (whole.total.relative, whole.total.cosine) == (0.0, pytest.approx(1.0))


def test_a_shared_start_is_silent(related: AdapterHub, tmp_path: Path) -> None:
    assert related.explain(SUM).warnings == ()
    assert related.compose(SUM, name="kept", output=tmp_path / "out").warnings == ()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "initialisation" not in card
    distance = related.explain(SUM).divergence
    assert distance is not None
    assert distance.total.words in card


def test_another_start_is_said_everywhere(related: AdapterHub, tmp_path: Path) -> None:
    expression = "0.6*task[en] + 0.4*(lm[fr] - lm[en])"
    (warning,) = related.explain(expression).warnings
    assert re.fullmatch(
        r"the A factors of '(lm|task)-..@v1' and '(lm|task)-..@v1' have a cosine of -?0\.[01]\d, "
        r"and 1 more pair likewise: going by the weights, they did not start from one "
        r"initialisation, and elementwise sums are only right around a shared start; exact\(...\) "
        r"sums the updates themselves",
        warning,
    )
    assert "'lm-fr@v1'" in warning
    for again in (False, True):
        composed = related.compose(expression, name="mixed", output=tmp_path / f"out{again}")
        assert (composed.warnings, composed.computed) == ((warning,), not again)
        assert warning in (tmp_path / f"out{again}" / "README.md").read_text()
    assert related.compose_again("mixed")[0].warnings == (warning,)
    assert related.explain(f"exact({expression})").warnings == ()


def test_adapters_that_never_meet_are_not_compared(related: AdapterHub) -> None:
    assert related.explain("layers(task[en], last=0) + layers(lm[fr], first=1)").warnings == ()
    assert related.explain("layers(task[en], last=0) + lm[fr]").warnings != ()


def test_a_composed_adapter_is_named_as_such(related: AdapterHub) -> None:
    related.compose("lm[pt] - lm[en]", name="direction")
    (warning,) = related.explain('task[en] + "direction"').warnings
    assert "one initialisation ('direction@v1' being composed may also cause it)" in warning


def test_damaged_weights_are_named(related: AdapterHub) -> None:
    path = related.blobs.path(related.show("lm-pt").digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="truncated"):
        related.explain(SUM)

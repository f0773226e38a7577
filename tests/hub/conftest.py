"""A catalogue of tiny adapters for the tests of the front door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isogloss.hub import AdapterHub


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

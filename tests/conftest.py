"""What every test may rely on: the repository's root, and no catalogue but its own."""

from __future__ import annotations

from pathlib import Path

import pytest


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

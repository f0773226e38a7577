"""What every test may rely on: the repository's root, a home of its own, and no network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

LOCAL = ("127.0.0.1", "::1", "localhost")


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

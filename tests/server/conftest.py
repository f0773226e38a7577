"""A running server of an empty hub, and the real client that talks to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from isogloss.hub import AdapterHub
from isogloss.hub.server import Account, Settings, serving

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ANN, BOB, EVE = "hf_ann-writes", "hf_bob-reads", "hf_eve-elsewhere"
ACCOUNTS = (
    Account.of("ann", ANN, "write", ("ann", "acme")),
    Account.of("bob", BOB, "read", ("acme",)),
    Account.of("eve", EVE, "write"),
)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[AdapterHub]:
    with AdapterHub.init(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def serve(hub: AdapterHub) -> Iterator[Callable[..., str]]:
    """Start a server of `hub` with the settings given, and return its address."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(**settings: Any) -> str:
            settings.setdefault("accounts", ACCOUNTS)
            return stack.enter_context(serving(hub, Settings(**settings)))

        yield start


@pytest.fixture
def url(serve: Callable[..., str]) -> str:
    """The address of a server on which ann and eve write and bob reads."""
    return serve()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., HfApi]:
    """Make the real client for an address and a token; it sends large files by LFS."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)

    def make(url: str, token: str | bool = ANN) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(endpoint=url, token=token)

    return make


@pytest.fixture
def api(url: str, client: Callable[..., HfApi]) -> HfApi:
    """The client as ann."""
    return client(url)


@pytest.fixture
def run_client(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program with the client's environment set to an address, as a user does."""

    def run(
        url: str, *command: str, token: str = ANN, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "ISOGLOSS_"))}
        environment = kept | {
            "HF_ENDPOINT": url,
            "HF_HOME": str(tmp_path / "hf-home"),
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            **variables,
        }
        ran = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300
        )
        if check:
            assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran

    return run


class Reply:
    """An answer as it came."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def ask() -> Callable[..., Reply]:
    """Ask a server for a path as it is written, which no client would send so."""

    def ask(
        url: str,
        method: str,
        path: str,
        body: bytes | None = None,
        token: str | None = ANN,
        **headers: str,
    ) -> Reply:
        place = urlsplit(url)
        connection = HTTPConnection(str(place.hostname), place.port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    return ask


def _fixtures_of_the_store() -> Any:
    path = Path(__file__).parent.parent / "store" / "conftest.py"
    spec = spec_from_file_location("store_fixtures_of_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_store = _fixtures_of_the_store()
postgresql = _store.postgresql
postgresql_catalog = _store.postgresql_catalog

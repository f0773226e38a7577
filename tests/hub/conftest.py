"""A catalogue of tiny adapters, and a hub on loopback that misbehaves on demand."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from isogloss.hub import AdapterHub
from isogloss.hub.server import Account, Settings, configure, create_app

if TYPE_CHECKING:
    from isogloss.hub.remote.client import HubClient

TOKEN = "hf_ann-writes"
READ_TOKEN = "hf_bob-reads"
ACCOUNTS = (
    Account.of("ann", TOKEN, "write", ("ann", "acme")),
    Account.of("bob", READ_TOKEN, "read", ("acme",)),
)


@dataclass
class Fault:
    """What goes wrong, and how often.

    `kind`: a status before the request has an effect (`before`), or after (`after`); half of the
    answer and then nothing, after the effect (`cut`); a bit of the answer's body (`flip`) or of the
    request's (`spoil`) turned around; a body in drops (`slow`).
    """

    method: str
    path: str
    kind: str
    times: int = 1
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)

    def takes(self, method: str, path: str) -> bool:
        if self.times <= 0 or method != self.method or not re.search(self.path, path):
            return False
        self.times -= 1
        return True


class FaultyHub:
    """An ASGI application around another one."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str]] = []
        self.url = ""
        self.token, self.read_token = TOKEN, READ_TOKEN

    def fail(self, method: str, path: str, kind: str, **more: Any) -> None:
        """Let the next request of that method, with that in its path, go wrong."""
        self.faults.append(Fault(method, path, kind, **more))

    def count(self, method: str, path: str) -> int:
        """How often that was asked for."""
        return sum(one == method and bool(re.search(path, where)) for one, where in self.asked)

    def forget(self) -> None:
        """Forget what was asked, and all faults that are left."""
        self.asked.clear()
        self.faults.clear()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method, path = scope["method"], scope["raw_path"].decode()
        self.asked.append((method, path))
        fault = next((one for one in self.faults if one.takes(method, path)), None)
        if fault is None:
            await self.app(scope, receive, send)
        else:
            await self._misbehave(fault, scope, receive, send)

    async def _misbehave(self, fault: Fault, scope: Any, receive: Any, send: Any) -> None:
        if fault.kind == "before":
            await _read_all(receive)
            await _answer(send, fault)
            return
        answer: list[dict[str, Any]] = []

        async def keep(message: dict[str, Any]) -> None:
            answer.append(message)

        spoilt = _spoiling(receive) if fault.kind == "spoil" else receive
        await self.app(scope, spoilt, keep)
        if fault.kind == "after":
            await _answer(send, fault)
            return
        body = b"".join(message.get("body", b"") for message in answer)
        if fault.kind == "flip":
            body = _flipped(body)
        pieces = [body]
        if fault.kind == "cut":
            pieces = [body[: len(body) // 2]]
        elif fault.kind == "slow":
            pieces = [body[start : start + 97] for start in range(0, len(body), 97)]
        await send(answer[0])
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0.001)
        if fault.kind == "cut":
            raise ConnectionResetError("cut on purpose")
        await send({"type": "http.response.body", "body": b""})


async def _read_all(receive: Any) -> None:
    while (await receive()).get("more_body"):
        pass


async def _answer(send: Any, fault: Fault) -> None:
    headers = [(name.encode(), value.encode()) for name, value in fault.headers.items()]
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"error": "out of order"}'})


def _spoiling(receive: Any) -> Any:
    async def spoilt() -> Any:
        message = await receive()
        if message.get("body"):
            message = message | {"body": _flipped(message["body"])}
        return message

    return spoilt


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


@contextmanager
def faulty_hub(hub: AdapterHub) -> Iterator[FaultyHub]:
    """Serve `hub` on a free port while the block runs."""
    faulty = FaultyHub(create_app(hub, Settings(accounts=ACCOUNTS)))
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    faulty.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app: Any = faulty
    server = uvicorn.Server(configure(app, grace_seconds=1))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    try:
        yield faulty
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


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


@pytest.fixture
def other(tmp_path: Path) -> Iterator[AdapterHub]:
    """The empty catalogue of somebody else."""
    with AdapterHub.init(tmp_path / "others-home") as opened:
        yield opened


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyHub]:
    """A hub on loopback, empty, that can be told to fail."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with AdapterHub.init(tmp_path / "remote-home") as served, faulty_hub(served) as faulty:
        yield faulty


@dataclass(frozen=True)
class Offering:
    """A hub that offers adapters, and the catalogue that they were published from."""

    local: AdapterHub
    remote: FaultyHub
    client: HubClient


@pytest.fixture(scope="module")
def offering(
    tmp_path_factory: pytest.TempPathFactory, write_lora_into: Callable[..., Path]
) -> Iterator[Offering]:
    """Three adapters and a composition of theirs, published once under acme."""
    from isogloss.hub.remote.client import HubClient

    path = tmp_path_factory.mktemp("offering")
    with (
        pytest.MonkeyPatch.context() as patched,
        AdapterHub.init(path / "home") as local,
        AdapterHub.init(path / "remote-home") as served,
        faulty_hub(served) as remote,
    ):
        patched.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        client = HubClient(remote.url, remote.token, pause=lambda seconds: None)
        for seed, (kind, language) in enumerate((("task", "en"), ("lm", "pt"), ("lm", "en"))):
            folder = write_lora_into(path, f"{kind}-{language}", seed)
            task = "xlsum" if kind == "task" else None
            local.add(folder, kind=kind, language=language, task=task, license="apache-2.0")
        for name in ("xlsum-en", "lm-pt", "lm-en"):
            local.publish(name, f"acme/{name}", client=client)
        local.compose("0.5*task[en] + 0.5*lm[pt]", name="mix", result_language="pt")
        local.publish("mix", "acme/mix", client=client)
        yield Offering(local, remote, client)


@pytest.fixture
def offered(offering: Offering, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offering]:
    """The same hub as the usual one; what a test changes there is under ann."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", offering.remote.url)
    monkeypatch.setenv("HF_TOKEN", offering.remote.token)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    offering.remote.forget()
    yield offering
    offering.remote.forget()


@pytest.fixture
def client(remote: FaultyHub) -> HubClient:
    """A client of that hub with the right to write, which does not wait between its tries."""
    from isogloss.hub.remote.client import HubClient

    return HubClient(remote.url, remote.token, pause=lambda seconds: None)

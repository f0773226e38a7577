"""A server that runs beside what starts it, on a free port: for tests and notebooks."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from ..adapter_hub import AdapterHub
from .application import Application, create_app
from .errors import ServerError, SettingsError
from .settings import Settings

MOST_HEADER_BYTES = 64 << 10
_START_SECONDS = 30.0


def configure(
    app: Application, host: str = "127.0.0.1", port: int = 8000, *, grace_seconds: int = 20
) -> uvicorn.Config:
    """How uvicorn runs the application; running requests have `grace_seconds` at the end."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=grace_seconds,
    )


def run(app: Application, host: str, port: int, tell: Callable[[str], object]) -> None:
    """Serve until a signal ends it; requests that are running are answered first.

    The log goes to standard error, one line of JSON a request. `tell` is given the address when
    the server listens.

    Raises:
        SettingsError: nothing can listen there.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        listening = _listen(host, port)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    with listening:
        shown = f"[{host}]" if ":" in host else host
        tell(f"http://{shown}:{listening.getsockname()[1]}")
        uvicorn.Server(configure(app, host, port)).run([listening])


@contextmanager
def serving(hub: AdapterHub, settings: Settings | None = None) -> Iterator[str]:
    """Serve `hub` in a thread while the block runs; the server's address is what it yields.

    Raises:
        ServerError: it does not start. SettingsError: it cannot be as it is asked to be.
    """
    app = create_app(hub, settings)
    listening = _listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = uvicorn.Server(configure(app, port=port, grace_seconds=2))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise ServerError("the server did not start")
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(_START_SECONDS)
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    # With the protocol named, asyncio switches Nagle off: else each answer waits for an ACK.
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except BaseException:
        listening.close()
        raise
    return listening

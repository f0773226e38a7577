"""The server as an ASGI application: addresses, rights, errors and the access log."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ...store.repositories.records import MAIN
from ..adapter_hub import AdapterHub
from .access import NOBODY, Visitor, identify
from .call import Call, answer, read_pieces
from .composing import ComposingSource, is_expression
from .errors import REPO_NOT_FOUND, Refusal, refusal_of
from .intake import take_in_pending
from .rights import require_write
from .routes import ROUTES, Route
from .settings import Settings
from .site import Site
from .sources import Source

_log = logging.getLogger("isogloss.server")
_access_log = logging.getLogger("isogloss.access")

_DRAINED_BYTES = 1 << 20
_WAITING = 32
_SWEEP_SECONDS = 3600.0
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-cache",
}


@dataclass(slots=True)
class _Exchange:
    """What the access log says of one request."""

    id: str
    began: float
    visitor: Visitor = NOBODY
    status: int = 0
    sent_bytes: int = 0


class Application:
    """The Hub's protocol over a hub; `create_app` makes one."""

    def __init__(self, site: Site) -> None:
        self.site = site
        # Those who wait for a composition take no thread from all others.
        self._composing = anyio.CapacityLimiter(_WAITING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        exchange = _Exchange(secrets.token_hex(8), time.monotonic())
        request = Request(scope, receive)
        try:
            response = await self._answer(request, exchange)
            await response(scope, receive, _counted(send, exchange))
        finally:
            _note(request, exchange)

    async def _live(self, receive: Receive, send: Send) -> None:
        sweeping = asyncio.create_task(self._sweep())
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                sweeping.cancel()
                await anyio.to_thread.run_sync(self.site.close)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _sweep(self) -> None:
        while True:
            try:
                await anyio.to_thread.run_sync(self.site.sweep)
            except OSError as error:
                _log.warning("what is left over was not removed: %s", error)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _answer(self, request: Request, exchange: _Exchange) -> Response:
        try:
            response = await self._dispatch(request, exchange)
        except Exception as error:  # noqa: BLE001 - logged, and answered in words
            refusal = refusal_of(error)
            if refusal is None or refusal.status >= 500:
                _log.exception("request %s failed", exchange.id)
            await _drain(request)
            response = refuse(refusal or Refusal(500, "the server failed: its log says how"))
        for name, value in (*_HEADERS.items(), ("X-Request-Id", exchange.id)):
            response.headers.setdefault(name, value)
        return response

    async def _dispatch(self, request: Request, exchange: _Exchange) -> Response:
        route, values = _find(request)
        settings = self.site.settings
        visitor = NOBODY
        if route.need != "ticket":
            authorization = request.headers.get("authorization")
            visitor = identify(authorization, settings.accounts, settings.owner)
        exchange.visitor = visitor
        _refuse_browsers(request)
        source = await anyio.to_thread.run_sync(self._admit, route, values, visitor)
        body = b""
        if route.body is not None and not route.reads_itself:
            limits = settings.limits
            async for piece in read_pieces(request, limits.json_bytes, limits.idle_seconds):
                body += piece
        call = Call(self.site, request, visitor, values, source, body)
        answering: Any = route.handle
        response: Response
        if route.reads_itself:
            response = await answering(call)
        else:
            limiter = self._composing if _composes(call) else None
            response = await anyio.to_thread.run_sync(answering, call, limiter=limiter)
        return response

    def _admit(self, route: Route, values: dict[str, str], visitor: Visitor) -> Source | None:
        """The repository that an address names, if the visitor may do there what it needs."""
        if route.need in ("nothing", "ticket"):
            return None
        source = self.site.find(values["owner"], values["name"], visitor)
        if route.need == "write":
            require_write(self.site, visitor, source.owner)
        return source


def _composes(call: Call) -> bool:
    revision = call.values.get("revision", MAIN)
    return isinstance(call.repository, ComposingSource) and is_expression(revision)


def create_app(hub: AdapterHub, settings: Settings | None = None) -> Application:
    """The Hub's protocol over `hub`, as an ASGI application.

    Raises:
        SettingsError: the settings name a recipe that there is not.
    """
    site = Site(hub, settings or Settings())
    take_in_pending(site)
    return Application(site)


def refuse(refusal: Refusal) -> Response:
    """A refusal as an answer, with the headers by which clients tell errors apart."""
    body = {"error": refusal.message, **refusal.fields}
    response = answer(body, status=refusal.status, headers=refusal.headers)
    printable = "".join(c if c.isprintable() else " " for c in _in_one_line(refusal.message))
    header = printable.strip().encode("utf-8", "replace")
    response.raw_headers.append((b"x-error-message", header))
    if refusal.code is not None:
        response.headers["X-Error-Code"] = refusal.code
    return response


def _in_one_line(message: str) -> str:
    """What is wrong, and the hint, without the lines that show the place; the body has all."""
    first, *more = message.strip().splitlines() or [""]
    hints = [line for line in more if line.startswith("hint: ")]
    return "; ".join([first, *hints])[:1000]


def _find(request: Request) -> tuple[Route, dict[str, str]]:
    path = request.scope["raw_path"].decode("ascii", "replace")
    allowed: list[str] = []
    for route in ROUTES:
        values = route.match(path)
        if values is None:
            continue
        if request.method in route.methods:
            return route, values
        allowed += route.methods
    if allowed:
        raise Refusal(
            405,
            f"{request.method} cannot be asked of this address",
            headers={"Allow": ", ".join(sorted(set(allowed)))},
        )
    code = REPO_NOT_FOUND if path.startswith("/api/") else None
    raise Refusal(404, f"there is nothing at {path[:200]}", code=code)


def _refuse_browsers(request: Request) -> None:
    """No page of another site may use a visitor's browser to write here."""
    if request.method not in ("GET", "HEAD") and "origin" in request.headers:
        raise Refusal(403, "requests from web pages are not answered")


async def _drain(request: Request) -> None:
    """Read a small rest of a body, so that the client reads the answer and not a closed pipe."""
    stated = request.headers.get("content-length", "")
    if not stated.isdigit() or not 0 < int(stated) <= _DRAINED_BYTES:
        return
    try:
        with anyio.move_on_after(1):
            async for _ in request.stream():
                pass
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer is on its way
        _log.debug("the rest of a body was not read: %s", error)


def _counted(send: Send, exchange: _Exchange) -> Send:
    async def counting(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
        elif message["type"] == "http.response.body":
            exchange.sent_bytes += len(message.get("body", b""))
        await send(message)

    return counting


def _note(request: Request, exchange: _Exchange) -> None:
    """One line a request; upload addresses stay out, for they are keys."""
    path = request.scope["raw_path"].decode("ascii", "replace")
    entry = {
        "id": exchange.id,
        "method": request.method,
        "path": "/uploads/..." if path.startswith("/uploads/") else path[:300],
        "status": exchange.status,
        "bytes": exchange.sent_bytes,
        "ms": round(1000 * (time.monotonic() - exchange.began), 1),
        "user": exchange.visitor.user,
        "from": request.client.host if request.client else None,
    }
    _access_log.info(json.dumps(entry))

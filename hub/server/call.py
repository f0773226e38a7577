"""A request on its way to the function that answers it, and the parts that answers are made of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .access import Visitor
from .errors import Refusal
from .site import Site
from .sources import Source, StoredSource

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in.

    Attributes:
        values: the variable parts of its address, unquoted.
        repository: the repository that it is about, if it is about one.
        body: its body; empty where the answering function reads that itself.
    """

    site: Site
    request: Request
    visitor: Visitor
    values: Mapping[str, str]
    repository: Source | None = None
    body: bytes = b""

    @property
    def source(self) -> Source:
        """The repository that the call is about."""
        if self.repository is None:
            raise Refusal(404, "this address names no repository")
        return self.repository

    @property
    def stored(self) -> StoredSource:
        """The repository that the call is about, which can be written."""
        if not isinstance(self.repository, StoredSource):
            raise Refusal(403, "this repository is made of the catalogue and is read-only")
        return self.repository

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        given = self.site.settings.public_url or str(self.request.base_url)
        return given.rstrip("/")

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            Refusal: 400, it is none.
        """
        return json_object(self.body or b"{}", "the request's body")

    @property
    def expanded(self) -> list[str]:
        """The only fields of a description that the query asks for; none where it wants all."""
        query = self.request.query_params
        return [*query.getlist("expand"), *query.getlist("expand[]")]

    def wants(self, field: str) -> bool:
        """Whether the query asks for a field of a description."""
        return not self.expanded or field in ("_id", "id") or field in self.expanded

    def flag(self, name: str) -> bool:
        """Whether the query says yes to `name`."""
        return self.request.query_params.get(name, "").lower() in ("1", "true")


def json_object(data: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Refusal: 400, it is none.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(400, f"{what} is {type(value).__name__}, not a JSON object")
    return value


def text_field(data: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A field that must be a text, and be there unless there is a default.

    Raises:
        Refusal: 400, it is not.
    """
    value = data.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise Refusal(400, f"the field {name!r} is {value!r:.80}, not a text")
    return value


def count_field(data: Mapping[str, Any], name: str) -> int:
    """A field that must be a number of bytes.

    Raises:
        Refusal: 400, it is not.
    """
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise Refusal(400, f"the field {name!r} is {value!r:.80}, not a size in bytes")
    return value


def list_field(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A field that must be a list of JSON objects.

    Raises:
        Refusal: 400, it is not.
    """
    value = data.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refusal(400, f"the field {name!r} is not a list of objects")
    return value


def answer(data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Data as JSON."""
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
    return Response(
        content.encode("utf-8", "replace"), status, headers, media_type="application/json"
    )


def page(call: Call, items: Iterable[_T]) -> tuple[list[_T], dict[str, str]]:
    """The part of `items` that the query's limit and cursor ask for, and a link to the next."""
    query = call.request.query_params
    limit = _whole(query.get("limit"), call.site.settings.limits.page) or 1
    limit = min(limit, call.site.settings.limits.page)
    start = _whole(query.get("cursor"), 0)
    found = list(islice(items, start, start + limit + 1))
    headers = {}
    if len(found) > limit:
        pairs = [pair for pair in query.multi_items() if pair[0] != "cursor"]
        asked = urlencode([*pairs, ("cursor", str(start + limit))])
        # The path as it came: what is quoted in it must stay so.
        path = call.request.scope["raw_path"].decode("ascii")
        headers["Link"] = f'<{call.url}{path}?{asked}>; rel="next"'
    return found[:limit], headers


def instant(when: datetime) -> str:
    """An instant as the Hub writes it."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


async def read_pieces(request: Request, limit_bytes: int, idle: float) -> AsyncIterator[bytes]:
    """The pieces of a request's body as they come.

    Raises:
        Refusal: 413, it is too large. 408, nothing comes any more.
    """
    stated = request.headers.get("content-length", "0")
    if not stated.isdigit() or int(stated) > limit_bytes:
        raise Refusal(413, f"the body has {stated} bytes: {limit_bytes} are the most here")
    pieces = request.stream().__aiter__()
    seen = 0
    while True:
        try:
            piece = await asyncio.wait_for(anext(pieces), idle)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise Refusal(408, f"nothing of the body came for {idle:g} s") from error
        except ClientDisconnect as error:
            raise Refusal(400, "the connection was closed in the middle of the body") from error
        seen += len(piece)
        if seen > limit_bytes:
            raise Refusal(413, f"the body has more than {limit_bytes} bytes, the most here")
        yield piece


def _whole(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refusal(400, f"{text[:40]!r} is not a number of entries")
    return int(text)

"""Uploads by xet: xorbs come in, and shards say how files are made of them.

Files are put together at once and kept like all others, so that they are served without xet. The
xorbs stay for a while: a client remembers what it has sent, and does not send it again.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from ...store.sql.failures import in_words
from .call import Call, answer, read_pieces
from .errors import Refusal
from .parts import PartWriter
from .shards import ShardFile, read_shard
from .tickets import seal, unseal
from .xorbs import Xorb

_HASH = re.compile(r"[0-9a-f]{64}")
_PURPOSE = "xet"


def write_token(call: Call) -> Response:
    """Leave to send a repository's files, and where to."""
    expires = int(time.time()) + call.site.settings.limits.signature_seconds
    source = call.stored
    fields = {
        "repository": [source.owner, source.name],
        "user": call.visitor.user,
        "expires": expires,
    }
    token, address = seal(fields, _PURPOSE, call.site.key), f"{call.url}/xet"
    return answer(
        {"accessToken": token, "exp": expires, "casUrl": address},
        headers={
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": str(expires),
            "X-Xet-Cas-Url": address,
        },
    )


async def receive_xorb(call: Call) -> Response:
    """Take in a xorb; one of the same name is replaced, for its content was not checked."""
    place = _place(call, _permitted(call)["user"], call.values["hash"])
    limits = call.site.settings.limits
    with in_words(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        part = PartWriter(place)
    try:
        async for piece in read_pieces(call.request, limits.xorb_bytes, limits.idle_seconds):
            await anyio.to_thread.run_sync(part.write, piece)
        await anyio.to_thread.run_sync(part.commit)
        await anyio.to_thread.run_sync(_check, place)
    finally:
        part.close()
    return answer({"was_inserted": True})


async def receive_shard(call: Call) -> Response:
    """Put the files of a shard together, each checked against its sha256."""
    fields = _permitted(call)
    limits = call.site.settings.limits
    pieces = read_pieces(call.request, limits.shard_bytes, limits.idle_seconds)
    data = b"".join([piece async for piece in pieces])
    await anyio.to_thread.run_sync(_register, call, fields, data)
    return answer({"result": 1})


def _register(call: Call, fields: dict[str, Any], data: bytes) -> None:
    files = read_shard(data)
    xorbs: dict[str, Xorb] = {}
    for file in files:
        _check_file(call, fields["user"], file, xorbs)
    record = call.site.catalog.repositories.get(*fields["repository"])
    for file in files:
        with call.site.blobs.writer() as writer:
            for segment in file.segments:
                xorbs[segment.xorb].unpack(segment.start, segment.end, writer.write)
            if writer.digest != file.digest:
                raise Refusal(
                    400, f"a file has sha256 {writer.digest}, the shard says {file.digest}"
                )
            writer.commit()
        call.site.catalog.repositories.note_upload(record, file.digest)


def _check_file(call: Call, user: str, file: ShardFile, xorbs: dict[str, Xorb]) -> None:
    """Everything that can be known of a file before it is put together."""
    most = call.site.settings.limits.file_bytes
    if file.size_bytes > most:
        raise Refusal(413, f"a file has {file.size_bytes} bytes: {most} are the most")
    for segment in file.segments:
        if segment.xorb not in xorbs:
            place = _place(call, user, segment.xorb)
            if not place.is_file():
                raise Refusal(
                    400,
                    f"the xorb {segment.xorb} is not here: remove the client's xet cache, then "
                    "upload again",
                )
            xorbs[segment.xorb] = Xorb(place)
        if xorbs[segment.xorb].size_bytes(segment.start, segment.end) != segment.size_bytes:
            raise Refusal(400, f"a segment of the xorb {segment.xorb} is of another size")


def _permitted(call: Call) -> dict[str, Any]:
    if call.site.settings.read_only:
        raise Refusal(403, "this server is read-only")
    _, _, token = call.request.headers.get("authorization", "").partition(" ")
    return unseal(token.strip(), _PURPOSE, call.site.key)


def _place(call: Call, user: str, name: str) -> Path:
    """Where a user's xorb lies: each has their own, so that nobody can spoil another's."""
    if not _HASH.fullmatch(name):
        raise Refusal(400, f"{name[:80]!r} does not name a xorb")
    return call.site.xorbs / user / name


def _check(place: Path) -> None:
    try:
        Xorb(place)
    except Refusal:
        place.unlink()
        raise

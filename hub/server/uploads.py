"""Large files: which are to be sent, and how they come in (Git LFS, basic and multipart)."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from ...store import BlobWriter, FileRecord
from ...store.repositories.records import check_path
from .bodies import LFS_JSON
from .call import Call, answer, count_field, list_field, read_pieces, text_field
from .errors import Refusal
from .parts import Parts
from .rights import contents_at_hand
from .tickets import Ticket, read_ticket

_DIGEST = re.compile(r"[0-9a-f]{64}")
_BINARY = re.compile(
    r"\.(safetensors|bin|pt|pth|ckpt|gguf|onnx|h5|msgpack|npz|npy|parquet|arrow|zip|gz|tar|model)$"
)
_MOST_OBJECTS = 1000
_WRITTEN_BYTES = 1 << 20


def preupload(call: Call) -> Response:
    """How each file is to be sent, and what lies under its name already."""
    edition = call.source.edition(call.values["revision"])
    known = {file.path: file for file in edition.snapshot.files}
    found = []
    for item in list_field(call.json(), "files"):
        path = text_field(item, "path")
        check_path(path)
        lfs = _is_large(call, path, count_field(item, "size"), text_field(item, "sample", ""))
        file = known.get(path)
        found.append(
            {
                "path": path,
                "uploadMode": "lfs" if lfs else "regular",
                "shouldIgnore": False,
                "oid": None if file is None else _compared(file),
            }
        )
    return answer({"files": found})


def batch(call: Call) -> Response:
    """Where to send the files that are not here yet."""
    data = call.json()
    if data.get("operation") != "upload":
        raise Refusal(422, "only uploads are asked for here: files are read by their address")
    asked = list_field(data, "objects")
    if len(asked) > _MOST_OBJECTS:
        raise Refusal(413, f"{len(asked)} files are too many at once: {_MOST_OBJECTS} at most")
    objects = [(text_field(item, "oid"), count_field(item, "size")) for item in asked]
    here = contents_at_hand(call.site, call.visitor, call.stored, [oid for oid, _ in objects])
    transfers = data.get("transfers") or ["basic"]
    parts = isinstance(transfers, list) and "multipart" in transfers
    found = [_object(call, oid, size, here, parts=parts) for oid, size in objects]
    several = any("chunk_size" in _headers(item) for item in found)
    response = answer({"transfer": "multipart" if several else "basic", "objects": found})
    response.headers["Content-Type"] = LFS_JSON
    return response


async def receive_file(call: Call) -> Response:
    """Take in a whole file, as it comes."""
    ticket = _ticket(call)
    with call.site.blobs.writer() as writer:
        await _receive(call, writer.write, ticket.size_bytes)
        await anyio.to_thread.run_sync(_keep, call, ticket, writer)
    return answer({"ok": True})


async def receive_part(call: Call) -> Response:
    """Take in one part of a file."""
    ticket = _ticket(call)
    parts = _parts(call, ticket)
    number = parts.number(call.values["part"])
    with parts.writer(number) as part:
        await _receive(call, part.write, parts.size_bytes(number))
        await anyio.to_thread.run_sync(part.commit)
    return Response(headers={"ETag": f'"{ticket.digest[:16]}-{number}"'})


def complete(call: Call) -> Response:
    """Make the parts of a file one; again changes nothing."""
    ticket = _ticket(call)
    parts = _parts(call, ticket)
    if missing := parts.missing():
        record = call.site.catalog.repositories.get(*ticket.repository)
        holders = call.site.catalog.repositories.holders([ticket.digest])[ticket.digest]
        if record.id in holders and call.site.blobs.contains(ticket.digest):
            return answer({"ok": True})
        raise Refusal(400, f"parts of the file were not sent: {', '.join(map(str, missing))[:200]}")
    with call.site.blobs.writer() as writer:
        parts.join(writer.write)
        _keep(call, ticket, writer)
    parts.remove()
    return answer({"ok": True})


def verify(call: Call) -> Response:
    """Whether a file has come in."""
    ticket = _ticket(call)
    if not call.site.blobs.contains(ticket.digest):
        raise Refusal(404, f"the file {ticket.digest} has not come in")
    return answer({"ok": True})


def _compared(file: FileRecord) -> str:
    """What a client compares its own file with, to leave out what is there."""
    return file.digest if file.lfs else file.oid


def _is_large(call: Call, path: str, size_bytes: int, sample: str) -> bool:
    if not size_bytes:
        return False
    if size_bytes > call.site.settings.limits.regular_bytes or _BINARY.search(path.lower()):
        return True
    try:
        head = base64.b64decode(sample, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"the sample of {path!r:.200} is not base64: {error}") from error
    if b"\0" in head:
        return True
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start < len(head) - 3  # A character may be cut off at the end.
    return False


def _object(
    call: Call, oid: str, size_bytes: int, here: frozenset[str], *, parts: bool
) -> dict[str, Any]:
    limits = call.site.settings.limits
    plain: dict[str, Any] = {"oid": oid, "size": size_bytes, "authenticated": True}
    if not _DIGEST.fullmatch(oid):
        return plain | {"error": {"code": 422, "message": "the oid is no sha256"}}
    if size_bytes > limits.file_bytes:
        return plain | {
            "error": {"code": 413, "message": f"{limits.file_bytes} bytes are the most for a file"}
        }
    if oid in here:
        if call.site.blobs.size_bytes(oid) != size_bytes:
            return plain | {"error": {"code": 422, "message": "the size is not that of this oid"}}
        return plain
    names = (call.source.owner, call.source.name)
    expires = int(time.time()) + limits.signature_seconds
    address = f"{call.url}/uploads/{Ticket(names, oid, size_bytes, expires).sign(call.site.key)}"
    upload: dict[str, Any] = {"href": address}
    if parts and size_bytes > limits.part_bytes:
        count = -(-size_bytes // limits.part_bytes)
        header = {str(number): f"{address}/{number}" for number in range(1, count + 1)}
        upload = {
            "href": f"{address}/complete",
            "header": {"chunk_size": str(limits.part_bytes), **header},
        }
    verify_at = {"href": f"{address}/verify"}
    return plain | {"actions": {"upload": upload, "verify": verify_at}}


def _headers(item: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = item.get("actions", {}).get("upload", {}).get("header", {})
    return found


def _ticket(call: Call) -> Ticket:
    if call.site.settings.read_only:
        raise Refusal(403, "this server is read-only")
    return read_ticket(call.values["ticket"], call.site.key)


def _parts(call: Call, ticket: Ticket) -> Parts:
    # A new address for the same file goes on with the parts that are there.
    same = replace(ticket, expires=0).sign(call.site.key)
    part_bytes = call.site.settings.limits.part_bytes
    return Parts.of(call.site.uploads, same, ticket.size_bytes, part_bytes)


async def _receive(call: Call, write: Callable[[bytes], object], size_bytes: int) -> None:
    """Hand a body of exactly so many bytes on, in large pieces, outside the event loop."""
    limits = call.site.settings.limits
    pieces, held, seen = [], 0, 0
    async for piece in read_pieces(call.request, size_bytes, limits.idle_seconds):
        pieces.append(piece)
        held += len(piece)
        seen += len(piece)
        if held >= _WRITTEN_BYTES:
            await anyio.to_thread.run_sync(write, b"".join(pieces))
            pieces, held = [], 0
    if held:
        await anyio.to_thread.run_sync(write, b"".join(pieces))
    if seen != size_bytes:
        raise Refusal(400, f"{seen} bytes came where {size_bytes} were announced")


def _keep(call: Call, ticket: Ticket, writer: BlobWriter) -> None:
    if writer.digest != ticket.digest:
        raise Refusal(
            400, f"the content has sha256 {writer.digest}, not {ticket.digest} as announced"
        )
    record = call.site.catalog.repositories.get(*ticket.repository)
    writer.commit()
    call.site.catalog.repositories.note_upload(record, ticket.digest)

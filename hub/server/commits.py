"""Commits as they are pushed: a line of JSON for each file, taken in as they come."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from ...store import BlobError, Change, FileRecord
from ...store.repositories.records import MAIN, check_path
from .call import Call, answer, count_field, json_object, read_pieces, text_field
from .errors import Refusal
from .files import keep_small, large_file
from .intake import take_in
from .rights import contents_at_hand


@dataclass(slots=True)
class _Draft:
    """A commit while its lines come in."""

    title: str | None = None
    message: str = ""
    parent: str | None = None
    put: dict[str, FileRecord] = field(default_factory=dict)
    large: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    deleted_files: list[str] = field(default_factory=list)
    deleted_folders: list[str] = field(default_factory=list)

    @property
    def operations(self) -> int:
        return len(self.put) + len(self.large) + len(self.deleted_files) + len(self.deleted_folders)


async def commit(call: Call) -> Response:
    """Put a commit on a branch, whole or not at all."""
    if call.flag("create_pr"):
        raise Refusal(403, "there are no pull requests here: commit to a branch")
    source = call.stored
    draft = _Draft()
    async for line in _lines(call):
        await anyio.to_thread.run_sync(_take_in, call, draft, line)
    if draft.title is None:
        raise Refusal(400, 'the commit has no header: its first line is {"key": "header", ...}')
    made = await anyio.to_thread.run_sync(_record, call, draft)
    address = f"{call.url}/{source.owner}/{source.name}/commit/{made}"
    return answer({"success": True, "commitOid": made, "commitUrl": address, "hookOutput": ""})


async def _lines(call: Call) -> AsyncIterator[bytes]:
    limits = call.site.settings.limits
    held = bytearray()
    async for piece in read_pieces(call.request, limits.commit_bytes, limits.idle_seconds):
        # Only the new piece is searched: a line comes in many.
        *whole, rest = piece.split(b"\n")
        for part in whole:
            held += part
            yield bytes(held)
            held.clear()
        held += rest
        if len(held) > limits.line_bytes:
            raise Refusal(413, f"a line of the commit has more than {limits.line_bytes} bytes")
    yield bytes(held)


def _take_in(call: Call, draft: _Draft, line: bytes) -> None:
    if not line.strip():
        return
    data = json_object(line, "a line of the commit")
    key, value = text_field(data, "key"), data.get("value")
    if not isinstance(value, dict):
        raise Refusal(400, f"the line {key!r:.40} of the commit has no value")
    if key == "header":
        _take_header(draft, value)
        return
    path = text_field(value, "path")
    if key == "file":
        _check_new(draft, path)
        draft.put[path] = keep_small(call.site.blobs, path, _decoded(call, path, value))
    elif key == "lfsFile":
        _check_new(draft, path)
        size = None if value.get("size") is None else count_field(value, "size")
        if value.get("algo") != "sha256":
            raise Refusal(400, f"{path!r:.200} is named by {value.get('algo')!r:.40}, not sha256")
        draft.large[path] = (text_field(value, "oid"), size)
    elif key == "deletedFile":
        draft.deleted_files.append(path)
    elif key == "deletedFolder":
        draft.deleted_folders.append(path)
    else:
        raise Refusal(400, f"a line of the commit is {key!r:.40}, which is not known here")
    if draft.operations > call.site.settings.limits.operations:
        raise Refusal(413, f"{draft.operations} files are too many for one commit")


def _take_header(draft: _Draft, value: dict[str, Any]) -> None:
    if draft.title is not None:
        raise Refusal(400, "the commit has two headers")
    draft.title = text_field(value, "summary")
    draft.message = text_field(value, "description", "")
    if value.get("parentCommit") is not None:
        draft.parent = text_field(value, "parentCommit")


def _check_new(draft: _Draft, path: str) -> None:
    check_path(path)
    if path in draft.put or path in draft.large:
        raise Refusal(400, f"the commit has {path!r:.200} twice")


def _decoded(call: Call, path: str, value: dict[str, Any]) -> bytes:
    if value.get("encoding", "base64") != "base64":
        raise Refusal(400, f"{path!r:.200} is encoded as {value['encoding']!r:.40}, not base64")
    try:
        content = base64.b64decode(text_field(value, "content"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"the content of {path!r:.200} is not base64: {error}") from error
    most = call.site.settings.limits.regular_bytes
    if len(content) > most:
        raise Refusal(413, f"{path!r:.200} has more than {most} bytes: upload it as a large file")
    return content


def _record(call: Call, draft: _Draft) -> str:
    digests = [digest for digest, _ in draft.large.values()]
    here = contents_at_hand(call.site, call.visitor, call.stored, digests)
    for path, (digest, size) in draft.large.items():
        if digest not in here:
            raise Refusal(400, f"{path!r:.200} was not uploaded (sha256 {digest:.64})")
        draft.put[path] = _large_file(call, path, digest, size)
    change = Change(
        str(draft.title),
        draft.message,
        tuple(draft.put.values()),
        tuple(draft.deleted_files),
        tuple(draft.deleted_folders),
    )
    on_main = call.values["revision"] == MAIN
    address = f"{call.url}/{call.source.owner}/{call.source.name}"
    try:
        made = call.site.catalog.repositories.commit(
            call.stored.record,
            call.values["revision"],
            change,
            author=str(call.visitor.user),
            stored=call.site.blobs.contains,
            parent=draft.parent,
            pending=address if on_main else None,
        )
    except BlobError as error:
        raise Refusal(400, str(error)) from error
    if on_main:
        take_in(call.site, call.stored, made.sha, address)
    return made.sha


def _large_file(call: Call, path: str, digest: str, size: int | None) -> FileRecord:
    stored = call.site.blobs.size_bytes(digest)
    if size not in (None, stored):
        raise Refusal(400, f"{path!r:.200} has {stored} bytes, not {size}")
    return large_file(path, digest, stored)

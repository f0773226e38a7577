"""The content of files: whole or in part, never from outside the store."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.responses import FileResponse, Response

from ...store import FileRecord
from .call import Call
from .errors import ENTRY_NOT_FOUND, Refusal

_PIECE_BYTES = 1 << 20
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


def resolve(call: Call) -> Response:
    """A file of a revision; its address is looked up in the commit, never on the disk."""
    edition = call.source.edition(call.values["revision"])
    at = {"X-Repo-Commit": edition.snapshot.commit.sha}
    path = call.values["path"]
    file = edition.file(path)
    if file is None:
        raise Refusal(404, f"there is no file {path[:200]!r}", code=ENTRY_NOT_FOUND, headers=at)
    headers = at | _tags(file)
    found = edition.content(file, call.site.blobs)
    name = path.rpartition("/")[2]
    if isinstance(found, Path):
        response = FileResponse(
            found, headers=headers, media_type="application/octet-stream", filename=name
        )
        response.chunk_size = _PIECE_BYTES  # Each piece is a turn of a thread.
        return response
    headers |= {"Accept-Ranges": "bytes", "Content-Disposition": "attachment"}
    return _part(call, found, headers)


def _tags(file: FileRecord) -> dict[str, str]:
    if not file.lfs:
        return {"ETag": f'"{file.oid}"'}
    return {
        "ETag": f'"{file.digest}"',
        "X-Linked-Etag": f'"{file.digest}"',
        "X-Linked-Size": str(file.size_bytes),
    }


def _part(call: Call, content: bytes, headers: dict[str, str]) -> Response:
    asked = _RANGE.fullmatch(call.request.headers.get("range", ""))
    status = 200
    if asked and call.request.headers.get("if-range") in (None, headers["ETag"]):
        size, start = len(content), int(asked[1])
        end = min(int(asked[2]) + 1 if asked[2] else size, size)
        if start >= end:
            raise Refusal(
                416, f"{size} bytes is all there is", headers={"Content-Range": f"bytes */{size}"}
            )
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        content, status = content[start:end], 206
    length = {"Content-Length": str(len(content))}
    body = b"" if call.request.method == "HEAD" else content
    return Response(body, status, headers | length, media_type="application/octet-stream")

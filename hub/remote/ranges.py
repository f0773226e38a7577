"""Reading a part of a hub's file in one request, where a download would be three and a cache."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_PARTIAL, _EMPTY_RANGE = 206, 416
_GIT_NAME = re.compile(r'(?:W/)?"?([0-9a-f]{40})"?')


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file, how long the whole file is, and the name that the hub gives its content."""

    data: bytes
    size_bytes: int
    etag: str

    def is_damaged(self) -> bool:
        """Whether a whole file is not what git's name for it says; False where that is not told."""
        named = _GIT_NAME.fullmatch(self.etag)
        if named is None or len(self.data) != self.size_bytes:
            return False
        hashed = hashlib.sha1(f"blob {len(self.data)}\0".encode(), usedforsecurity=False)
        hashed.update(self.data)
        return hashed.hexdigest() != named[1]


def read_part(
    url: str, headers: dict[str, str], start: int, length: int, patience_seconds: float
) -> Part:
    """Ask for `length` bytes from `start` on; fewer where the file ends before.

    A hub that sends the whole file is read no further than needed.
    """
    from huggingface_hub import get_session
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    asked = headers | {
        "Range": f"bytes={start}-{start + length - 1}",
        "Accept-Encoding": "identity",
    }
    data = bytearray()
    with get_session().stream("GET", url, headers=asked, timeout=patience_seconds) as response:
        said = response.headers.get("content-range", "")
        if response.status_code == _EMPTY_RANGE:
            return Part(b"", _size_of(said, 0), "")
        hf_raise_for_status(response)
        skipped = 0 if response.status_code == _PARTIAL else start
        for piece in response.iter_bytes():
            data += piece
            if len(data) >= skipped + length:
                break
        whole = int(response.headers.get("content-length", len(data)))
        etag = response.headers.get("etag", "")
    return Part(bytes(data[skipped : skipped + length]), _size_of(said, whole), etag)


def _size_of(content_range: str, otherwise: int) -> int:
    """The size that `Content-Range: bytes 0-99/1234` names."""
    size = content_range.rpartition("/")[2]
    return int(size) if size.isdecimal() else otherwise

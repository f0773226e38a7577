"""Shards: which chunks of which xorbs a file is made of, as the xet client sends them.

After a header, entries of 48 bytes each: for each file its hash, a segment for each run of chunks,
perhaps as many hashes to check these, and its sha256. A hash is written as four little-endian
numbers, read as hex. Only this first section is read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .errors import Refusal

_TAG_BYTES = 32
_ENTRY = struct.Struct("<32sIIII")
_HEADER = struct.Struct("<32sQQ")
_VERSION = 2
_END = b"\xff" * 32
_VERIFIED, _WITH_SHA256 = 1 << 31, 1 << 30


@dataclass(frozen=True, slots=True)
class Segment:
    """Chunks of a xorb, from `start` up to, not including, `end`; `size_bytes` unpacked."""

    xorb: str
    start: int
    end: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file: its sha256, and what it is made of."""

    digest: str
    segments: tuple[Segment, ...]

    @property
    def size_bytes(self) -> int:
        """How large it is."""
        return sum(segment.size_bytes for segment in self.segments)


def read_shard(data: bytes) -> tuple[ShardFile, ...]:
    """The files that a shard describes.

    Raises:
        Refusal: 400, it is no shard, or says no sha256 of a file.
    """
    try:
        _, version, _ = _HEADER.unpack_from(data)
        if version != _VERSION:
            raise Refusal(400, f"the shard is of version {version}: {_VERSION} is known here")
        files = []
        offset = _HEADER.size
        while data[offset : offset + _TAG_BYTES] != _END:
            file, offset = _file(data, offset)
            files.append(file)
    except struct.error as error:
        raise Refusal(400, "the shard ends in the middle of an entry") from error
    return tuple(files)


def _file(data: bytes, offset: int) -> tuple[ShardFile, int]:
    _, flags, count, _, _ = _ENTRY.unpack_from(data, offset)
    if not flags & _WITH_SHA256:
        raise Refusal(400, "the shard has a file without its sha256")
    if count * _ENTRY.size > len(data):
        raise Refusal(400, f"the shard cannot hold {count} segments")
    segments = []
    for number in range(1, count + 1):
        hashed, _, size, start, end = _ENTRY.unpack_from(data, offset + number * _ENTRY.size)
        segments.append(Segment(_hex(hashed), start, end, size))
    offset += (1 + count * (2 if flags & _VERIFIED else 1)) * _ENTRY.size
    digest = _ENTRY.unpack_from(data, offset)[0]
    return ShardFile(_hex(digest), tuple(segments)), offset + _ENTRY.size


def _hex(hashed: bytes) -> str:
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", hashed))

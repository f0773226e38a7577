"""Xorbs: sequences of compressed chunks, as the xet client sends them.

A chunk has a header of 8 bytes: version 0, its packed size (3 bytes), how it is packed, and its
size (3 bytes), both little-endian. What follows the chunks, if anything, is an index, which is not
needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import lz4.frame

from .errors import Refusal

_HEADER_BYTES = 8
_MOST_CHUNK_BYTES = 1 << 20
_KEPT_SECONDS = 30 * 24 * 3600
_INDEX_BEGIN = b"XETBLOB"
_PLAIN, _LZ4, _GROUPED_LZ4 = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk lies in its file, how it is packed, and how large it is unpacked."""

    offset: int
    packed_bytes: int
    packing: int
    size_bytes: int


class Xorb:
    """A xorb in a file.

    Raises:
        Refusal: 400, the file is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.chunks = tuple(_chunks(file, path.stat().st_size))

    def unpack(self, start: int, end: int, write: Callable[[bytes], object]) -> None:
        """Hand on the content of the chunks from `start` up to, not including, `end`.

        Raises:
            Refusal: 400, a chunk cannot be unpacked.
        """
        with self.path.open("rb") as file:
            for chunk in self.chunks[start:end]:
                file.seek(chunk.offset)
                write(_unpacked(file.read(chunk.packed_bytes), chunk))

    def size_bytes(self, start: int, end: int) -> int:
        """How large the chunks from `start` up to, not including, `end` are unpacked.

        Raises:
            Refusal: 400, there are not so many.
        """
        if not start < end <= len(self.chunks):
            raise Refusal(400, f"a xorb has no chunks {start} to {end}: it has {len(self.chunks)}")
        return sum(chunk.size_bytes for chunk in self.chunks[start:end])


def remove_old(folder: Path) -> None:
    """Remove every user's xorbs that are older than any client's memory of them."""
    with suppress(FileNotFoundError):
        for path in folder.glob("*/*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                    path.unlink()


def _chunks(file: BinaryIO, total_bytes: int) -> Iterator[Chunk]:
    offset = 0
    while offset < total_bytes:
        file.seek(offset)
        header = file.read(_HEADER_BYTES)
        if header.startswith(_INDEX_BEGIN):
            return
        packed, size = int.from_bytes(header[1:4], "little"), int.from_bytes(header[5:8], "little")
        whole = len(header) == _HEADER_BYTES and offset + _HEADER_BYTES + packed <= total_bytes
        if not whole or header[0] != 0 or header[4] not in (_PLAIN, _LZ4, _GROUPED_LZ4):
            raise Refusal(400, f"the xorb has no chunk at byte {offset}")
        if size > _MOST_CHUNK_BYTES:
            raise Refusal(400, f"the chunk at byte {offset} has {size} bytes, which none has")
        offset += _HEADER_BYTES
        yield Chunk(offset, packed, header[4], size)
        offset += packed


def _unpacked(data: bytes, chunk: Chunk) -> bytes:
    if chunk.packing != _PLAIN:
        try:
            # No more than is promised and one byte, however much the data would grow to.
            data = lz4.frame.LZ4FrameDecompressor().decompress(data, chunk.size_bytes + 1)
        except (RuntimeError, EOFError, ValueError) as error:
            raise Refusal(400, f"the chunk at byte {chunk.offset} is no LZ4 frame") from error
    if len(data) != chunk.size_bytes:
        raise Refusal(400, f"the chunk at byte {chunk.offset} is not of the size that it says")
    return _ungrouped(data) if chunk.packing == _GROUPED_LZ4 else data


def _ungrouped(data: bytes) -> bytes:
    """Put bytes back that were grouped by their place among four."""
    size, rest = divmod(len(data), 4)
    found, start = bytearray(len(data)), 0
    for place in range(4):
        end = start + size + (place < rest)
        found[place::4] = data[start:end]
        start = end
    return bytes(found)

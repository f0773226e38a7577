"""Safetensors files: a strict reader of their headers and the canonical form that is stored.

The format is an 8-byte little-endian header length, a JSON header, and the tensors' bytes without
gaps. A header is input from strangers, so everything it claims is checked against the file before
anything is allocated or believed. The canonical form has one spelling for equal content: tensors
sorted by name, one metadata entry, compact JSON. It is also what `safetensors` itself writes when
all tensors have one dtype, so for most adapters the canonical digest is the original's digest.
"""

from __future__ import annotations

import json
import os
import reprlib
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from mmap import mmap
from pathlib import Path
from typing import IO, Any, Final

from ..errors import WeightsError, quoted

DTYPE_BYTES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 8),
}
"""Bytes an element takes, by the format's name of the dtype."""

BLOCK_BYTES: Final = 1 << 20
"""Bytes that are written at once."""

# The limit of the reference implementation; real headers have some kilobytes.
_LARGEST_HEADER = 100_000_000
_MOST_DIMENSIONS = 32
_METADATA: Final = {"format": "pt"}
_ENTRY_KEYS: Final = {"dtype", "shape", "data_offsets"}

# Bytes of an element, and the bits of the positive infinity, by dtype.
_INFINITIES: Final[Mapping[str, tuple[int, int]]] = {
    "F16": (2, 0x7C00),
    "BF16": (2, 0x7F80),
    "F32": (4, 0x7F80_0000),
    "F64": (8, 0x7FF0_0000_0000_0000),
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file: its name, dtype (as in the format), shape, and absolute byte range."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        """The number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a file declares and has been found to hold: entries sorted by name, and its sizes."""

    entries: tuple[TensorEntry, ...]
    metadata: Mapping[str, str]
    data_start: int
    size_bytes: int

    @cached_property
    def by_name(self) -> Mapping[str, TensorEntry]:
        """The entries by the tensor's name."""
        return {entry.name: entry for entry in self.entries}


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Args:
        path: the file; only its header is read.

    Raises:
        WeightsError: the file cannot be read, or anything it claims is not so.
    """
    raw, size_bytes = header_text(path)
    return parse_header(raw, size_bytes, path)


def header_text(path: Path) -> tuple[bytes, int]:
    """The undecoded JSON header of a file, and the file's size in bytes.

    Raises:
        WeightsError: the file cannot be read or is shorter than it says.
    """
    try:
        with path.open("rb") as file:
            return _header_text(file, path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error


def _header_text(file: IO[bytes], path: Path) -> tuple[bytes, int]:
    size_bytes = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    if len(prefix) < 8:
        raise WeightsError(f"{path} is no safetensors file: it has only {size_bytes} bytes")
    (length,) = struct.unpack("<Q", prefix)
    if length > _LARGEST_HEADER:
        raise WeightsError(
            f"{path} is no safetensors file: it claims a header of {length} bytes, "
            f"more than the format's {_LARGEST_HEADER}"
        )
    raw = file.read(length)
    if len(raw) < length:
        raise WeightsError(
            f"{path} is truncated: its header should have {length} bytes, "
            f"but the file has only {size_bytes}"
        )
    return raw, size_bytes


def parse_header(raw: bytes, size_bytes: int, path: Path) -> Header:
    """Check an undecoded JSON header against the size of its file.

    Args:
        raw: the JSON text, without its length.
        size_bytes: size of the whole file.
        path: the file, for messages.

    Raises:
        WeightsError: anything that the header claims is not so.
    """
    decoded = _decoded(raw, path)
    metadata = _checked_metadata(decoded.pop("__metadata__", {}), path)
    data_start = 8 + len(raw)
    entries = tuple(_entry(name, decoded[name], data_start, path) for name in sorted(decoded))
    _check_ranges(entries, data_start, size_bytes, path)
    return Header(entries, metadata, data_start, size_bytes)


def _decoded(raw: bytes, path: Path) -> dict[str, Any]:
    if not raw.startswith(b"{"):
        raise WeightsError(f"{path} is no safetensors file: its header does not begin with '{{'")
    try:
        decoded = json.loads(
            raw.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
    except RecursionError as error:
        raise WeightsError(f"{path}: the header is nested too deeply to be one") from error
    except (ValueError, MemoryError) as error:
        raise WeightsError(f"{path}: the header is not valid JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise WeightsError(f"{path}: the header is no JSON object")
    return decoded


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        count = Counter(name for name, _ in pairs)
        raise ValueError(f"the key {quoted(max(count, key=count.__getitem__))} occurs twice")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _checked_metadata(metadata: Any, path: Path) -> Mapping[str, str]:
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise WeightsError(f"{path}: __metadata__ is not an object of texts")
    return metadata


def _entry(name: str, claim: Any, data_start: int, path: Path) -> TensorEntry:
    def wrong(what: str) -> WeightsError:
        return WeightsError(f"{path}: tensor {quoted(name, 200)}: {what}")

    if not name.isprintable():
        raise wrong("the name has characters that cannot be printed")
    if not isinstance(claim, dict) or claim.keys() != _ENTRY_KEYS:
        raise wrong("expected exactly dtype, shape and data_offsets")
    dtype, shape, offsets = claim["dtype"], claim["shape"], claim["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise wrong(
            f"unknown dtype {reprlib.repr(dtype)}, expected one of {', '.join(DTYPE_BYTES)}"
        )
    if not _are_sizes(shape) or len(shape) > _MOST_DIMENSIONS:
        raise wrong(
            f"the shape is no list of at most {_MOST_DIMENSIONS} sizes from 0 to 2^63 - 1: "
            f"{reprlib.repr(shape)}"
        )
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise wrong(f"data_offsets are no range of bytes: {reprlib.repr(offsets)}")
    start, end = offsets
    if prod(shape) * DTYPE_BYTES[dtype] != end - start:
        raise wrong(
            f"{dtype} of shape {shape} takes {prod(shape) * DTYPE_BYTES[dtype]} bytes, "
            f"but data_offsets give it {end - start}"
        )
    return TensorEntry(name, dtype, tuple(shape), data_start + start, data_start + end)


def _are_sizes(values: Any) -> bool:
    # bool is an int, but `true` is no size.
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 1 << 63 for value in values
    )


def _check_ranges(
    entries: tuple[TensorEntry, ...], data_start: int, size_bytes: int, path: Path
) -> None:
    """Check that the tensors follow each other without a gap up to the end of the file."""
    position = data_start
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.end > size_bytes:
            raise WeightsError(
                f"{path} is truncated: tensor {quoted(entry.name, 200)} ends at byte {entry.end}, "
                f"but the file has only {size_bytes}"
            )
        if entry.start != position:
            what = "overlaps another" if entry.start < position else "leaves a hole before it"
            raise WeightsError(
                f"{path}: tensor {quoted(entry.name, 200)} {what}: "
                f"it begins at byte {entry.start}, expected {position}"
            )
        position = entry.end
    if position != size_bytes:
        raise WeightsError(
            f"{path}: {size_bytes - position} bytes follow the last tensor, expected none"
        )


def header_bytes(entries: Iterable[tuple[str, str, tuple[int, ...]]]) -> bytes:
    """The canonical beginning of a file: the header's length and the header.

    Args:
        entries: name, dtype and shape of each tensor, in any order.

    >>> header_bytes([("a", "F32", (1,))])[8:].rstrip().decode()
    '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    """
    claims: dict[str, Any] = {"__metadata__": _METADATA}
    position = 0
    for name, dtype, shape in sorted(entries):
        end = position + prod(shape) * DTYPE_BYTES[dtype]
        claims[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def canonicalize(path: Path, write: Callable[[memoryview], object]) -> Header:
    """Stream the canonical form of a file, a block at a time.

    Args:
        path: a safetensors file.
        write: takes the bytes in order; a block must not be kept after the call returns.

    Returns:
        The header of the canonical form.

    Raises:
        WeightsError: the file is damaged or ill-formed, or holds a NaN or an infinity.
    """
    header = read_header(path)
    beginning = _canonical_beginning(header)
    blocks = Blocks(write)
    blocks.write(memoryview(beginning))
    try:
        with path.open("rb", buffering=0) as file:
            for entry in header.entries:
                _copy(entry, file, blocks, path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    blocks.flush()
    size_bytes = len(beginning) + header.size_bytes - header.data_start
    return parse_header(beginning[8:], size_bytes, path)


def is_canonical(path: Path) -> bool:
    """Whether a file is in the canonical form already, by its header alone.

    Raises:
        WeightsError: the file cannot be read, or its header is ill-formed.
    """
    text, size_bytes = header_text(path)
    return struct.pack("<Q", len(text)) + text == _canonical_beginning(
        parse_header(text, size_bytes, path)
    )


def _canonical_beginning(header: Header) -> bytes:
    return header_bytes((entry.name, entry.dtype, entry.shape) for entry in header.entries)


class Blocks:
    """Collects bytes and hands them on in blocks of one size, the last one excepted.

    Large writes at multiples of their size are several times as cheap as others, and what they
    leave in the page cache is cheaper to read.

    Args:
        write: takes the blocks in order; one must not be kept after the call returns.
        size_bytes: of a block.
    """

    def __init__(
        self, write: Callable[[memoryview], object], size_bytes: int = BLOCK_BYTES
    ) -> None:
        self._write = write
        # Mapped memory begins at a page, from where a file can be written directly.
        self._block = memoryview(mmap(-1, size_bytes))
        self._used = 0

    def write(self, data: memoryview) -> None:
        """Take over a copy of some bytes."""
        while data:
            part = data[: len(self._block) - self._used]
            self._block[self._used : self._used + len(part)] = part
            self._used += len(part)
            data = data[len(part) :]
            if self._used == len(self._block):
                self.flush()

    def room(self, least_bytes: int) -> memoryview:
        """What is left of the block, to be filled from its beginning on, and then `take`n."""
        if len(self._block) - self._used < least_bytes:
            self.flush()
        return self._block[self._used :]

    def take(self, count: int) -> None:
        """Take over so many bytes of the room."""
        self._used += count
        if self._used == len(self._block):
            self.flush()

    def flush(self) -> None:
        """Hand on what there is."""
        if self._used:
            self._write(self._block[: self._used])
        self._used = 0


def _copy(entry: TensorEntry, file: IO[bytes], blocks: Blocks, path: Path) -> None:
    """Read a tensor right into the blocks, some elements at a time."""
    file.seek(entry.start)
    size = DTYPE_BYTES[entry.dtype]
    left = entry.end - entry.start
    while left:
        room = blocks.room(size)
        part = room[: min(left, len(room) // size * size)]
        _fill(part, file, path)
        if first_not_finite(part, entry.dtype) is not None:
            raise WeightsError(
                f"{path}: tensor {quoted(entry.name, 200)} holds a NaN or an infinity"
            )
        blocks.take(len(part))
        left -= len(part)


def _fill(block: memoryview, file: IO[bytes], path: Path) -> None:
    position = 0
    while position < len(block):
        count = file.readinto(block[position:])  # type: ignore[attr-defined]
        if not count:
            raise WeightsError(f"{path} became shorter while it was read")
        position += count


def first_not_finite(data: memoryview, dtype: str) -> int | None:
    """The index of the first NaN or infinity among elements of a dtype, or None."""
    if dtype not in _INFINITIES or not data:
        return None
    import numpy

    size, infinity = _INFINITIES[dtype]
    signed = numpy.frombuffer(data, dtype=f"<i{size}")
    unsigned = signed.view(f"<u{size}")
    # As numbers without a sign, all bits that mean no finite number come after all that do.
    lowest = infinity | 1 << 8 * size - 1
    if signed.max() < infinity and unsigned.max() < lowest:
        return None
    return int(((signed >= infinity) | (unsigned >= lowest)).argmax())

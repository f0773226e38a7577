"""Sizes in bytes as people write them: 512MiB, 2GiB."""

from __future__ import annotations

import re
from typing import Final

from .errors import CheckError, quoted

_UNITS: Final = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")

DEFAULT_MEMORY_BYTES: Final = 256 << 20
"""The memory that a composition may take, unless one says otherwise."""


def read_size(text: str) -> int:
    """The bytes of a size with a unit of 1000 (kB, MB, GB, TB) or 1024 (KiB, MiB, GiB, TiB).

    >>> read_size("512MiB"), read_size("1.5 GB"), read_size("4096")
    (536870912, 1500000000, 4096)

    Raises:
        CheckError: it is no such size, or nothing at all.
    """
    found = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise CheckError(
            f"{quoted(text)} is no size", hint="write it like this: 512MiB, 2GiB, 1500MB"
        )
    size = int(float(found[1]) * unit)
    if not size:
        raise CheckError(f"{quoted(text)} is nothing", hint="write it like this: 512MiB, 2GiB")
    return size


def size_words(size_bytes: int) -> str:
    """A size as `read_size` takes it, rounded up.

    >>> size_words(256 << 20), size_words(5 * 10**9), size_words(1)
    ('256MiB', '4.7GiB', '1KiB')
    """
    if size_bytes <= 1 << 19:
        return f"{-(-size_bytes >> 10)}KiB"
    if size_bytes <= 999 << 20:
        return f"{-(-size_bytes >> 20)}MiB"
    return f"{-(-size_bytes * 10 >> 30) / 10:.1f}GiB"

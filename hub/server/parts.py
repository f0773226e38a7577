"""A file that comes in parts: where they lie until all are there."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ...store.sql.failures import in_words
from .errors import Refusal

_PIECE_BYTES = 1 << 20
_KEPT_SECONDS = 24 * 3600


class PartWriter:
    """Writes one part into a temporary file, which `commit` gives its place."""

    def __init__(self, place: Path) -> None:
        self._place = place
        descriptor, name = tempfile.mkstemp(dir=place.parent)
        self._file = os.fdopen(descriptor, "wb")
        self._temporary = Path(name)

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        with in_words(self._place.parent):
            self._file.write(piece)

    def commit(self) -> None:
        """Give the part its place, on the disk to stay."""
        with in_words(self._place.parent):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._temporary.replace(self._place)

    def close(self) -> None:
        """Remove what is not committed."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one file: numbered from 1, all of `part_bytes` but the last."""

    folder: Path
    total_bytes: int
    part_bytes: int

    @classmethod
    def of(cls, uploads: Path, name: str, total_bytes: int, part_bytes: int) -> Parts:
        """The parts of the file that `name` stands for, below the folder `uploads`."""
        folder = uploads / hashlib.sha256(name.encode()).hexdigest()
        return cls(folder, total_bytes, part_bytes)

    @property
    def count(self) -> int:
        """How many there must be."""
        return -(-self.total_bytes // self.part_bytes)

    def number(self, text: str) -> int:
        """The number of a part as an address gives it.

        Raises:
            Refusal: 404, there is no such part.
        """
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= self.count):
            raise Refusal(404, f"there is no part {text[:20]!r}: they are 1 to {self.count}")
        return int(text[:9])

    def size_bytes(self, number: int) -> int:
        """How large a part must be."""
        return min(self.part_bytes, self.total_bytes - (number - 1) * self.part_bytes)

    @contextmanager
    def writer(self, number: int) -> Iterator[PartWriter]:
        """A writer for a part; leaving the block without a commit removes what it wrote."""
        with in_words(self.folder.parent):
            self.folder.mkdir(parents=True, exist_ok=True)
            part = PartWriter(self.folder / str(number))
        try:
            yield part
        finally:
            part.close()

    def missing(self) -> list[int]:
        """The numbers of the parts that have not come."""
        return [n for n in range(1, self.count + 1) if not (self.folder / str(n)).is_file()]

    def join(self, write: Callable[[bytes], object]) -> None:
        """Hand on the content of all parts, in order."""
        for number in range(1, self.count + 1):
            with (self.folder / str(number)).open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    write(piece)

    def remove(self) -> None:
        """Remove all parts."""
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_abandoned(place: Path, pattern: str = "*") -> None:
    """Remove the folders in `place` to which nothing came for a day."""
    with suppress(FileNotFoundError):
        for folder in place.glob(pattern):
            if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

"""Files that slices are read from, in any order and by several threads at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from ..errors import WeightsError

_MOST_OPEN_FILES: Final = 128


class Sources:
    """Numbered files, kept open unless there are very many; a context manager.

    Args:
        paths: the files, by number.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._descriptors: list[int] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if len(self._paths) <= _MOST_OPEN_FILES and hasattr(os, "preadv"):
            with ExitStack() as stack:
                for path in self._paths:
                    try:
                        file = stack.enter_context(path.open("rb", buffering=0))
                    except OSError as error:
                        raise _unreadable(path, error) from error
                    self._descriptors.append(file.fileno())
                self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, source: int, buffer: memoryview, position: int) -> None:
        """Fill a buffer from a file, beginning at a position in bytes.

        Raises:
            WeightsError: the file cannot be read or ends before the buffer is full.
        """
        path = self._paths[source]
        try:
            if self._descriptors:
                filled = _read_open(self._descriptors[source], buffer, position)
            else:
                filled = _read_closed(path, buffer, position)
        except OSError as error:
            raise _unreadable(path, error) from error
        if filled < len(buffer):
            raise WeightsError(
                f"{path} became shorter: it ends at byte {position + filled}, "
                f"expected at least {position + len(buffer)}"
            )


def _read_open(descriptor: int, buffer: memoryview, position: int) -> int:
    filled = count = os.preadv(descriptor, [buffer], position)
    while count and filled < len(buffer):
        count = os.preadv(descriptor, [buffer[filled:]], position + filled)
        filled += count
    return filled


def _read_closed(path: Path, buffer: memoryview, position: int) -> int:
    with path.open("rb") as file:
        file.seek(position)
        return file.readinto(buffer)


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(f"cannot read {path}: {error.strerror or error}")

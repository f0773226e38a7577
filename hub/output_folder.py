"""Writing an ordinary PEFT folder: whole or not at all, and never over somebody's files."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError


@contextmanager
def new_folder(output: str | Path) -> Iterator[Path]:
    """A sibling folder to write into, renamed to `output` when the block ends well.

    Raises:
        OutputError: `output` is there and not an empty folder, or cannot be written.
    """
    target = Path(output).expanduser().absolute()
    made = _missing_parents(target)
    building = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        refuse_taken(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        building.mkdir()
    except OSError as error:
        raise OutputError(f"cannot write '{output}': {error.strerror}") from error
    try:
        yield building
        _sync(building)
        refuse_taken(target)
        building.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise OutputError(f"cannot write '{output}': {error.strerror}") from error
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def _missing_parents(target: Path) -> list[Path]:
    """The folders above the target that are not there yet, the innermost first.

    They are removed again where nothing came to stand in them.
    """
    return [folder for folder in target.parents if not os.path.lexists(folder)]


def refuse_taken(target: Path) -> None:
    """Refuse to write where something is.

    Raises:
        OutputError: not an empty folder, nor a place where nothing is.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OutputError(f"'{target}' is there and is not a folder")
    if target.is_dir() and any(target.iterdir()):
        raise OutputError(f"the folder '{target}' is not empty; name a new or an empty one")


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

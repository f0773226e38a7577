"""The border where the operating system's errors become the store's, in words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StorageError, StoreError

_REASONS = {
    errno.ENOSPC: "the disk is full: make room, then try again",
    errno.EDQUOT: "the disk quota is used up: make room, then try again",
    errno.EFBIG: "the file is larger than the disk or a limit allows",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "this user may not write there: check the folder's permissions",
    errno.EPERM: "this user may not write there: check the folder's permissions",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EMFILE: "too many files are open",
    errno.EIO: "the disk fails",
}


@contextmanager
def in_words(folder: Path) -> Iterator[None]:
    """Map an OSError inside the block to a StorageError that says what is wrong with `folder`."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f"cannot write in {folder}: {reason}") from error

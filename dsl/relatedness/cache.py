"""The table of URIEL's facts, built once for an installation of lang2vec and kept on disk."""

import contextlib
import os
from functools import lru_cache
from pathlib import Path
from zlib import crc32

from .lang2vec_data import Installation, build, installation
from .snapshot import Snapshot


@lru_cache(maxsize=1)
def snapshot() -> Snapshot:
    """Return the table of the installed lang2vec: from the cache, else built and put there.

    Raises:
        UnsupportedError: lang2vec is not installed, or its data files are damaged.
    """
    import platformdirs

    return load(installation(), Path(platformdirs.user_cache_dir("isogloss")))


def load(source: Installation, folder: Path) -> Snapshot:
    """Return the table of an installation, kept in a folder.

    A table that is damaged, of another format or of other data files is built anew; a folder that
    cannot be written is no error, the next process only has to build again.
    """
    path = folder / f"uriel-{source.version}-{crc32(bytes(source.folder)):08x}.bin"
    # Whatever is wrong with a cached file has the same cure: it is built and written again.
    with contextlib.suppress(OSError, ValueError):
        cached = Snapshot(path.read_bytes())
        if cached.key == source.key:
            return cached
    content = build(source)
    with contextlib.suppress(OSError):
        _write(path, content)
    return Snapshot(content)


def _write(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the whole of it or none."""
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise

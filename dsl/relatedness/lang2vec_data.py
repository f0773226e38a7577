"""Reading the arrays of the installed lang2vec package into one compact table.

lang2vec's module is never imported: it needs an old setuptools and prints while it is imported.
Only its data files are read, where they are installed; their licence (CC BY-SA 4.0) asks for
attribution, and no copy of them is shipped.
"""

import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import UnsupportedError
from .snapshot import DEPTH, FEATURES, FORMAT, MAGIC, NONE, POINTS

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_Part: TypeAlias = tuple[list[str], list[bytes], list[str]]
_BLOCK = 32
FILES = ("features.npz", "family_features.npz", "geocoord_features.npz")
"""The files of lang2vec's data folder that are read."""
NOT_COUNTED = frozenset({"S_VOX", "S_XVO", "S_XOV", "S_OXV", "S_OVX"})
"""Syntactic columns that URIEL's syntactic distance leaves out."""
PSEUDO_FAMILIES = frozenset(
    {
        "Artificial Language",
        "Mixed Language",
        "Pidgin",
        "Sign Language",
        "Speech Register",
        "Unattested",
        "Unclassifiable",
    }
)
"""Drawers in which Glottolog files languages that have no common ancestor."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where lang2vec's data files lie, and of which version they are."""

    folder: Path
    version: str

    @property
    def key(self) -> str:
        """What a table built from these files is good for: version, place, sizes and times."""
        stats = [(self.folder / name).stat() for name in FILES]
        files = "".join(f"|{stat.st_size}:{stat.st_mtime_ns}" for stat in stats)
        return f"{FORMAT}|{self.version}|{self.folder}{files}"


def package() -> ModuleSpec | None:
    """Find the package lang2vec, or None.

    Beside the package it installs a script `lang2vec.py` into the folder of commands, which every
    command (`isogloss`, `pytest`) has in front of its path: that one is passed over.
    """
    for entry in sys.path:
        spec = PathFinder.find_spec("lang2vec", [entry])
        if spec is not None and spec.submodule_search_locations:
            return spec
    return None


def installation() -> Installation:
    """Find the installed lang2vec without importing it.

    Raises:
        UnsupportedError: lang2vec is not installed, or lacks one of its data files.
    """
    spec = package()
    if spec is None or not spec.submodule_search_locations:
        raise UnsupportedError(
            "language distances need the data of lang2vec, which is not installed",
            hint="pip install lang2vec",
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    missing = [name for name in FILES if not (folder / "data" / name).is_file()]
    if missing:
        raise UnsupportedError(
            f"lang2vec's data folder {folder / 'data'} lacks {', '.join(missing)}",
            hint="install it again: pip install --force-reinstall lang2vec",
        )
    return Installation(folder / "data", _version(folder))


def _version(folder: Path) -> str:
    # importlib.metadata alone takes 20 ms to import; the folder's name says the same.
    for info in folder.parent.glob("lang2vec-*.dist-info"):
        return info.name.removeprefix("lang2vec-").removesuffix(".dist-info")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lang2vec")
    except PackageNotFoundError:
        return "unknown"


def build(source: Installation) -> bytes:
    """Return the table of all languages of the data files, as `Snapshot` reads it.

    Raises:
        UnsupportedError: the files are damaged or not those of lang2vec 1.
    """
    from concurrent.futures import ThreadPoolExecutor
    from zipfile import BadZipFile

    paths = [source.folder / name for name in FILES]
    try:
        # Nearly all the time goes into inflating, which needs no interpreter lock.
        with ThreadPoolExecutor(len(paths)) as pool:
            read = [pool.submit(one, path) for one, path in zip(_READERS, paths, strict=True)]
            (codes, sections, _), *others = (part.result() for part in read)
    except (OSError, EOFError, BadZipFile, KeyError, ValueError, zlib.error) as error:
        raise _unreadable(source, str(error)) from error
    if any(part[0] != codes for part in others):
        raise _unreadable(source, "its files are not about the same languages")
    families = ""
    for _, more, names in others:
        sections += more
        families = "\n".join(names) or families
    header = {"key": source.key, "version": source.version, "languages": len(codes)}
    parts = ["".join(codes).encode("ascii"), *sections, families.encode()]
    content = json.dumps(header).encode() + b"\n" + b"".join(parts)
    return MAGIC + f"{zlib.crc32(content)}\n".encode() + content


def _unreadable(source: Installation, reason: str) -> UnsupportedError:
    return UnsupportedError(
        f"the data of lang2vec {source.version} in {source.folder} cannot be read: {reason}",
        hint="install it again: pip install --force-reinstall lang2vec",
    )


def _syntax(path: Path) -> "_Part":
    """Read the features as bits, and how many of them any source speaks of."""
    import numpy as np

    codes, order, names = _labels(path)
    columns = [
        column
        for column, name in enumerate(names)
        if name.startswith("S_") and name not in NOT_COUNTED
    ]
    if len(columns) != FEATURES:
        raise ValueError(f"{len(columns)} syntactic features where {FEATURES} are known")
    # One where some source says yes, zero where it says no, minus one where none says anything.
    best = np.concatenate([block[:, columns].max(axis=2) for _, block in _blocks(path)])[order]
    bits = np.packbits(best > 0, axis=1, bitorder="little")
    known = (best >= 0).sum(axis=1).astype(np.uint8)
    return codes, [bits.tobytes(), known.tobytes()], []


def _families(path: Path) -> "_Part":
    """Read each language's ancestors from the root downwards, and the names of all nodes."""
    import numpy as np

    codes, order, names = _labels(path)
    width = len(names)
    cells = [_positive(block) + start * width for start, block in _blocks(path)]
    languages, nodes = np.divmod(np.concatenate(cells), width)
    # The clades are nested, so the larger one is always the ancestor of the smaller one.
    sizes = np.bincount(nodes, minlength=len(names))
    by_size = np.lexsort((nodes, -sizes[nodes], languages))
    languages, nodes = languages[by_size], nodes[by_size]
    depth = np.arange(len(languages)) - np.searchsorted(languages, languages)
    if depth.max() >= DEPTH:
        raise ValueError(f"a language with more than {DEPTH} ancestors")
    lineages = np.full((len(codes), DEPTH), NONE, dtype="<u2")
    lineages[languages, depth] = nodes
    names = [name.removeprefix("F_") for name in names]
    drawers = [node for node, name in enumerate(names) if name in PSEUDO_FAMILIES]
    lineages[np.isin(lineages[:, 0], drawers)] = NONE
    return codes, [lineages[order].tobytes()], names


def _positive(block: "Array") -> "Array":
    """Return the flat positions of the values above zero, of which there are very few."""
    import numpy as np

    # Comparing bits finds the cells that are not zero four times as fast as comparing numbers.
    cells: Array = np.flatnonzero(block.view(f"u{block.itemsize}"))
    return cells[block.ravel()[cells] > 0]


def _geography(path: Path) -> "_Part":
    """Read the distances to the fixed points in units of 1/10,000, and find the coordinates."""
    import numpy as np

    codes, order, names = _labels(path)
    rows = np.concatenate([block[:, :, 0] for _, block in _blocks(path)])[order]
    if rows.shape[1] != POINTS:
        raise ValueError(f"{rows.shape[1]} reference points where {POINTS} are known")
    # A place that is equally far from every point of the Earth is no place.
    nowhere = np.ptp(rows, axis=1) < 1e-6
    distances = np.rint(rows * 10_000).astype("<u2")
    distances[nowhere] = NONE
    points = np.radians([[float(part) for part in name.split("_")[1:]] for name in names])
    # Unit vectors u of the points and v of a language: u.v = cos(pi * distance), solved for v.
    found = np.cos(np.pi * rows) @ np.linalg.pinv(_directions(points)).T
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    north = np.arcsin(found[:, 2].clip(-1, 1))
    places = np.degrees(np.stack([north, np.arctan2(found[:, 1], found[:, 0])], axis=1))
    places[nowhere] = np.nan
    return codes, [places.astype("<f4").tobytes(), distances.tobytes()], []


_READERS = (_syntax, _families, _geography)


def _directions(points: "Array") -> "Array":
    """Return unit vectors for rows of latitude and longitude in radians."""
    import numpy as np

    north, east = points.T
    vectors: Array = np.stack(
        [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1
    )
    return vectors


def _labels(path: Path) -> "tuple[list[str], Array, list[str]]":
    """Return a file's codes in order, the rows they come from, and the names of its columns."""
    import numpy as np

    # Given a path, it would leave a damaged file open.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        codes = [str(code) for code in file["langs"]]
        names = [str(name) for name in file["feats"]]
    if any(len(code) != 3 or not code.isascii() for code in codes):
        raise ValueError("language codes that are not of three letters")
    return sorted(codes), np.argsort(codes), names


def _blocks(path: Path) -> "Iterator[tuple[int, Array]]":
    """Read a file's array of languages x columns x sources, a few hundred languages at a time.

    Each block comes with the number of its first language.
    Two of the arrays take 100 MB each, nearly all zeros, which nobody needs at once.
    """
    from zipfile import ZipFile

    import numpy as np
    from numpy.lib import format as npy

    with ZipFile(path) as archive, archive.open("data.npy") as stream:
        npy.read_magic(stream)
        shape, fortran_order, dtype = npy.read_array_header_1_0(stream)
        if len(shape) != 3 or fortran_order or dtype.hasobject:
            raise ValueError(f"{path.name} holds an array of another layout")
        row_bytes = shape[1] * shape[2] * dtype.itemsize
        for start in range(0, shape[0], _BLOCK):
            rows = min(_BLOCK, shape[0] - start)
            content = stream.read(rows * row_bytes)
            yield start, np.frombuffer(content, dtype).reshape(rows, *shape[1:])

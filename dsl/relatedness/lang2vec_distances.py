"""The distances that lang2vec itself answers with, where the installed version has them.

Only the version on GitHub does (1.1.6 and later). Its files are rounded to two decimals for
syntactic and to one for geographic distances, so that its `geographic < 0.3` means "under .25".
"""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from fractions import Fraction
from importlib import import_module
from importlib.util import module_from_spec
from typing import Any

from ..errors import UnsupportedError
from .backend import Kind
from .codes import Located
from .lang2vec_data import installation, package
from .uriel import Uriel

DECIMALS: dict[Kind, int] = {"syntactic": 2, "geographic": 1, "genetic": 4}
"""To how many decimals lang2vec's own distances are rounded."""
_CHUNK = 64


class Lang2vec:
    """Distances from `lang2vec.distance`; codes, families and places are those of `Uriel`.

    Raises:
        UnsupportedError: no lang2vec with distances is installed, or it cannot be imported.
    """

    name = "lang2vec"

    def __init__(self, uriel: Uriel | None = None) -> None:
        self._uriel = Uriel() if uriel is None else uriel
        self._module = _module()
        self._known = frozenset(self._module.DISTANCE_LANGUAGES)

    @property
    def version(self) -> str:
        """The version of the installed lang2vec, and how its distances are rounded."""
        return f"{self._uriel.version}, rounded to .01 syntactic and .1 geographic"

    def languages(self) -> tuple[str, ...]:
        """Return every ISO 639-3 code that lang2vec has distances for, sorted."""
        return tuple(code for code in self._uriel.languages() if code in self._known)

    def locate(self, language: str) -> Located:
        """Find the ISO 639-3 code whose data stand for a language; see `codes.locate`."""
        return self._uriel.locate(language)

    def caution(self, code: str) -> str:
        """Say so where hardly any syntactic features of a language are known."""
        return self._uriel.caution(code)

    def distances(
        self, kind: Kind, code: str, others: Sequence[str]
    ) -> tuple[Fraction | None, ...]:
        """Return lang2vec's distances; None where URIEL has no data, for which lang2vec says 1."""
        has_data = self._uriel.distances(kind, code, others)
        asked = [
            other
            for other, distance in zip(others, has_data, strict=True)
            if distance is not None and other != code and {code, other} <= self._known
        ]
        found = {code: Fraction(0)}
        for start in range(0, len(asked), _CHUNK):
            found |= self._ask(kind, code, asked[start : start + _CHUNK])
        return tuple(
            None if distance is None else found.get(other)
            for other, distance in zip(others, has_data, strict=True)
        )

    def _ask(self, kind: Kind, code: str, others: list[str]) -> dict[str, Fraction]:
        # With two languages lang2vec gives a number, with more of them a matrix; it reads its file
        # again at every call, so many are asked about at once.
        answer: Any = self._module.distance(kind, [code, *others])
        numbers = [answer] if len(others) == 1 else answer[0][1:]
        unit = 10 ** DECIMALS[kind]
        return {
            other: Fraction(round(float(number) * unit), unit)
            for other, number in zip(others, numbers, strict=True)
        }

    def missing(self, kind: Kind, code: str, other: str) -> str:
        """Return why a distance is not known, for a message."""
        for one in (code, other):
            if one not in self._known:
                return f"lang2vec has no distances of {one}"
        return self._uriel.missing(kind, code, other)

    def lineage(self, code: str) -> tuple[str, ...]:
        """Return a code's ancestors in Glottolog, the family first."""
        return self._uriel.lineage(code)

    def place(self, code: str) -> tuple[float, float] | None:
        """Return latitude and longitude, recovered from the distances to the fixed points."""
        return self._uriel.place(code)


def rounded(kind: Kind, distance: Fraction) -> Fraction:
    """Return a distance as lang2vec's files have it.

    >>> rounded("geographic", Fraction("0.2973")), rounded("syntactic", Fraction("0.6629"))
    (Fraction(3, 10), Fraction(33, 50))
    """
    return round(distance, DECIMALS[kind])


def _module() -> Any:
    source = installation()
    if not (source.folder / "distances_languages.txt").is_file():
        raise UnsupportedError(
            f"the installed lang2vec {source.version} has no distances of its own",
            hint="the backend 'uriel' computes them; the version of lang2vec on GitHub has a file",
        )
    try:
        # It prints while it is imported.
        with redirect_stdout(sys.stderr):
            _import_package()
            return import_module("lang2vec.lang2vec")
    except (ImportError, OSError) as error:
        raise UnsupportedError(
            f"lang2vec {source.version} cannot be imported: {error}",
            hint="it needs setuptools<81 for pkg_resources; the backend 'uriel' does without",
        ) from error


def _import_package() -> None:
    """Import the package itself, where the command's own folder has a script of the same name."""
    spec = package()
    if "lang2vec" not in sys.modules and spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["lang2vec"] = module
        spec.loader.exec_module(module)

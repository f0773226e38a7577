"""Distances from a table of one's own: a TSV file with a row for every pair of languages."""

import csv
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias
from zlib import crc32

from ..errors import LanguageError, ParseError, UnsupportedError, quoted
from ..languages import normalize
from .backend import KINDS, Kind
from .codes import Located, three_letters

_COLUMNS = ("language_a", "language_b", "syntactic", "geographic")
_Pairs: TypeAlias = Mapping[frozenset[str], Mapping[Kind, Fraction]]


class Table:
    """Distances that somebody wrote down.

    Use `Table.read`. A language is found under the code or tag that the table has for it, in its
    normal form; `pt-BR` falls back on `pt`.
    """

    name = "table"

    def __init__(self, pairs: _Pairs, version: str) -> None:
        self._pairs = pairs
        self._version = version
        self._languages = frozenset[str]().union(*pairs)
        self._own_by_code = {three_letters(tag): tag for tag in self._languages if "-" not in tag}

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Read a table.

        Args:
            path: a TSV file in UTF-8 with the columns language_a, language_b, syntactic and
                geographic, and perhaps genetic; distances lie between 0 and 1, and are empty
                where they are not known. A pair stands in one order only.

        Raises:
            ParseError: the file cannot be read or is not such a table, with the line.
        """
        try:
            content = path.read_bytes()
            text = content.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ParseError(f"the table of distances {path} cannot be read: {error}") from error
        rows = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = rows.fieldnames or ()
        missing = [column for column in _COLUMNS if column not in columns]
        if missing:
            raise ParseError(
                f"the table of distances {path} has no column {', '.join(missing)}",
                hint=f"its first line should be: {' '.join((*_COLUMNS, '[genetic]'))}, with tabs",
            )
        pairs: dict[frozenset[str], Mapping[Kind, Fraction]] = {}
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            pair = frozenset(_tag(row[column], place) for column in _COLUMNS[:2])
            if len(pair) != 2:
                raise ParseError(f"{place}: {', '.join(pair)} is paired with itself")
            if pair in pairs:
                raise ParseError(f"{place}: {' and '.join(sorted(pair))} stand in the table twice")
            pairs[pair] = _numbers(row, place)
        if not pairs:
            raise ParseError(f"the table of distances {path} has no rows")
        return cls(pairs, f"{path.name} crc32:{crc32(content):08x}")

    @property
    def version(self) -> str:
        """The file's name and a checksum of its content."""
        return self._version

    def languages(self) -> tuple[str, ...]:
        """Return every language of the table, sorted."""
        return tuple(sorted(self._languages))

    def locate(self, language: str) -> Located:
        """Find the language of the table that a code or tag means."""
        tag = normalize(language)
        code = tag if tag in self._languages else self._own_by_code.get(three_letters(tag))
        if code is None:
            own = three_letters(tag)
            near = [one for one in self.languages() if three_letters(one) == own]
            raise UnsupportedError(
                f"the table of distances has no language {quoted(language)}",
                hint=f"it has {' '.join(near or self.languages()[:20])}",
            )
        return Located(language, tag, code)

    def caution(self, code: str) -> str:
        """Return nothing: whoever wrote the table answers for it."""
        return ""

    def distances(
        self, kind: Kind, code: str, others: Sequence[str]
    ) -> tuple[Fraction | None, ...]:
        """Return the distances between a code and others; None where the table has none."""
        return tuple(
            Fraction(0)
            if other == code
            else self._pairs.get(frozenset((code, other)), {}).get(kind)
            for other in others
        )

    def missing(self, kind: Kind, code: str, other: str) -> str:
        """Return why a distance is not known, for a message."""
        if code == other:
            return f"the table has no {kind} distances"
        return f"the table has no {kind} distance between {code} and {other}"

    def lineage(self, code: str) -> tuple[str, ...]:
        """Return nothing: a table knows no families."""
        return ()

    def place(self, code: str) -> tuple[float, float] | None:
        """Return nothing: a table knows no places."""
        return None


def _tag(text: str | None, place: str) -> str:
    try:
        return normalize((text or "").strip())
    except LanguageError as error:
        raise ParseError(f"{place}: {error.message}", hint=error.hint) from error


def _numbers(row: Mapping[str, str | None], place: str) -> Mapping[Kind, Fraction]:
    numbers: dict[Kind, Fraction] = {}
    for kind in KINDS:
        text = (row.get(kind) or "").strip()
        if not text:
            continue
        try:
            number = Fraction(text)
        except (ValueError, ZeroDivisionError):
            raise ParseError(f"{place}: {quoted(text)} is not a number") from None
        if not 0 <= number <= 1:
            raise ParseError(f"{place}: the {kind} distance {text} is not between 0 and 1")
        numbers[kind] = number
    return numbers

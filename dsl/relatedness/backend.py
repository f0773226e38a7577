"""What a source of language distances has to offer, and where the known ones are."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args

from ..errors import CheckError, did_you_mean, quoted
from .codes import Located

Kind: TypeAlias = Literal["syntactic", "geographic", "genetic"]
"""The kinds of distance; each lies between 0 and 1."""
KINDS: tuple[Kind, ...] = get_args(Kind)


class Backend(Protocol):
    """A source of distances between languages."""

    @property
    def name(self) -> str:
        """What it is called in records."""

    @property
    def version(self) -> str:
        """The version of its data, for records."""

    def languages(self) -> tuple[str, ...]:
        """Return every code it has data on, sorted."""

    def locate(self, language: str) -> Located:
        """Find the code whose data stand for a language.

        Raises:
            LanguageError: no language is called that.
            UnsupportedError: it is a language, but there are no data for it.
        """

    def caution(self, code: str) -> str:
        """Return what makes a code's distances weak evidence; "" where nothing does."""

    def distances(
        self, kind: Kind, code: str, others: Sequence[str]
    ) -> tuple[Fraction | None, ...]:
        """Return the distances between a code and others; None where one is not known."""

    def missing(self, kind: Kind, code: str, other: str) -> str:
        """Return why a distance is not known, for a message."""

    def lineage(self, code: str) -> tuple[str, ...]:
        """Return a code's ancestors, the family first; empty where none are recorded."""

    def place(self, code: str) -> tuple[float, float] | None:
        """Return where a language is put on the map: latitude and longitude in degrees."""


def backend(name: str = "uriel") -> Backend:
    """Return a source of distances.

    Args:
        name: "uriel" (computed from lang2vec's data), "lang2vec" (the distances that the version
            of lang2vec on GitHub answers with), or the path of a table of one's own.

    Raises:
        CheckError: the name is none of these, or the table is not well-formed.
        UnsupportedError: what the source needs is not installed.
    """
    if name == "uriel":
        from .uriel import Uriel

        return Uriel()
    if name == "lang2vec":
        from .lang2vec_distances import Lang2vec

        return Lang2vec()
    path = Path(name)
    if path.suffix == ".tsv" or path.is_file():
        from .table import Table

        return Table.read(path)
    raise CheckError(
        f"{quoted(name)} is no source of language distances; it would be 'uriel', 'lang2vec' "
        "or the path of a .tsv file",
        hint=did_you_mean(name, ("uriel", "lang2vec")),
    )

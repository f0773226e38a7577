"""The distances between a target language and others, kept beside what was chosen from them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

from ..errors import CheckError, UnsupportedError, did_you_mean, quoted
from .backend import KINDS, Backend, Kind
from .codes import Located, name_of

Measure: TypeAlias = Literal["syntactic", "geographic", "genetic", "mean"]
"""What languages are ordered by; "mean" is the mean of the three kinds."""
MEASURES: tuple[Measure, ...] = get_args(Measure)
Status: TypeAlias = Literal["chosen", "outside", "same", "unknown"]
"""Chosen; not chosen; the target's own language; not to be judged for want of a distance."""


@dataclass(frozen=True, slots=True)
class Row:
    """A language, how far it is from the target, and what became of it.

    Attributes:
        language: as asked.
        tag: its normal form.
        code: the code whose data were used; "" where there are none.
        syntactic, geographic, genetic: distances to the target between 0 and 1; None where one is
            not known.
        lineage: the language's ancestors in Glottolog, the family first.
        place: where it is put on the map: latitude and longitude in degrees.
        status: what became of it.
        reason: why.
        note: what one should know about the numbers: why this code, how little is known of it.
    """

    language: str
    tag: str
    code: str
    syntactic: Fraction | None = None
    geographic: Fraction | None = None
    genetic: Fraction | None = None
    lineage: tuple[str, ...] = ()
    place: tuple[float, float] | None = None
    status: Status = "outside"
    reason: str = ""
    note: str = ""

    @property
    def selected(self) -> bool:
        """Whether the language was chosen."""
        return self.status == "chosen"

    @property
    def name(self) -> str:
        """The language's English name."""
        return name_of(self.tag)

    @property
    def family(self) -> str | None:
        """The language's family; None where none is recorded."""
        return self.lineage[0] if self.lineage else None

    def distance(self, by: Measure) -> Fraction | None:
        """Return the distance of a kind, or the mean of all three; None where not known."""
        if by == "syntactic":
            return self.syntactic
        if by == "geographic":
            return self.geographic
        if by == "genetic":
            return self.genetic
        if self.syntactic is None or self.geographic is None or self.genetic is None:
            return None
        return (self.syntactic + self.geographic + self.genetic) / 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a target and other languages, before anything is chosen.

    Attributes:
        target: the target itself, at distance zero.
        rows: the other languages in the order in which they were given, each once.
        source: where the distances are from.
    """

    target: Row
    rows: tuple[Row, ...]
    source: Backend

    def missing(self, row: Row, by: Measure) -> str:
        """Return why the distance of a row is not known; "" where it is."""
        for kind in kinds_of(by):
            if row.distance(kind) is None:
                return row.reason or self.source.missing(kind, self.target.code, row.code)
        return ""

    def require(self, by: Measure) -> None:
        """Refuse a target that has no distances to anything.

        Raises:
            UnsupportedError: the target has none of this kind, with the reason.
        """
        reason = self.missing(self.target, by)
        if reason:
            known = [kind for kind in KINDS if self.target.distance(kind) is not None]
            raise UnsupportedError(
                f"there are no {by} distances to {quoted(self.target.language)}: {reason}",
                hint=f"there are {' and '.join(known)} ones" if known else None,
            )


def gather(target: str, candidates: Iterable[str], source: Backend) -> Evidence:
    """Look up all distances between a target language and others.

    Args:
        target: a language code, tag or name; see `codes.locate`.
        candidates: more of them.
        source: where the distances are from.

    Raises:
        LanguageError: one of them is no language.
        UnsupportedError: the target has no data at all.
    """
    own = _found(source.locate(target), source)
    row_by_tag: dict[str, Row] = {}
    for language in candidates:
        row = _candidate(language, source)
        row_by_tag.setdefault(row.tag, row)
    codes = sorted({own.code, *(row.code for row in row_by_tag.values() if row.code)})
    columns = [dict(zip(codes, source.distances(k, own.code, codes), strict=True)) for k in KINDS]
    rows = tuple(_measured(row, columns) for row in row_by_tag.values())
    return Evidence(_measured(own, columns), rows, source)


def kinds_of(by: Measure) -> tuple[Kind, ...]:
    """Return the kinds of distance that a measure is made of.

    Raises:
        CheckError: there is no such measure.
    """
    if by not in MEASURES:
        raise CheckError(
            f"{quoted(by)} is no distance between languages; it would be one of "
            f"{', '.join(MEASURES)}",
            hint=did_you_mean(by, MEASURES),
        )
    return KINDS if by == "mean" else (by,)


def _candidate(language: str, source: Backend) -> Row:
    """Return a row for a language; one that has no data says so."""
    try:
        return _found(source.locate(language), source)
    except UnsupportedError as error:
        return Row(language, language, "", status="unknown", reason=error.message)


def _found(found: Located, source: Backend) -> Row:
    notes = [note for note in (found.note, source.caution(found.code)) if note]
    return Row(
        found.language,
        found.tag,
        found.code,
        lineage=source.lineage(found.code),
        place=source.place(found.code),
        note="; ".join(notes),
    )


def _measured(row: Row, columns: list[dict[str, Fraction | None]]) -> Row:
    if not row.code:
        return row
    syntactic, geographic, genetic = (column[row.code] for column in columns)
    return replace(row, syntactic=syntactic, geographic=geographic, genetic=genetic)

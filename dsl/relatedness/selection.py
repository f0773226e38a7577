"""What was chosen for a target language, with the evidence for and against every language."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

from ..errors import NotFoundError, UnsupportedError, quoted
from .backend import Kind
from .evidence import Evidence, Measure, Row, Status

Judge: TypeAlias = Callable[[Row], tuple[Status, str]]
"""Says what becomes of a row, and why."""
Order: TypeAlias = Callable[[Row], tuple[Fraction, ...]]
"""How near a row is: what rows are sorted by."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen for a target language, and what from.

    Attributes:
        target: the target itself, at distance zero.
        rows: the other languages: the chosen ones, then the others, each from near to far, then
            those that could not be judged.
        rule: how they were chosen, as a call with all its arguments.
        backend, version: where the distances are from.
        warnings: what a person should be told.
        radius: the geographic distance under which languages were chosen; None without one.
    """

    target: Row
    rows: tuple[Row, ...]
    rule: str
    backend: str
    version: str
    warnings: tuple[str, ...] = ()
    radius: Fraction | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The chosen languages as they were given, from near to far."""
        return tuple(row.language for row in self.rows if row.selected)

    @property
    def misses(self) -> tuple[Row, ...]:
        """The languages that were not chosen, from near to far."""
        return tuple(row for row in self.rows if row.status == "outside")


class EmptySelectionError(NotFoundError):
    """Too few languages fit, or none.

    Args:
        message: what was looked for, and the nearest miss.
        selection: the evidence, for showing it.
    """

    def __init__(self, message: str, selection: Selection) -> None:
        super().__init__(message)
        self.selection = selection


def known(evidence: Evidence, kinds: Sequence[Kind]) -> list[Row]:
    """Return the rows that can be judged by these kinds of distance."""
    return [
        row
        for row in evidence.rows
        if row.code not in ("", evidence.target.code)
        and all(row.distance(kind) is not None for kind in kinds)
    ]


def select(
    evidence: Evidence, rule: str, kinds: Sequence[Kind], order: Order, judge: Judge
) -> Selection:
    """Judge every row that can be judged, and say of the others why they cannot be."""
    target, source = evidence.target, evidence.source
    for kind in kinds:
        evidence.require(kind)
    fit = sorted(known(evidence, kinds), key=lambda row: (order(row), row.tag))
    judged = [(row, *judge(row)) for row in fit]
    seen = {row.tag for row in fit}
    rest: list[tuple[Row, Status, str]] = []
    for row in evidence.rows:
        if row.tag == target.tag:
            continue
        if row.code == target.code:
            rest.append((row, "same", f"the target's own language ({row.code}), left out"))
        elif row.tag not in seen:
            reasons = [evidence.missing(row, kind) for kind in kinds] or [row.reason]
            rest.append((row, "unknown", next(filter(None, reasons))))
    judged.sort(key=lambda entry: entry[1] != "chosen")
    rows = tuple(
        replace(row, status=status, reason=reason) for row, status, reason in (*judged, *rest)
    )
    warnings = tuple(f"{row.language}: {row.reason}" for row in rows if row.status == "unknown")
    return Selection(target, rows, rule, source.name, source.version, warnings)


def filled(selection: Selection, kinds: Sequence[Kind]) -> Selection:
    """Return a selection that chose something; else refuse it, naming the nearest miss."""
    if selection.languages:
        return selection
    if selection.misses:
        miss = selection.misses[0]
        distances = ", ".join(
            f"{kind} {shown(distance)}"
            for kind in kinds
            if (distance := miss.distance(kind)) is not None
        )
        why = f"the nearest miss of {len(selection.misses)} is {miss.language}: {distances}"
    elif selection.warnings:
        why = f"no language can be judged ({selection.warnings[0]})"
    else:
        why = "there are no other languages to choose from"
    raise EmptySelectionError(f"{selection.rule} chooses no language; {why}", selection)


def distance_of(row: Row, by: Measure) -> Fraction:
    """Return a distance that `known` has made sure of."""
    distance = row.distance(by)
    if distance is None:
        raise UnsupportedError(f"the {by} distance of {quoted(row.language)} is not known")
    return distance


def shown(distance: Fraction) -> str:
    """Return a distance as people read it: four decimals."""
    return f"{float(distance):.4f}"

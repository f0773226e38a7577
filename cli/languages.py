"""What a choice of languages looks like, as JSON and in words: all that speaks for and against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from .output import Column, print_table, print_text, print_title

if TYPE_CHECKING:
    from ..dsl.relatedness import Row, Selection

_COLUMNS: Final = (
    Column("language"),
    Column("code"),
    Column("name", wrap=True),
    Column("syntactic", number=True),
    Column("geographic", number=True),
    Column("genetic", number=True),
    Column("family", wrap=True),
    Column("why", wrap=True),
)
_ADAPTERS: Final = Column("adapters", wrap=True)
_VERDICTS: Final = {
    "chosen": "inside",
    "outside": "outside",
    "same": "left out",
    "unknown": "not judged",
}
_MOST_WARNINGS: Final = 10
_SHOWN_MISSES: Final = 3


def selection_json(
    selection: Selection, adapters: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Return a choice of languages and its evidence.

    Args:
        selection: the choice.
        adapters: what the catalogue has for a normal tag; left out where None.
    """
    target = selection.target
    return {
        "target": target.language,
        "target_code": target.code,
        "target_name": target.name,
        "target_family": target.family,
        "target_note": target.note,
        "rule": selection.rule,
        "backend": selection.backend,
        "version": selection.version,
        "languages": [
            _row_json(row)
            | ({} if adapters is None else {"adapters": list(adapters.get(row.tag, ()))})
            for row in selection.rows
        ],
        "warnings": list(warnings_of(selection)),
    }


def print_languages(
    rows: Sequence[Row], adapters: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Print languages as a table, with what the catalogue has for each where that is given.

    What one should know about the numbers stands below it: in the table it would crowd the rest.
    """
    columns = _COLUMNS if adapters is None else (*_COLUMNS, _ADAPTERS)
    print_table(
        columns,
        [
            (*_cells(row), *(() if adapters is None else (" ".join(adapters.get(row.tag, ())),)))
            for row in rows
        ],
    )
    for row in rows:
        if row.note:
            print_text(f"{row.language} ({row.code}): {row.note}")


def print_evidence(selection: Selection) -> None:
    """Print the languages that a rule chose, and the nearest ones that it did not."""
    print_title(f"{selection.rule}; distances: {selection.backend}, {selection.version}")
    chosen = [row for row in selection.rows if row.selected]
    print_languages([*chosen, *selection.misses[:_SHOWN_MISSES]])
    left_out = len(selection.rows) - len(chosen) - _SHOWN_MISSES
    if left_out > 0:
        print_text(f"and {left_out:,} more, outside or not judged; --json has all of them")


def warnings_of(selection: Selection) -> tuple[str, ...]:
    """Return what a person should be told, and in one sentence what would be told of too many."""
    unknown = [row for row in selection.rows if row.status == "unknown"]
    if len(unknown) <= _MOST_WARNINGS:
        return selection.warnings
    said = {f"{row.language}: {row.reason}" for row in unknown}
    others = tuple(warning for warning in selection.warnings if warning not in said)
    first = unknown[0]
    return (
        *others,
        f"{len(unknown):,} languages cannot be judged, such as {first.language}: {first.reason}",
    )


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "language": row.language,
        "code": row.code,
        "name": row.name,
        "syntactic": _number(row.syntactic),
        "geographic": _number(row.geographic),
        "genetic": _number(row.genetic),
        "family": row.family,
        "selected": row.selected,
        "status": row.status,
        "reason": row.reason,
        "note": row.note,
    }


def _number(distance: Fraction | None) -> float | None:
    return None if distance is None else round(float(distance), 4)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.language,
        row.code,
        row.name,
        *(
            "" if distance is None else f"{float(distance):.4f}"
            for distance in (row.syntactic, row.geographic, row.genetic)
        ),
        row.family or "",
        f"{_VERDICTS[row.status]}: {row.reason}",
    )

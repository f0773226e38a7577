"""What the catalogue knows of a version's scores, as JSON and in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .output import Column, print_table, print_title
from .scoring import number, span

if TYPE_CHECKING:
    from ..store import Score


def scores_json(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """Return scores with all that they depend on."""
    return [
        {
            "dataset": one.dataset,
            "dataset_revision": one.dataset_revision,
            "language": one.language,
            "split": one.split,
            "metric": one.metric,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "examples": one.examples,
            "settings": dict(one.settings),
            "created": None if one.created_at is None else one.created_at.isoformat(),
        }
        for one in scores
    ]


def print_scores(scores: Iterable[Score]) -> None:
    """Print scores as a table with a title, and why some say too much; nothing for none."""
    found = list(scores)
    if not found:
        return
    print_title("Scores")
    columns = (
        Column("data"),
        Column("split"),
        Column("language"),
        Column("metric"),
        Column("value", number=True),
        Column("95 % interval"),
        Column("n", number=True),
        Column("", wrap=True),
    )
    print_table(columns, [(*_row(one), "; ".join(remarks(one))) for one in found])


def remarks(score: Score) -> list[str]:
    """What a reader must know of a score: that it was tuned by it, or has seen the data."""
    tuned = score.settings.get("tuned_on")
    said = []
    if isinstance(tuned, dict):
        best = ", ".join(f"{name}={value}" for name, value in dict(tuned.get("best", {})).items())
        said.append(f"chosen by this score: {best}")
    seen = score.settings.get("seen")
    return said + ([str(one) for one in seen] if isinstance(seen, list) else [])


def _row(score: Score) -> tuple[object, ...]:
    return (
        score.dataset,
        score.split,
        score.language,
        score.metric,
        number(score.metric, score.value),
        span(score.metric, score.low, score.high),
        score.examples,
    )

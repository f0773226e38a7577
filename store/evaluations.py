"""Scores of versions: data, split, metric with its settings, value, interval and n."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from .records import check_text
from .sql.database import Database
from .sql.models import Evaluation
from .sql.reading import read_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score of a version.

    Attributes:
        value: as the metric gives it; `low` and `high` bound its interval.
        settings: of the metric, plain JSON values.
        examples: how many were scored.
        created_at: when it was recorded, in UTC; None before.
    """

    dataset: str
    language: str
    split: str
    metric: str
    value: float
    dataset_revision: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    examples: int | None = None
    created_at: datetime | None = None


class Evaluations:
    """The scores of a catalogue's versions (``catalog.evaluations``)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, name: str, number: int, score: Score) -> Score:
        """Note a score of version `number` of `name`; scores are added up, never replaced.

        Raises UnknownVersionError when there is no such version, RecordError for what is no text.
        """
        for what in ("dataset", "language", "split", "metric"):
            check_text(what, getattr(score, what))

        def work(session: Session) -> Score:
            row = Evaluation(
                version_id=read_version(session, name, number).id,
                settings=dict(score.settings),
                created_at=datetime.now(UTC),
                **{what: getattr(score, what) for what in _PLAIN},
            )
            session.add(row)
            session.flush()
            return _score(row)

        return self._database.write(work)

    def of(self, name: str, number: int) -> list[Score]:
        """Return the scores of version `number` of `name`, the first one first.

        Raises UnknownVersionError when there is no such version.
        """

        def work(session: Session) -> list[Score]:
            version = read_version(session, name, number)
            query = select(Evaluation).where(Evaluation.version_id == version.id)
            return [_score(row) for row in session.scalars(query.order_by(Evaluation.id))]

        return self._database.read(work)

    def with_split(self, split: str) -> list[Score]:
        """Return the scores of all versions on data of one split, the first one first."""

        def work(session: Session) -> list[Score]:
            query = select(Evaluation).where(Evaluation.split == split).order_by(Evaluation.id)
            return [_score(row) for row in session.scalars(query)]

        return self._database.read(work)


_PLAIN = (
    "dataset",
    "dataset_revision",
    "language",
    "split",
    "metric",
    "value",
    "low",
    "high",
    "examples",
)


def _score(row: Evaluation) -> Score:
    plain = {what: getattr(row, what) for what in _PLAIN}
    return Score(**plain, settings=row.settings, created_at=row.created_at)

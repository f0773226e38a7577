"""What came out: outcomes of rows over seeds, pooled, with intervals and differences.

Seeds are pooled document by document: a document's bits (or points) are the mean over the seeds,
and the bootstrap draws documents. An interval so says how far the result would move with other
documents; how far it moves with other seeds is told by the values of each seed beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..scoring.bootstrap import LEVEL, RESAMPLES, Interval, bootstrap, paired_bootstrap
from ..scoring.measurement import Measurement
from .rows import Row

_STEP: Final = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row of one task, language and seed.

    Attributes:
        chosen: labels of the options it came to: the one that validation data chose, or all.
        curve: value of the parameter and validation metric of every option that has one.
        measurements: on test data, by metric; the mean over the options where the row is a mean.
    """

    task: str
    row: Row
    seed: int
    chosen: tuple[str, ...]
    curve: tuple[tuple[float, float], ...]
    measurements: Mapping[str, Measurement]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a table.

    Attributes:
        interval: the value over all seeds, with its bounds.
        difference: to the row it is held against, on the seeds that both have; None for none.
        by_seed: value of each seed. difference_by_seed: likewise.
        chosen: labels that each seed came to.
        examples: documents.
    """

    interval: Interval
    difference: Interval | None
    by_seed: Mapping[int, float]
    difference_by_seed: Mapping[int, float]
    chosen: Mapping[int, tuple[str, ...]]
    examples: int


class Results:
    """All outcomes of a reproduction, and the figures they come to."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = tuple(outcomes)
        self._found: dict[tuple[str, str, str], list[Outcome]] = {}
        for outcome in outcomes:
            key = (outcome.task, outcome.row.language, outcome.row.key)
            self._found.setdefault(key, []).append(outcome)

    def of(self, task: str, language: str, key: str) -> list[Outcome]:
        """The outcomes of a row, one a seed; empty where there are none."""
        return self._found.get((task, language, key), [])

    def rows(self, task: str, language: str) -> list[Row]:
        """The rows of a language, each once, in their order."""
        found: dict[str, Row] = {}
        for outcome in self.outcomes:
            if outcome.task == task and outcome.row.language == language:
                found.setdefault(outcome.row.key, outcome.row)
        return list(found.values())

    def measured(self, task: str, language: str, key: str, metric: str) -> dict[int, Measurement]:
        """What each seed measured."""
        return {
            outcome.seed: outcome.measurements[metric]
            for outcome in self.of(task, language, key)
            if metric in outcome.measurements
        }

    def figure(self, task: str, language: str, key: str, metric: str) -> Figure | None:
        """A row's number for one language; None where nothing was measured."""
        mine = self.measured(task, language, key, metric)
        if not mine:
            return None
        against = self.of(task, language, key)[0].row.against
        difference, by_seed = None, {}
        if against is not None and against != key:
            difference = self.difference(task, [language], key, against, metric)
            theirs = self.measured(task, language, against, metric)
            by_seed = {s: m.value - theirs[s].value for s, m in mine.items() if s in theirs}
        return Figure(
            interval=bootstrap(pool(list(mine.values()))),
            difference=difference,
            by_seed={seed: m.value for seed, m in mine.items()},
            difference_by_seed=by_seed,
            chosen={o.seed: o.chosen for o in self.of(task, language, key)},
            examples=next(iter(mine.values())).examples,
        )

    def difference(
        self, task: str, languages: Sequence[str], key: str, other: str, metric: str
    ) -> Interval | None:
        """Row minus row on the seeds that have both, averaged over languages; None without any."""
        pairs = []
        for language in languages:
            mine = self.measured(task, language, key, metric)
            theirs = self.measured(task, language, other, metric)
            both = [seed for seed in mine if seed in theirs]
            if not both:
                return None
            pairs.append((pool([mine[s] for s in both]), pool([theirs[s] for s in both])))
        if len(pairs) == 1:
            return paired_bootstrap(*pairs[0])
        return average_interval(pairs)

    def average(
        self, task: str, languages: Sequence[str], key: str, metric: str
    ) -> Interval | None:
        """A row's mean over languages; None where one of them is missing."""
        found = [self.measured(task, language, key, metric) for language in languages]
        if not found or not all(found):
            return None
        return average_interval([(pool(list(one.values())), None) for one in found])


def pool(measurements: Sequence[Measurement]) -> Measurement:
    """The mean of several measurements of the same examples, example by example."""
    first = measurements[0]
    if len(measurements) == 1:
        return first
    return Measurement(
        first.metric,
        first.ids,
        tuple(fmean(column) for column in zip(*(m.numerators for m in measurements), strict=True)),
        tuple(
            fmean(column) for column in zip(*(m.denominators for m in measurements), strict=True)
        ),
    )


def average_interval(
    pairs: Sequence[tuple[Measurement, Measurement | None]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The mean over several data sets of a measurement, or of its difference to a second one.

    Documents are drawn within each data set, so that each weighs the same: a stratified bootstrap
    (Efron and Tibshirani 1993, section 8.3 for two samples).
    """
    values = np.zeros(resamples)
    value = 0.0
    for number, (mine, theirs) in enumerate(pairs):
        generator = np.random.default_rng((seed, number))
        values += _resampled(mine, theirs, resamples, generator) / len(pairs)
        value += (mine.value - (theirs.value if theirs else 0.0)) / len(pairs)
    outside = (1 - level) / 2
    low, high = np.quantile(values, (outside, 1 - outside))
    return Interval(value, float(low), float(high))


def _resampled(
    mine: Measurement, theirs: Measurement | None, resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    shares = np.full(mine.examples, 1 / mine.examples)
    found = []
    for first in range(0, resamples, _STEP):
        count = min(_STEP, resamples - first)
        drawn = generator.multinomial(mine.examples, shares, size=count).astype(np.float64)
        values = _ratio(drawn, mine)
        found.append(values if theirs is None else values - _ratio(drawn, theirs))
    return np.concatenate(found)


def _ratio(drawn: NDArray[np.float64], measurement: Measurement) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = (drawn @ np.asarray(measurement.numerators)) / (
        drawn @ np.asarray(measurement.denominators)
    )
    return ratio

"""Intervals by the bootstrap: of one measurement, and of the difference of two on the same data.

The percentile bootstrap of Efron and Tibshirani (1993, chapter 13); in pairs, as Koehn (2004,
"Statistical Significance Tests for Machine Translation Evaluation") compares two systems: an
example is drawn with what both made of it, so that easy and hard examples cancel out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .measurement import Measurement

RESAMPLES: Final = 10_000
LEVEL: Final = 0.95
_CELLS: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the bounds of its interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return not self.low <= 0 <= self.high


def bootstrap(
    measurement: Measurement, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Interval:
    """The interval of one measurement.

    Args:
        resamples: how often examples are drawn; seed: of the draws. Measurements of equally many
            examples are drawn alike.
        level: the share of resamples inside the interval.
    """
    return _interval(measurement.value, _resampled(measurement, resamples, seed), level)


def paired_bootstrap(
    measurement: Measurement,
    baseline: Measurement,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The interval of measurement minus baseline, both drawn on the same examples.

    Raises:
        DataError: they are not of the same metric and examples.
    """
    if measurement.metric != baseline.metric:
        raise DataError(
            f"{measurement.metric} cannot be compared with {baseline.metric}: "
            "compare measurements of one metric"
        )
    if measurement.ids != baseline.ids:
        raise DataError(
            f"two measurements of {measurement.metric} are not of the same examples "
            f"({measurement.examples} and {baseline.examples}): score both on the same data"
        )
    differences = _resampled(measurement, resamples, seed) - _resampled(baseline, resamples, seed)
    return _interval(measurement.value - baseline.value, differences, level)


def _interval(value: float, resampled: NDArray[np.float64], level: float) -> Interval:
    outside = (1 - level) / 2
    low, high = np.quantile(resampled, (outside, 1 - outside))
    return Interval(value, float(low), float(high))


def _resampled(measurement: Measurement, resamples: int, seed: int) -> NDArray[np.float64]:
    """The metric of every resample; resamples without any denominator count as the whole."""
    table = np.stack(
        [
            np.asarray(measurement.numerators, dtype=np.float64),
            np.asarray(measurement.denominators, dtype=np.float64),
        ],
        axis=1,
    )
    sums = np.concatenate([draws @ table for draws in _draws(len(table), resamples, seed)])
    empty = sums[:, 1] == 0
    sums[empty] = table.sum(axis=0)
    values: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    return values


def _draws(examples: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each example is in each resample, some resamples at a time to bound memory."""
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // examples)
    shares = np.full(examples, 1 / examples)
    for first in range(0, resamples, step):
        count = min(step, resamples - first)
        yield generator.multinomial(examples, shares, size=count).astype(np.float64)

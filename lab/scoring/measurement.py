"""One metric over many examples, kept example by example.

Every metric is a ratio of two sums: bits over bytes, F1 over examples. Keeping both for each
example lets any two adapters be compared later, without scoring anything again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from ..errors import DataError


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one adapter scored in one metric, example by example.

    Attributes:
        metric: its name, such as `bpb`.
        ids: of the examples, in the order of the data.
        numerators, denominators: one of each an example (bits and bytes; F1 and 1).
    """

    metric: str
    ids: tuple[str, ...]
    numerators: tuple[float, ...]
    denominators: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.numerators) == len(self.denominators):
            raise ValueError(
                f"{len(self.ids)} examples have {len(self.numerators)} numerators and "
                f"{len(self.denominators)} denominators, expected one of each"
            )
        if fsum(self.denominators) <= 0:
            raise DataError(f"{self.metric} has nothing to measure: give at least one example")

    @property
    def value(self) -> float:
        """The metric over all examples: sum of numerators over sum of denominators."""
        return fsum(self.numerators) / fsum(self.denominators)

    @property
    def examples(self) -> int:
        """How many examples were scored."""
        return len(self.ids)


def mean_of(metric: str, ids: Sequence[str], values: Sequence[float]) -> Measurement:
    """A metric that is the plain mean of one number an example."""
    return Measurement(metric, tuple(ids), tuple(values), (1.0,) * len(values))

"""Tuning: the parameters of an expression chosen by a score on validation data.

The paper chooses lambda on held-out validation data (section 3.2), and so does this: test data are
refused, and what was tuned on data says so wherever it is scored on them again. The base is loaded
once, all adapters are composed in memory in one pass, and only their tensors change places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from ..hub.composition import Request
from ..store import Score, VersionRecord
from .data.records import Pair
from .errors import SettingsError
from .evaluate import Compared, as_score, compare
from .scoring.adapter import Adapter, compose_over, without_tensors
from .scoring.ancestry import TUNED_ON, ancestors, refuse_other_base, settings_for, why_seen
from .scoring.bootstrap import Interval, bootstrap, paired_bootstrap
from .scoring.dataset import Dataset
from .scoring.grid import Axis, as_text
from .scoring.measurement import Measurement
from .scoring.scorer import Scored, Scorer
from .scoring.search import Values, search
from .scoring.session import Session
from .scoring.settings import ScoringSettings

if TYPE_CHECKING:
    from ..hub import AdapterHub
    from .models.base import Base

TRIALS: Final = 40
METRIC: Final = "bpb"


@dataclass(frozen=True, slots=True)
class Point:
    """What the expression scored at some values of its parameters.

    Attributes:
        values: of the parameters, as texts.
        measurement: example by example.
        interval: of the score.
        behind: the score minus that of the best values, bootstrapped in pairs.
    """

    values: Mapping[str, str]
    measurement: Measurement
    interval: Interval
    behind: Interval


@dataclass(frozen=True, slots=True)
class Tuned:
    """Parameters that were tuned.

    Attributes:
        expression: that they are parameters of.
        metric: that they were chosen by.
        language: of the references.
        best: their values.
        points: all that was tried, in the order of the values.
        compared: the score at the best values.
        how: the search and its settings, as plain JSON.
        seen: why the scores may say too much, one sentence each.
        warnings: what else a reader should know, likewise.
    """

    expression: str
    metric: str
    language: str
    best: Mapping[str, str]
    points: tuple[Point, ...]
    compared: Compared
    how: Mapping[str, Any]
    seen: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def curve(self) -> list[dict[str, Any]]:
        """All that was tried, as plain JSON."""
        return [
            {
                "values": dict(point.values),
                "value": point.interval.value,
                "low": point.interval.low,
                "high": point.interval.high,
                "behind": [point.behind.value, point.behind.low, point.behind.high],
            }
            for point in self.points
        ]


def tune(
    hub: AdapterHub,
    expression: str,
    base: Base,
    pairs: Sequence[Pair],
    *,
    over: Sequence[Axis],
    language: str,
    dataset: Dataset,
    metric: str = METRIC,
    settings: ScoringSettings | Mapping[str, Any] | None = None,
    request: Request | None = None,
    refine: int = 0,
    trials: int = TRIALS,
    progress: bool = False,
) -> Tuned:
    """Choose the values of an expression's parameters that score best on validation data.

    One parameter is tried at all of its values, then `refine` times at the middles beside the best
    one. Several are tried at all combinations if those are no more than `trials`; else optuna's
    sampler (TPE, Bergstra et al. 2011) chooses so many of them.

    Args:
        expression: with the parameters' names in it.
        base: the base model, loaded; it is never read again.
        pairs: validation data.
        over: the parameters and their values.
        language: of the references.
        dataset: what the pairs are; a test split is refused.
        metric: to choose by; bits per byte cost least and tell most.
        settings: as `evaluate` takes them; the seed is the sampler's too.
        request: other parameters, semantics and context of the expression.
        progress: show bars on a terminal.

    Raises:
        SettingsError: test data, or nothing to tune over. LabError, DslError: as `evaluate`.
    """
    refuse_test_data(hub, dataset)
    asked = replace(request or Request(expression), expression=expression)
    example = _example(hub, asked, over)
    versions = ancestors(hub, example)
    refuse_other_base(example, versions, base)
    scoring = settings_for(versions, settings)
    with Session(base) as session:
        scorer = Scorer(
            session,
            pairs,
            metrics=(metric,),
            language=language,
            settings=scoring,
            progress=progress,
        )
        (chosen,) = scorer.metrics
        scored: dict[Values, Scored] = {}

        def attempt(values: Mapping[str, Sequence[str]]) -> dict[Values, float]:
            made = compose_over(hub, expression, values, asked)
            fresh = {_key(over, found): scorer.score(adapter) for found, adapter in made}
            scored.update(fresh)
            sign = -1 if chosen.higher else 1
            return {key: sign * one.measurements[metric].value for key, one in fresh.items()}

        best, how = search(over, attempt, refine=refine, trials=trials, seed=scoring.seed)
        compared = compare(scorer, scored[best], None)[metric]
    measured = {key: scored[key].measurements[metric] for key in sorted(scored)}
    seen = tuple(why_seen(hub, versions, dataset.fingerprint))
    return Tuned(
        expression=expression.strip(),
        metric=metric,
        language=language,
        best=_texts(over, best),
        points=tuple(
            _point(_texts(over, key), one, measured[best], scoring) for key, one in measured.items()
        ),
        compared=compared,
        how=how,
        seen=seen,
        warnings=tuple(_at_the_edge(over, best)),
    )


def refuse_test_data(hub: AdapterHub, dataset: Dataset) -> None:
    """Refuse data that say they are for testing, or that something was tested on before.

    Raises:
        SettingsError: they are.
    """
    advice = "parameters are chosen on validation data, or the test says nothing"
    if dataset.split == "test":
        raise SettingsError(f"{dataset.name} is test data: {advice}")
    tested = hub.catalog.evaluations.with_split("test")
    if any(score.settings.get("fingerprint") == dataset.fingerprint for score in tested):
        raise SettingsError(
            f"{dataset.name} is what adapters of this catalogue were tested on: {advice}"
        )


def keep(hub: AdapterHub, tuned: Tuned, record: VersionRecord, dataset: Dataset) -> Score:
    """Keep the curve with the catalogued version that has the best values."""
    said = {"expression": tuned.expression, "best": dict(tuned.best), "curve": tuned.curve}
    score = as_score(
        tuned.metric,
        tuned.compared,
        dataset,
        language=tuned.language,
        seen=tuned.seen,
        more={TUNED_ON: said | dict(tuned.how)},
    )
    return hub.catalog.evaluations.record(record.name, record.version, score)


def _example(hub: AdapterHub, request: Request, over: Sequence[Axis]) -> Adapter:
    """The expression at the first values: what it consists of, whatever the values are."""
    first = {axis.name: axis.texts[0] for axis in over}
    asked = replace(request, parameters={**request.parameters, **first})
    return without_tensors(hub, request.expression, asked)


def _key(over: Sequence[Axis], found: Mapping[str, str]) -> Values:
    return tuple(Fraction(found[axis.name]) for axis in over)


def _texts(over: Sequence[Axis], values: Values) -> dict[str, str]:
    return {axis.name: as_text(value) for axis, value in zip(over, values, strict=True)}


def _point(
    values: Mapping[str, str],
    measurement: Measurement,
    best: Measurement,
    settings: ScoringSettings,
) -> Point:
    how = settings.bootstrap
    return Point(
        values,
        measurement,
        bootstrap(measurement, **how),
        paired_bootstrap(measurement, best, **how),
    )


def _at_the_edge(over: Sequence[Axis], best: Values) -> list[str]:
    """Say where the best value is the first or the last that was tried."""
    return [
        f"the best {axis.name}, {as_text(value)}, lies at the edge of what was tried: "
        "a better one may lie beyond"
        for axis, value in zip(over, best, strict=True)
        if len(axis.values) > 1 and value in (axis.values[0], axis.values[-1])
    ]

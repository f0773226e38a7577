"""Evaluation: an adapter's scores with intervals, beside a baseline's, kept in the catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..hub.composition import Request
from ..store import Score
from .data.records import Pair
from .errors import DataError
from .scoring.adapter import Adapter
from .scoring.ancestry import resolve, settings_for, why_seen
from .scoring.bootstrap import Interval, bootstrap, paired_bootstrap
from .scoring.dataset import Dataset
from .scoring.measurement import Measurement
from .scoring.scorer import Scored, Scorer
from .scoring.session import Session
from .scoring.settings import ScoringSettings

if TYPE_CHECKING:
    from ..hub import AdapterHub
    from .models.base import Base

_LIBRARIES: Final = ("isogloss", "torch", "transformers", "peft")


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of an evaluation.

    Attributes:
        measurement: example by example.
        interval: of the value.
        baseline: the baseline's measurement; None without one.
        difference: of the value to the baseline's, bootstrapped in pairs; None likewise.
        settings: what the number depends on, as plain JSON.
    """

    measurement: Measurement
    interval: Interval
    settings: Mapping[str, Any]
    baseline: Measurement | None = None
    difference: Interval | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an adapter scored on data.

    Attributes:
        adapter: that was scored; None for the bare base.
        baseline: what the baseline is called; None without one.
        language: of the references.
        metrics: by name, in the order they were asked for.
        scored: outputs and measurements of the adapter.
        warnings: why the numbers may say too much, one sentence each.
    """

    adapter: Adapter | None
    baseline: str | None
    language: str
    metrics: Mapping[str, Compared]
    scored: Scored
    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...] = ()


def evaluate(
    hub: AdapterHub,
    adapter: str | Adapter | None,
    base: Base,
    pairs: Sequence[Pair],
    *,
    metrics: Sequence[str] = (),
    language: str,
    settings: ScoringSettings | Mapping[str, Any] | None = None,
    baseline: str | Adapter | None = None,
    request: Request | None = None,
    dataset: Dataset | None = None,
    progress: bool = False,
) -> Evaluation:
    """Score an adapter, and a baseline if there is one, on the same pairs.

    Args:
        adapter: a name, an expression, or an adapter in memory; None or `base` is the bare base.
        base: the base model, loaded.
        metrics: by name; none means the usual ones of the language.
        language: of the references.
        settings: how; or some of them by name: prompt and lengths are then by default those of the
            adapter's training.
        baseline: likewise; `base` is the bare base.
        request: parameters, semantics and context of expressions.
        dataset: what the pairs are, to find out whether the adapter has seen them.
        progress: show bars on a terminal.

    Raises:
        LabError: data, metrics, settings, memory. OtherBaseError: an adapter of another model.
        DslError: an expression.
    """
    chosen, versions = resolve(hub, adapter, base, request)
    other, _ = resolve(hub, baseline, base, request)
    with Session(base) as session:
        scorer = Scorer(
            session,
            pairs,
            metrics=metrics,
            language=language,
            settings=settings_for(versions, settings),
            progress=progress,
        )
        scored = scorer.score(chosen)
        against = None if baseline is None else scorer.score(other)
    seen = why_seen(hub, versions, dataset.fingerprint) if dataset else []
    return Evaluation(
        adapter=chosen,
        baseline=None if against is None else against.label,
        language=language,
        metrics=compare(scorer, scored, against),
        scored=scored,
        pairs=scorer.pairs,
        warnings=tuple(seen),
    )


def compare(scorer: Scorer, scored: Scored, baseline: Scored | None) -> dict[str, Compared]:
    """Intervals of what an adapter scored, and of its differences to a baseline."""
    how = scorer.settings.bootstrap
    compared = {}
    for metric in scorer.metrics:
        measurement = scored.measurements[metric.name]
        other = None if baseline is None else baseline.measurements[metric.name]
        compared[metric.name] = Compared(
            measurement=measurement,
            interval=bootstrap(measurement, **how),
            settings=scorer.describe(metric) | {"bootstrap": how},
            baseline=other,
            difference=None if other is None else paired_bootstrap(measurement, other, **how),
        )
    return compared


def record(hub: AdapterHub, evaluation: Evaluation, dataset: Dataset) -> list[Score]:
    """Keep an evaluation with the catalogued version that it is of; equal scores are kept once.

    Returns:
        The scores; none where no version of the catalogue has this content.
    """
    version_record = evaluation.adapter.record if evaluation.adapter else None
    if version_record is None:
        return []
    evaluations = hub.catalog.evaluations
    name, number = version_record.name, version_record.version
    kept = evaluations.of(name, number)
    scores = []
    for metric, compared in evaluation.metrics.items():
        score = as_score(
            metric,
            compared,
            dataset,
            language=evaluation.language,
            baseline=evaluation.baseline,
            seen=evaluation.warnings,
        )
        same = next((one for one in kept if _equal(one, score)), None)
        scores.append(same or evaluations.record(name, number, score))
    return scores


def as_score(
    metric: str,
    compared: Compared,
    dataset: Dataset,
    *,
    language: str,
    baseline: str | None = None,
    seen: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> Score:
    """One metric of an evaluation as the catalogue keeps it.

    Args:
        baseline: what the baseline is called.
        seen: why the number may say too much.
        more: further settings, as plain JSON.
    """
    settings = dict(compared.settings) | {
        "fingerprint": dataset.fingerprint,
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    if dataset.limit is not None:
        settings["limit"] = dataset.limit
    if seen:
        settings["seen"] = list(seen)
    if compared.baseline is not None and compared.difference is not None:
        settings["baseline"] = {
            "adapter": baseline,
            "value": compared.baseline.value,
            "difference": compared.difference.value,
            "low": compared.difference.low,
            "high": compared.difference.high,
        }
    return Score(
        dataset=dataset.name,
        dataset_revision=dataset.revision,
        language=language,
        split=dataset.split,
        metric=metric,
        value=compared.interval.value,
        low=compared.interval.low,
        high=compared.interval.high,
        examples=compared.measurement.examples,
        settings=settings | dict(more or {}),
    )


def write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write what the adapter made of each pair as JSON lines.

    Each holds id, source, target, all right targets where there are several, the output with the
    language that it seems to be in, and the number of every metric (of `bpb` bits and bytes).

    Raises:
        DataError: the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8") as file:
            for row in _predictions(evaluation):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise DataError(f"cannot write the predictions to '{path}': {error.strerror}") from error


def _predictions(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    scored = evaluation.scored
    for number, pair in enumerate(evaluation.pairs):
        row: dict[str, Any] = {"id": pair.id, "source": pair.source, "target": pair.target}
        if len(pair.targets) > 1:
            row["targets"] = list(pair.targets)
        if scored.outputs is not None:
            row["output"] = scored.outputs[number]
        if scored.identified is not None:
            found = scored.identified[number]
            row |= {"language": found.language, "confidence": round(found.confidence, 4)}
        for name, measurement in scored.measurements.items():
            if name == "bpb":
                row["bits"] = measurement.numerators[number]
                row["bytes"] = int(measurement.denominators[number])
            elif name != "language":
                row[name] = measurement.numerators[number]
        yield row


def _equal(one: Score, other: Score) -> bool:
    fields = ("dataset", "dataset_revision", "language", "split", "metric", "value", "low", "high")
    same = all(getattr(one, field) == getattr(other, field) for field in (*fields, "examples"))
    return same and dict(one.settings) == dict(other.settings)

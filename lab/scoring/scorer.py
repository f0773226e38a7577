"""Scores one adapter after another on the same data, in the same metrics, by the same settings.

All that does not depend on the adapter is done once: the base is loaded, the data are encoded, the
tokenizer that ROUGE counts by is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.records import Pair
from ..generation import generate
from .adapter import BARE, Adapter
from .answers import exact_match, f1
from .bits import bits_per_byte
from .encoding import encode_pairs
from .identification import Identified, identify, is_variety, label_of
from .measurement import Measurement, mean_of
from .metrics import Metric, find_metrics
from .rouge import Rouge, load_tokenizer
from .session import Session
from .settings import ScoringSettings

Answer = Callable[[str, Sequence[str]], float]


@dataclass(frozen=True, slots=True)
class Scored:
    """What one adapter scored.

    Attributes:
        label: of the adapter; `base` for the bare base.
        measurements: by the names of the metrics, example by example.
        outputs: what it wrote, in the order of the data; None where no metric asked for it.
        identified: the languages of the outputs; None likewise.
    """

    label: str
    measurements: Mapping[str, Measurement]
    outputs: tuple[str, ...] | None = None
    identified: tuple[Identified, ...] | None = None


class Scorer:
    """Scores adapters on one data set.

    Args:
        session: with the base model.
        pairs: to score on.
        metrics: by name; none means the usual ones of the language.
        language: of the references and, it is hoped, of the outputs.
        settings: how.
        progress: show bars on a terminal.

    Raises:
        DataError, SettingsError, ModelError: data, metrics or settings that cannot be.
    """

    def __init__(
        self,
        session: Session,
        pairs: Sequence[Pair],
        *,
        metrics: Sequence[str],
        language: str,
        settings: ScoringSettings,
        progress: bool = False,
    ) -> None:
        self.session = session
        self.pairs = tuple(pairs)
        self.metrics = find_metrics(metrics, language)
        self.language = language
        self.settings = settings
        self.progress = progress
        self._encoded = encode_pairs(session.base, self.pairs, settings)
        self._answers = {
            metric.name: answer
            for metric in self.metrics
            if (answer := _answer(metric, settings)) is not None
        }
        names = {metric.name for metric in self.metrics}
        self._label = label_of(language) if "language" in names else None

    def score(self, adapter: Adapter | None) -> Scored:
        """Score an adapter, or the bare base.

        Raises:
            IncompatibleError: the adapter does not fit the base. ScoringError: out of memory.
        """
        self.session.use(adapter)
        label = adapter.label if adapter else BARE
        outputs = self._outputs(label)
        identified = tuple(identify(outputs)) if outputs is not None and self._label else None
        measurements = {
            metric.name: self._measure(metric, label, outputs, identified)
            for metric in self.metrics
        }
        return Scored(label, measurements, outputs, identified)

    def describe(self, metric: Metric) -> dict[str, Any]:
        """The settings that a metric's numbers depend on, as plain JSON."""
        described = self.settings.reading
        if metric.generated:
            described |= self.settings.decoding
        if metric.tokens == "pieces":
            described["tokenizer"] = self.settings.rouge_tokenizer
        if metric.name == "language":
            references = identify([pair.target for pair in self.pairs])
            described |= {"identifier": "py3langid", "references": self._share(references).value}
        return described

    def _outputs(self, label: str) -> tuple[str, ...] | None:
        if not any(metric.generated for metric in self.metrics):
            return None
        sources = [pair.source for pair in self.pairs]
        title = self._title(label, "writing")
        return tuple(generate(self.session, sources, self.settings, progress=title))

    def _title(self, label: str, what: str) -> str | None:
        return f"{label:.40}: {what}" if self.progress else None

    def _measure(
        self,
        metric: Metric,
        label: str,
        outputs: Sequence[str] | None,
        identified: Sequence[Identified] | None,
    ) -> Measurement:
        if identified is not None and metric.name == "language":
            return self._share(identified)
        if outputs is not None and metric.name in self._answers:
            answer = self._answers[metric.name]
            values = [
                100 * answer(output, pair.targets)
                for output, pair in zip(outputs, self.pairs, strict=True)
            ]
            return mean_of(metric.name, self._ids, values)
        return bits_per_byte(
            self.session,
            self.pairs,
            self._encoded,
            batch_tokens=self.settings.batch_tokens,
            progress=self._title(label, "reading"),
        )

    def _share(self, identified: Sequence[Identified]) -> Measurement:
        label = str(self._label)
        values = [100.0 * is_variety(one.language, label) for one in identified]
        return mean_of("language", self._ids, values)

    @property
    def _ids(self) -> tuple[str, ...]:
        return tuple(pair.id for pair in self.pairs)


def _answer(metric: Metric, settings: ScoringSettings) -> Answer | None:
    """How one output is held against its references, for metrics that do this."""
    if metric.name in ("f1", "em"):
        return f1 if metric.name == "f1" else exact_match
    if metric.tokens is None:
        return None
    pieces = metric.tokens == "pieces"
    rouge = Rouge(load_tokenizer(settings.rouge_tokenizer) if pieces else None)
    kind = metric.name.removesuffix("-spm")
    return lambda output, references: rouge.score(kind, output, references)

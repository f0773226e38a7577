"""The metrics, one line each: what people write, what it measures, and what it needs.

ROUGE, F1, exact match and the share of outputs in the language are in points from 0 to 100, as
papers print them; bits per byte are bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...dsl.errors import did_you_mean
from ...dsl.languages import normalize
from ..errors import SettingsError


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Attributes:
        name: as it is written after `--metric`.
        title: what it measures.
        higher: whether more is better.
        generated: whether it needs generated text, which costs far more than a pass over the data.
        tokens: whose tokens it counts: `words` of English, `pieces` of SentencePiece, or none.
    """

    name: str
    title: str
    higher: bool = True
    generated: bool = True
    tokens: str | None = None

    def better(self, value: float, than: float) -> bool:
        """Whether one value of this metric is better than another."""
        return value > than if self.higher else value < than


METRICS: Final = (
    Metric("rouge2-spm", "ROUGE-2 over SentencePiece tokens, F-measure", tokens="pieces"),
    Metric("rouge1-spm", "ROUGE-1 over SentencePiece tokens, F-measure", tokens="pieces"),
    Metric("rougeL-spm", "ROUGE-L over SentencePiece tokens, F-measure", tokens="pieces"),
    Metric("rouge2", "ROUGE-2 over English words, F-measure", tokens="words"),
    Metric("rouge1", "ROUGE-1 over English words, F-measure", tokens="words"),
    Metric("rougeL", "ROUGE-L over English words, F-measure", tokens="words"),
    Metric("f1", "F1 of the answer's words, as SQuAD's script has it"),
    Metric("em", "exact match of the answer, as SQuAD's script has it"),
    Metric("bpb", "bits per byte of the references", higher=False, generated=False),
    Metric("language", "outputs in the target language, of 100"),
)
METRIC_BY_NAME: Final = {metric.name: metric for metric in METRICS}


def find_metrics(names: Sequence[str], language: str) -> tuple[Metric, ...]:
    """The metrics of these names, each once; by default those of the paper's summaries.

    Args:
        names: of metrics; none means ROUGE-2 (over words for English, over SentencePiece tokens for
            every other language), bits per byte, and the share of outputs in the language.
        language: of the references.

    Raises:
        SettingsError: no such metric, or one that says nothing about the language.
    """
    english = normalize(language).partition("-")[0] == "en"
    names = names or ("rouge2" if english else "rouge2-spm", "bpb", "language")
    found = []
    for name in dict.fromkeys(names):
        metric = METRIC_BY_NAME.get(name)
        if metric is None:
            hint = did_you_mean(name, METRIC_BY_NAME)
            raise SettingsError(
                f"there is no metric {name!r}: "
                + (hint or f"the metrics are {', '.join(METRIC_BY_NAME)}")
            )
        if metric.tokens == "words" and not _is_latin(language):
            raise SettingsError(
                f"{name} counts words of a-z alone, and {language} is not written in them: "
                f"take {name}-spm"
            )
        found.append(metric)
    return tuple(found)


def _is_latin(language: str) -> bool:
    from langcodes import Language

    return Language.get(normalize(language)).maximize().script in ("Latn", None)

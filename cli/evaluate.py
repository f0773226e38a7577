"""The command that scores an adapter or an expression on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .base_model import base_options, for_base, load_given, needs_lab
from .errors import InputError, note, warn
from .options import (
    ExpressionCommand,
    Folder,
    Settings,
    expression_options,
    json_option,
    read_expression,
    text_option,
    with_options,
)
from .output import Column, print_json, print_table, print_text
from .scoring import (
    DATA_OPTIONS,
    INTERVAL_OPTIONS,
    READING_OPTIONS,
    dataset_json,
    names_given,
    number,
    read_data,
    request_given,
    settings_given,
    span,
)

if TYPE_CHECKING:
    from ..lab.evaluate import Compared, Evaluation
    from ..lab.scoring.dataset import Dataset
    from ..store import Score


@click.command(
    cls=ExpressionCommand,
    epilog="""\b
Examples:
  isogloss evaluate xlsum-yo --base ./smollm2 --data yo.test.jsonl --language yo
  isogloss evaluate 'exact(task[en] + 0.5*(lm[yo] - lm[en]))' --baseline 'task[en]' \\
      --base ./smollm2 --data csebuetnlp/xlsum:yoruba:test --language yo --metric rouge2-spm,bpb
  isogloss evaluate tydiqa-sw --base ./smollm2 --data tydiqa.validation.jsonl --language sw \\
      --metric f1,em --predictions sw.jsonl --json

\b
Metrics, joined by commas:
  rouge2-spm rouge1-spm rougeL-spm  ROUGE over SentencePiece tokens, for every language
  rouge2 rouge1 rougeL              ROUGE over words of a-z, for English
  f1 em                             answers, as SQuAD's script scores them
  bpb                               bits per byte of the references; lower is better
  language                          outputs in the target language, of 100
""",
)
@click.argument("adapter", metavar="NAME|EXPRESSION")
@with_options(base_options(), DATA_OPTIONS)
@click.option(
    "--metric",
    "metrics",
    metavar="NAMES",
    multiple=True,
    callback=names_given,
    help="Metrics, joined by commas.  [default: rouge2 for English, else rouge2-spm; bpb;"
    " language]",
)
@text_option(
    "--baseline",
    metavar="NAME|EXPRESSION",
    help="Score this too, and the difference to it in pairs; 'base' is the bare base model.",
)
@click.option(
    "--predictions",
    type=Folder(),
    metavar="FILE",
    help="Write what was made of each pair, with its numbers, as JSON lines.",
)
@with_options(READING_OPTIONS, INTERVAL_OPTIONS)
@expression_options
@json_option
@click.pass_obj
def evaluate(
    settings: Settings,
    /,
    adapter: str,
    metrics: tuple[str, ...],
    baseline: str | None,
    predictions: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Score an adapter, or an expression, on labelled data.

    NAME is an adapter of the catalogue, EXPRESSION is composed in memory, and 'base' is the bare
    base model. Every score has a 95 % interval by the bootstrap. Scores of what is in the catalogue
    are kept there and published with it; scores on data that it was trained or tuned on are
    flagged.
    """
    needs_lab()
    if predictions is not None and not predictions.parent.is_dir():
        raise InputError(f"there is no folder '{predictions.parent}' to write predictions to")
    if predictions is not None and predictions.is_dir():
        raise InputError(f"'{predictions}' is a folder: name a file to write predictions to")
    from ..lab.evaluate import evaluate as carry_out
    from ..lab.evaluate import record, write_predictions
    from ..lab.scoring.metrics import find_metrics

    chosen, language = settings_given(given), given["language"]
    find_metrics(metrics, language)
    text = read_expression(adapter)
    with settings.open_hub() as hub:
        request = for_base(hub, request_given(text, given), given)
        pairs, dataset = read_data(given)
        evaluation = carry_out(
            hub,
            text,
            load_given(given),
            pairs,
            metrics=metrics,
            language=language,
            settings=chosen,
            baseline=None if baseline is None else read_expression(baseline),
            request=request,
            dataset=dataset,
            progress=True,
        )
        scores = record(hub, evaluation, dataset)
    if predictions is not None:
        write_predictions(evaluation, predictions)
    warn(evaluation.warnings)
    if as_json:
        print_json(_json(evaluation, dataset, scores))
    else:
        _print(evaluation, dataset, scores)


def _json(evaluation: Evaluation, dataset: Dataset, scores: list[Score]) -> dict[str, Any]:
    kept = evaluation.adapter.record if evaluation.adapter and scores else None
    return {
        "adapter": evaluation.scored.label,
        "recorded": kept.label if kept else None,
        "baseline": evaluation.baseline,
        **dataset_json(dataset),
        "language": evaluation.language,
        "examples": len(evaluation.pairs),
        "warnings": list(evaluation.warnings),
        "metrics": {name: _metric_json(one) for name, one in evaluation.metrics.items()},
    }


def _metric_json(compared: Compared) -> dict[str, Any]:
    interval, difference = compared.interval, compared.difference
    found: dict[str, Any] = {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "settings": dict(compared.settings),
    }
    if compared.baseline is not None and difference is not None:
        found["baseline"] = compared.baseline.value
        found["difference"] = {
            "value": difference.value,
            "low": difference.low,
            "high": difference.high,
        }
    return found


def _print(evaluation: Evaluation, dataset: Dataset, scores: list[Score]) -> None:
    print_text(
        f"{evaluation.scored.label} on {dataset.name} ({dataset.split}), {evaluation.language}, "
        f"{len(evaluation.pairs):,} pairs"
    )
    columns = [Column("metric"), Column("value", number=True), Column("95 % interval")]
    if evaluation.baseline is not None:
        columns += [
            Column(f"{evaluation.baseline:.40}", number=True),
            Column("difference", number=True),
            Column("95 % interval"),
        ]
    print_table(columns, [_row(name, one) for name, one in evaluation.metrics.items()])
    if "language" in evaluation.metrics:
        references = evaluation.metrics["language"].settings["references"]
        note(f"of the references, {references:.2f} of 100 are taken for {evaluation.language}")
    if scores and evaluation.adapter and evaluation.adapter.record:
        note(f"kept with {evaluation.adapter.record.label}")
    elif evaluation.adapter is not None:
        note("not kept: no version in the catalogue has this content; compose it with --name first")


def _row(name: str, compared: Compared) -> list[str]:
    interval, difference = compared.interval, compared.difference
    row = [name, number(name, interval.value), span(name, interval.low, interval.high)]
    if compared.baseline is not None and difference is not None:
        row += [
            number(name, compared.baseline.value),
            f"{'+' if difference.value > 0 else ''}{number(name, difference.value)}",
            span(name, difference.low, difference.high),
        ]
    return row

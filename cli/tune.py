"""The command that chooses the parameters of an expression on validation data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .base_model import base_options, for_base, load_given, needs_lab
from .errors import note, warn
from .options import (
    ExpressionCommand,
    Folder,
    Settings,
    count_option,
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
    number,
    read_data,
    request_given,
    settings_given,
    span,
)

if TYPE_CHECKING:
    from ..hub import AdapterHub
    from ..hub.composition import Request
    from ..lab.scoring.dataset import Dataset
    from ..lab.tune import Tuned


@click.command(
    cls=ExpressionCommand,
    epilog="""\b
Examples:
  isogloss tune 'add_subtract(en, yo, l)' --over l=0:1:0.1 --base ./smollm2 \\
      --data yo.validation.jsonl --language yo --name xlsum-yo --plot curve.png
  isogloss tune 'exact(task[en] + m*(lm[yo] - lm[en]))' --over m=0:1:0.25 --refine 2 \\
      --base ./smollm2 --data yo.dev.jsonl --language yo
  isogloss tune 'exact(a*task[en] + b*(lm[yo] - lm[en]))' --over a=0.5:1:0.1 --over b=0:1:0.1 \\
      --trials 30 --base ./smollm2 --data yo.dev.jsonl --language yo --json
""",
)
@click.argument("expression", metavar="EXPRESSION")
@text_option(
    "--over",
    "axes",
    metavar="NAME=VALUES",
    multiple=True,
    required=True,
    help="A parameter and its values: START:STOP:STEP with both ends, or joined by commas. May be"
    " repeated.",
)
@with_options(base_options(), DATA_OPTIONS)
@text_option(
    "--metric",
    metavar="NAME",
    help="What to choose by, as 'isogloss evaluate' has it.  [default: bpb]",
)
@count_option("--refine", "Try the middles beside the best value so often; for one parameter.")
@count_option(
    "--trials",
    "For several parameters: if all combinations are more than this, optuna chooses so many."
    "  [default: 40]",
)
@click.option(
    "--plot", type=Folder(), metavar="FILE", help="Draw the curve: a .png, .svg or .pdf file."
)
@text_option(
    "--name",
    metavar="NAME",
    help="Compose the best into the catalogue under NAME, and keep the curve with it.",
)
@text_option("--result-task", metavar="TASK", help="Task that the result is for.")
@with_options(READING_OPTIONS, INTERVAL_OPTIONS)
@expression_options
@json_option
@click.pass_obj
def tune(
    settings: Settings,
    /,
    expression: str,
    axes: tuple[str, ...],
    metric: str | None,
    refine: int | None,
    trials: int | None,
    plot: Path | None,
    name: str | None,
    result_task: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Choose the parameters of an expression on validation data.

    The base model is loaded once and all adapters are composed in memory in one pass. Test data
    are refused: what says so by its split, and what adapters of the catalogue were tested on.
    Later scores of the result on the same data are flagged.
    """
    needs_lab()
    from ..lab.scoring.grid import parse_axis
    from ..lab.scoring.plot import check_format, draw_curve
    from ..lab.tune import METRIC, TRIALS
    from ..lab.tune import tune as carry_out

    over = [parse_axis(text) for text in axes]
    if plot is not None:
        check_format(plot)
    chosen, language = settings_given(given), given["language"]
    text = read_expression(expression)
    with settings.open_hub() as hub:
        if name is not None:
            _check_name(hub, name)
        request = for_base(hub, request_given(text, given), given)
        pairs, dataset = read_data(given)
        tuned = carry_out(
            hub,
            text,
            load_given(given),
            pairs,
            over=over,
            language=language,
            dataset=dataset,
            metric=metric or METRIC,
            settings=chosen,
            request=request,
            refine=refine or 0,
            trials=trials or TRIALS,
            progress=True,
        )
        if plot is not None:
            draw_curve(tuned, plot)
        label = None
        if name is not None:
            label = _keep(hub, tuned, dataset, request, name, result_task)
    warn((*tuned.seen, *tuned.warnings))
    if as_json:
        print_json(_json(tuned, dataset, label))
    else:
        _print(tuned, dataset, label)


def _check_name(hub: AdapterHub, name: str) -> None:
    """Find out before tuning what composing would refuse after it."""
    from ..hub.naming import refuse_odd_name, refuse_other_kind

    refuse_odd_name(name)
    refuse_other_kind(hub.catalog, name, "composed")


def _keep(
    hub: AdapterHub,
    tuned: Tuned,
    dataset: Dataset,
    request: Request,
    name: str,
    result_task: str | None,
) -> str:
    """Compose the best into the catalogue, keep the curve with it, and say what it is called."""
    from ..lab.tune import keep

    context = request.context
    hub.compose(
        request.expression,
        name=name,
        parameters={**request.parameters, **tuned.best},
        semantics=request.semantics,
        memory=request.memory_bytes,
        task=context.task,
        base=context.base,
        peft=context.peft,
        distances=context.distances,
        result_language=tuned.language,
        result_task=result_task,
    )
    record = hub.show(name)
    keep(hub, tuned, record, dataset)
    return record.label


def _json(tuned: Tuned, dataset: Dataset, label: str | None) -> dict[str, Any]:
    return {
        "expression": tuned.expression,
        "best": dict(tuned.best),
        "recorded": label,
        "metric": tuned.metric,
        "value": tuned.compared.interval.value,
        "low": tuned.compared.interval.low,
        "high": tuned.compared.interval.high,
        "examples": tuned.compared.measurement.examples,
        "settings": dict(tuned.compared.settings),
        **dataset_json(dataset),
        "language": tuned.language,
        **tuned.how,
        "curve": tuned.curve,
        "warnings": [*tuned.seen, *tuned.warnings],
    }


def _print(tuned: Tuned, dataset: Dataset, label: str | None) -> None:
    best = ", ".join(f"{name}={value}" for name, value in tuned.best.items())
    print_text(f"The best on {dataset.name} ({dataset.split}), {tuned.language}: {best}")
    columns = [Column(name, number=True) for name in tuned.best]
    columns += [Column(tuned.metric, number=True), Column("95 % interval"), Column("to the best")]
    rows = []
    for point in tuned.points:
        row = [*point.values.values(), number(tuned.metric, point.interval.value)]
        row.append(span(tuned.metric, point.interval.low, point.interval.high))
        behind = point.behind
        away = span(tuned.metric, behind.low, behind.high)
        rows.append([*row, "best" if point.values == tuned.best else away])
    print_table(columns, rows)
    if label is not None:
        note(f"composed and kept as {label}")

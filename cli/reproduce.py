"""The command that reproduces the paper for a base model, languages and data of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .base_model import base_options, choose_given, needs_lab
from .errors import note
from .options import Folder, json_option, with_options
from .output import print_json, print_text

if TYPE_CHECKING:
    from ..lab.reproduction.bench import Bench
    from ..lab.reproduction.report import Report
    from ..lab.reproduction.results import Results
    from ..lab.reproduction.run import Done


@click.command(
    epilog="""\b
Examples:
  isogloss reproduce --base ./smollm2 --plan plan.toml
  isogloss reproduce --base google/mt5-small --plan plan.toml --output results --ray
  isogloss reproduce --base ./smollm2 --plan plan.toml --report-only

\b
A plan, in TOML; its data are meant beside it:
  source = "en"                          # S of equations 1 and 2
  task_languages = ["en", "fr", "ja"]    # those with labelled data
  targets = ["es", "de"]                 # those without
  seeds = [1, 2, 3]
  texts = "data/{language}/texts.jsonl"
  [[task]]
  name = "synopsis"
  train = "data/{language}/train.jsonl"
  validation = "data/{language}/dev.jsonl"
  test = "data/{language}/test.jsonl"
  metrics = ["bpb"]                      # the first one chooses
  [wrong]                                # whose vectors should not help
  es = ["de"]
  de = ["es"]
  [training]                             # as of isogloss train
  steps = 5000
"""
)
@with_options(base_options())
@click.option(
    "--plan", "plan_file", type=Folder(), required=True, help="TOML file: languages and data."
)
@click.option(
    "--output",
    type=Folder(file_okay=False),
    help="Folder of all that is made.  [default: the plan's name, here]",
)
@click.option("--ray", is_flag=True, help="Spread vectors and cells over a Ray cluster.")
@click.option(
    "--report-only", is_flag=True, help="Report what is finished; train and score nothing."
)
@json_option
def reproduce(
    plan_file: Path,
    output: Path | None,
    ray: bool,
    report_only: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Run the paper's tables, its Figure 2, and the controls that it lacks.

    Trains what the plan needs, chooses lambda on validation data, scores on test data, and writes
    report.md, report.html, report.json and pictures. All that is made lies in the output folder,
    in catalogues of its own. What is finished is never done again: a run that was killed goes on,
    and the same command with a longer plan does the rest.
    """
    needs_lab("matplotlib")
    from ..lab.reproduction.bench import Bench
    from ..lab.reproduction.plan import read_plan
    from ..lab.reproduction.report import write_report
    from ..lab.reproduction.run import look

    plan = read_plan(plan_file)
    model = choose_given(given)
    folder = output or Path(plan.name)
    bench = Bench(plan, folder, model)
    try:
        results, done = look(bench) if report_only else _carry_out(bench, ray)
        report = write_report(bench, results, done, folder / "report")
    finally:
        bench.close()
    _print(report, as_json)


def _carry_out(bench: Bench, ray: bool) -> tuple[Results, Done]:
    from ..lab.reproduction.crew import Alone, Workers, silent
    from ..lab.reproduction.run import reproduce as carry_out

    tell = note if sys.stderr.isatty() else silent
    if not ray:
        return carry_out(bench, Alone(bench, tell))
    workers = Workers(bench, tell)
    try:
        return carry_out(bench, workers)
    finally:
        workers.close()


def _print(report: Report, as_json: bool) -> None:
    from ..lab.reproduction.tables import markdown

    if as_json:
        print_json(
            {
                "folder": str(report.folder),
                "complete": report.done.complete,
                "tables": {
                    table.key: {"title": table.title, "rows": list(table.numbers)}
                    for table in report.tables
                },
            }
        )
        return
    for table in report.tables:
        print_text(markdown(table))
    print_text(f"Report written to {report.folder}")

"""The commands that train language and task vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .base_model import base_options, needs_lab
from .errors import MISTAKE, note, warn
from .options import Folder, Settings, count_option, json_option, text_option, with_options
from .output import Column, print_json, print_table, print_text
from .records import full_json
from .training import DATA_OPTIONS, RESULT_OPTIONS, TRAINING_OPTIONS, taken_apart

if TYPE_CHECKING:
    from ..lab.training.plan import Outcome
    from ..lab.training.run import Trained


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  isogloss train lm --base ./smollm2 --language pt --data pt.txt
  isogloss train task --base ./smollm2 --language en --task xlsum --data xlsum-en.jsonl
  isogloss train --plan plan.toml
  isogloss train --plan plan.toml --dry-run
  isogloss train --plan plan.toml --ray --workers 4
""",
)
@click.option("--plan", type=Folder(), help="TOML file of all runs of an experiment.")
@text_option("--base", metavar="MODEL", help="Another base model than the plan's.")
@click.option("--dry-run", is_flag=True, help="Say what a plan would train, and train nothing.")
@click.option(
    "--ray",
    is_flag=True,
    help="Spread the plan's runs over a Ray cluster: that of RAY_ADDRESS, or this machine.",
)
@count_option("--workers", "With --ray: most runs at a time.  [default: one for each GPU, or CPU]")
@json_option
@click.pass_context
def train(
    ctx: click.Context,
    /,
    plan: Path | None,
    base: str | None,
    dry_run: bool,
    ray: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Train language and task vectors, and catalogue them.

    A vector is a PEFT adapter on a frozen base model. A run that the catalogue has, from equal
    data with equal settings, is not trained again; one that was killed goes on where it was, to
    the same result. --plan trains all that a file lists, and what is finished is skipped.
    """
    if ctx.invoked_subcommand is not None:
        if plan is not None:
            raise click.UsageError("--plan stands alone: leave out the command after it", ctx)
        return
    if plan is None:
        raise click.UsageError("give --plan FILE, or a command: train lm, train task", ctx)
    needs_lab()
    from ..lab.training.plan import read_plan, train_plan

    runs = read_plan(plan, base=base)
    with ctx.obj.open_hub() as hub:
        if dry_run:
            _print_runs(hub, runs, as_json)
            return
        if ray:
            from ..lab.training.cluster import train_plan_on_ray

            outcomes = train_plan_on_ray(hub, runs, workers=workers, report=_report)
        else:
            outcomes = train_plan(hub, runs, progress=True, report=_report)
    _print_outcomes(outcomes, as_json)
    if any(outcome.error for outcome in outcomes):
        ctx.exit(MISTAKE)


@train.command(
    epilog="""\b
Examples:
  isogloss train lm --base ./smollm2 --language pt --data pt.jsonl --text-field body
  isogloss train lm --base google/mt5-small --language yo --data allenai/c4:yo --steps 5000
"""
)
@with_options(base_options())
@text_option(
    "--language",
    metavar="CODE",
    required=True,
    help="Language of the text; several joined by commas for one multilingual vector.",
)
@with_options(DATA_OPTIONS)
@text_option("--text-field", metavar="NAME", help="Field that holds the text.  [default: text]")
@with_options(TRAINING_OPTIONS, RESULT_OPTIONS)
@click.pass_obj
def lm(settings: Settings, /, text_field: str | None, **given: Any) -> None:
    """Train a language vector on unlabelled text.

    The objective is T5's prefix-LM: every text is split at a random place, the model reads what is
    before and the loss is on what comes after.
    """
    needs_lab()
    from ..lab.data.fields import Fields
    from ..lab.training.run import train_lm

    as_json, base, chosen, rest = taken_apart(given)
    with settings.open_hub() as hub:
        trained = train_lm(
            hub, base, fields=Fields(text=text_field), settings=chosen, progress=True, **rest
        )
    _print_trained(trained, as_json)


@train.command(
    epilog="""\b
Examples:
  isogloss train task --base ./smollm2 --language en --task xlsum --data csebuetnlp/xlsum:english
  isogloss train task --base ./smollm2 --language en --task synopsis --data en.jsonl \\
      --source-field body --target-field synopsis --prompt '{source}\\nTL;DR: '
"""
)
@with_options(base_options())
@text_option(
    "--language",
    metavar="CODE",
    required=True,
    help="Language of the data; several joined by commas for one multilingual vector.",
)
@text_option("--task", metavar="TASK", required=True, help="Name of the task, such as xlsum.")
@with_options(DATA_OPTIONS)
@text_option(
    "--source-field",
    metavar="NAME",
    help="Field of what is read.  [default: as XL-Sum, TyDi QA and SQuAD have it, or source]",
)
@text_option(
    "--target-field",
    metavar="NAME",
    help="Field of what is to be written.  [default: likewise, or target]",
)
@text_option(
    "--prompt",
    metavar="TEXT",
    help="What is read, with {source} in it; \\n is a line break.  [default: {source}\\n]",
)
@count_option(
    "--max-target-length", "Most tokens of a target.  [default: 128, or half of --max-length]"
)
@with_options(TRAINING_OPTIONS, RESULT_OPTIONS)
@click.pass_obj
def task(
    settings: Settings, /, source_field: str | None, target_field: str | None, **given: Any
) -> None:
    """Train a task vector on labelled data.

    The model reads the source and writes the target; the loss is on the target alone.
    """
    needs_lab()
    from ..lab.data.fields import Fields
    from ..lab.training.run import train_task

    as_json, base, chosen, rest = taken_apart(given)
    fields = Fields(source_field, target_field)
    with settings.open_hub() as hub:
        trained = train_task(hub, base, fields=fields, settings=chosen, progress=True, **rest)
    _print_trained(trained, as_json)


def _trained_json(trained: Trained) -> dict[str, Any]:
    return {"trained": trained.created} | full_json(trained.version)


def _print_trained(trained: Trained, as_json: bool) -> None:
    warn(trained.notes)
    if as_json:
        print_json(_trained_json(trained))
    elif trained.created:
        print_text(f"Trained {trained.version.label}: {_losses(trained)}")
    else:
        print_text(f"{trained.version.label} is this run; nothing was trained")


def _losses(trained: Trained) -> str:
    return f"loss {trained.first_loss:.3f} -> {trained.last_loss:.3f}"


def _report(outcome: Outcome) -> None:
    if outcome.trained is None:
        note(f"{outcome.run.name}: {outcome.error}")
    elif outcome.trained.created:
        warn(outcome.trained.notes)
        note(f"{outcome.run.name}: trained, {_losses(outcome.trained)}")


def _state(outcome: Outcome) -> str:
    if outcome.trained is None:
        return "failed"
    return "trained" if outcome.trained.created else "was there"


def _print_outcomes(outcomes: tuple[Outcome, ...], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"name": one.run.name, "state": _state(one), "error": one.error}
                | ({"version": full_json(one.trained.version)} if one.trained else {})
                for one in outcomes
            ]
        )
        return
    columns = (
        Column("run"),
        Column("state"),
        Column("version"),
        Column("first loss", number=True),
        Column("last loss", number=True),
        Column("why", wrap=True),
    )
    print_table(columns, [_row(one) for one in outcomes])


def _row(one: Outcome) -> tuple[object, ...]:
    if one.trained is None:
        return (one.run.name, _state(one), None, None, None, one.error)
    first, last = f"{one.trained.first_loss:.3f}", f"{one.trained.last_loss:.3f}"
    return (one.run.name, _state(one), one.trained.version.label, first, last, None)


def _print_runs(hub: Any, runs: Any, as_json: bool) -> None:
    from ..lab.training.run import find_finished

    rows = []
    for run in runs:
        finished = find_finished(hub, run)
        rows.append(
            {
                "name": run.name,
                "state": "to train" if finished is None else "was there",
                "languages": list(run.languages),
                "data": list(run.data),
                "steps": run.settings.steps,
                "seed": run.settings.seed,
                "init_seed": run.settings.init_seed,
                "run": run.digest,
            }
        )
    if as_json:
        print_json(rows)
        return
    print_table(
        (Column("run"), Column("state"), Column("data", wrap=True), Column("steps", number=True)),
        [(row["name"], row["state"], ", ".join(row["data"]), row["steps"]) for row in rows],
    )

"""The commands that train language and task vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from .errors import MISTAKE, InputError, note, warn
from .options import Folder, Settings, Text, json_option, text_option
from .output import Column, print_json, print_table, print_text
from .records import full_json

if TYPE_CHECKING:
    from ..lab.training.plan import Outcome
    from ..lab.training.run import Trained
    from ..lab.training.settings import Settings as TrainingSettings

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_SETTINGS: Final = (
    "steps",
    "batch_size",
    "accumulation",
    "learning_rate",
    "max_length",
    "max_target_length",
    "prompt",
    "peft",
    "rank",
    "alpha",
    "targets",
    "peft_options",
    "seed",
    "init_seed",
    "data_seed",
    "validate_every",
    "patience",
)


def _options(
    ctx: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> dict[str, Any] | None:
    """Turn NAME=VALUE into what it is, the value as JSON where it is JSON."""
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            said = f"{text!r} is not NAME=VALUE, such as num_virtual_tokens=20"
            raise click.BadParameter(said, ctx=ctx, param=option)
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = value
    return values or None


def _names(
    ctx: click.Context, option: click.Parameter, given: str | None
) -> tuple[str, ...] | None:
    """Split a list at its commas."""
    if given is None:
        return None
    return tuple(name.strip() for name in given.split(",") if name.strip())


def _count(flag: str, text: str, low: int = 1) -> Callable[[Decorated], Decorated]:
    return click.option(flag, metavar="N", type=click.IntRange(min=low), help=text)


BASE_OPTIONS: Final = (
    text_option(
        "--base",
        metavar="MODEL",
        required=True,
        help="Base model: an id at the Hub, a folder, or a GGUF file.",
    ),
    text_option(
        "--base-name",
        metavar="NAME",
        help="What the adapter calls its base.  [default: the id, or the absolute path]",
    ),
    text_option("--revision", metavar="REVISION", help="Commit or tag of the base at the Hub."),
    click.option(
        "--dtype",
        type=click.Choice(("float32", "bfloat16", "float16", "auto")),
        help="Number format of the base; auto is that of its files."
        "  [default: float32; bfloat16 on a GPU that can]",
    ),
    text_option("--device", metavar="NAME", help="cpu or cuda.  [default: a GPU, if there is one]"),
)
DATA_OPTIONS: Final = (
    click.option(
        "--data",
        metavar="SOURCE",
        type=Text(),
        multiple=True,
        required=True,
        help="A .jsonl, .parquet, .csv, .tsv or .txt file (also .gz), or a data set:"
        " NAME[:CONFIGURATION[:SPLIT]][@REVISION]. May be repeated.",
    ),
    text_option("--validation", metavar="SOURCE", help="Data to measure the loss on now and then."),
    _count("--limit", "Use no more than this many rows of every source."),
)
TRAINING_OPTIONS: Final = (
    _count("--steps", "Steps of the optimizer.  [default: 5000]"),
    _count("--batch-size", "Examples that go through the model at once.  [default: 8]"),
    _count("--accumulation", "Batches in one step.  [default: 1]"),
    click.option(
        "--learning-rate",
        metavar="X",
        type=float,
        help="At the first step; it falls to zero in a straight line.  [default: 2e-4]",
    ),
    _count("--max-length", "Most tokens of an example.  [default: 512]", 8),
    text_option(
        "--peft",
        metavar="TYPE",
        help="lora, lokr (the paper's Kronecker adapter), or another PEFT type.  [default: lora]",
    ),
    _count("--rank", "Rank of the adapter.  [default: 4; of lokr, a full second factor]"),
    click.option("--alpha", metavar="X", type=float, help="[default: the rank]"),
    text_option(
        "--targets",
        metavar="NAMES",
        callback=_names,
        help="Modules to adapt, joined by commas."
        "  [default: query, key, value and output projections]",
    ),
    click.option(
        "--peft-option",
        "peft_options",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_options,
        help="Another field of the PEFT type's configuration. May be repeated.",
    ),
    click.option("--seed", metavar="N", type=int, help="Seed of the training.  [default: 0]"),
    click.option(
        "--init-seed",
        metavar="N",
        type=int,
        help="Seed of where the adapter starts: the same for all vectors of a base, or sums of them"
        " mean nothing.  [default: 0]",
    ),
    click.option(
        "--data-seed",
        metavar="N",
        type=int,
        help="Seed of the order of the data and the splits of texts.  [default: --seed]",
    ),
    _count("--validate-every", "Steps between validations.  [default: a tenth of the steps]"),
    _count(
        "--patience",
        "Stop after so many validations without a better loss, and keep the best.",
    ),
)
RESULT_OPTIONS: Final = (
    text_option(
        "--name", metavar="NAME", help="In the catalogue.  [default: TASK-CODE or lm-CODE]"
    ),
    text_option("--license", help="Licence of the adapter, such as apache-2.0."),
    click.option(
        "--output", type=Folder(file_okay=False), help="Leave the PEFT folder there as well."
    ),
    click.option(
        "--tensorboard", type=Folder(file_okay=False), help="Folder for TensorBoard's log."
    ),
    json_option,
)


def _with(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Decorated], Decorated]:
    def add(command: Decorated) -> Decorated:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


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
@_count("--workers", "With --ray: most runs at a time.  [default: one for each GPU, or CPU]")
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
    _needs_lab()
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
@_with(BASE_OPTIONS)
@text_option(
    "--language",
    metavar="CODE",
    required=True,
    help="Language of the text; several joined by commas for one multilingual vector.",
)
@_with(DATA_OPTIONS)
@text_option("--text-field", metavar="NAME", help="Field that holds the text.  [default: text]")
@_with(TRAINING_OPTIONS, RESULT_OPTIONS)
@click.pass_obj
def lm(settings: Settings, /, text_field: str | None, **given: Any) -> None:
    """Train a language vector on unlabelled text.

    The objective is T5's prefix-LM: every text is split at a random place, the model reads what is
    before and the loss is on what comes after.
    """
    _needs_lab()
    from ..lab.data.fields import Fields
    from ..lab.training.run import train_lm

    as_json, base, chosen, rest = _taken_apart(given)
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
@_with(BASE_OPTIONS)
@text_option(
    "--language",
    metavar="CODE",
    required=True,
    help="Language of the data; several joined by commas for one multilingual vector.",
)
@text_option("--task", metavar="TASK", required=True, help="Name of the task, such as xlsum.")
@_with(DATA_OPTIONS)
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
@_count("--max-target-length", "Most tokens of a target.  [default: 128, or half of --max-length]")
@_with(TRAINING_OPTIONS, RESULT_OPTIONS)
@click.pass_obj
def task(
    settings: Settings, /, source_field: str | None, target_field: str | None, **given: Any
) -> None:
    """Train a task vector on labelled data.

    The model reads the source and writes the target; the loss is on the target alone.
    """
    _needs_lab()
    from ..lab.data.fields import Fields
    from ..lab.training.run import train_task

    as_json, base, chosen, rest = _taken_apart(given)
    fields = Fields(source_field, target_field)
    with settings.open_hub() as hub:
        trained = train_task(hub, base, fields=fields, settings=chosen, progress=True, **rest)
    _print_trained(trained, as_json)


def _taken_apart(given: dict[str, Any]) -> tuple[bool, Any, TrainingSettings, dict[str, Any]]:
    """The options as they belong together: output, base model, settings, and the rest."""
    from ..lab.training.request import choose_base
    from ..lab.training.settings import Settings as TrainingSettings

    if given.get("prompt") is not None:
        given["prompt"] = given["prompt"].replace("\\n", "\n")
    said = {name: given.pop(name, None) for name in _SETTINGS}
    chosen = TrainingSettings(**{name: value for name, value in said.items() if value is not None})
    base = choose_base(
        given.pop("base"),
        name=given.pop("base_name"),
        revision=given.pop("revision"),
        dtype=given.pop("dtype"),
        device=given.pop("device"),
    )
    return given.pop("as_json"), base, chosen, given


def _needs_lab() -> None:
    try:
        import peft  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"training needs {error.name}, which is not installed: pip install 'isogloss[lab]'"
        ) from error


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

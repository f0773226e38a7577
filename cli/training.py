"""The options that the commands which train share, and what they mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from .base_model import choose_given
from .options import Folder, Options, Text, count_option, json_option, text_option

if TYPE_CHECKING:
    from ..lab.training.request import BaseChoice
    from ..lab.training.settings import Settings

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


DATA_OPTIONS: Final[Options] = (
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
    count_option("--limit", "Use no more than this many rows of every source."),
)
TRAINING_OPTIONS: Final[Options] = (
    count_option("--steps", "Steps of the optimizer.  [default: 5000]"),
    count_option("--batch-size", "Examples that go through the model at once.  [default: 8]"),
    count_option("--accumulation", "Batches in one step.  [default: 1]"),
    click.option(
        "--learning-rate",
        metavar="X",
        type=float,
        help="At the first step; it falls to zero in a straight line.  [default: 2e-4]",
    ),
    count_option("--max-length", "Most tokens of an example.  [default: 512]", 8),
    text_option(
        "--peft",
        metavar="TYPE",
        help="lora, lokr (the paper's Kronecker adapter), or another PEFT type.  [default: lora]",
    ),
    count_option("--rank", "Rank of the adapter.  [default: 4; of lokr, a full second factor]"),
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
    count_option("--validate-every", "Steps between validations.  [default: a tenth of the steps]"),
    count_option(
        "--patience",
        "Stop after so many validations without a better loss, and keep the best.",
    ),
)
RESULT_OPTIONS: Final[Options] = (
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


def taken_apart(
    given: dict[str, Any],
) -> tuple[bool, BaseChoice, Settings, dict[str, Any]]:
    """The options as they belong together: output, base model, settings, and the rest."""
    from ..lab.training.settings import Settings

    if given.get("prompt") is not None:
        given["prompt"] = given["prompt"].replace("\\n", "\n")
    said = {name: given.pop(name, None) for name in _SETTINGS}
    chosen = Settings(**{name: value for name, value in said.items() if value is not None})
    base = choose_given(given)
    return given.pop("as_json"), base, chosen, given

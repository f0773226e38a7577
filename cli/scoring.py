"""What the commands that score and generate share: options, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from .options import Options, count_option, text_option

if TYPE_CHECKING:
    from ..hub.composition import Request
    from ..lab.data.records import Pair
    from ..lab.scoring.dataset import Dataset

_MEANING: Final = ("parameters", "semantics", "task", "peft", "distances", "memory")
_SETTINGS: Final = (
    "prompt",
    "max_length",
    "max_target_length",
    "beams",
    "batch_tokens",
    "rouge_tokenizer",
    "resamples",
    "seed",
)


DATA_OPTIONS: Final[Options] = (
    text_option(
        "--data",
        metavar="SOURCE",
        required=True,
        help="Labelled pairs: a .jsonl, .parquet, .csv or .tsv file (also .gz), or a data set:"
        " NAME[:CONFIGURATION[:SPLIT]][@REVISION].",
    ),
    text_option("--language", metavar="CODE", required=True, help="Language of the references."),
    text_option(
        "--split",
        metavar="NAME",
        help="What the data are, such as test or validation.  [default: the data set's split, or"
        " what the file's name says]",
    ),
    count_option("--limit", "Use no more than this many pairs, from the beginning."),
    text_option(
        "--source-field",
        metavar="NAME",
        help="Field of what is read.  [default: as XL-Sum, TyDi QA and SQuAD have it, or source]",
    ),
    text_option(
        "--target-field",
        metavar="NAME",
        help="Field of the reference.  [default: likewise, or target]",
    ),
)
LENGTH_OPTIONS: Final[Options] = (
    count_option(
        "--max-length",
        "Most tokens of an example.  [default: as the adapter was trained, else 512]",
    ),
    count_option(
        "--max-target-length",
        "Most tokens that are written, and kept free of the source.  [default: likewise, else 128]",
    ),
    count_option("--beams", "Beams of the search; nothing is drawn at random.  [default: 1]"),
    count_option(
        "--batch-tokens",
        "Most tokens of a padded batch: lower it when memory runs out.  [default: 2048]",
    ),
)
READING_OPTIONS: Final[Options] = (
    text_option(
        "--prompt",
        metavar="TEXT",
        help="What is read, with {source} in it; \\n is a line break.  [default: as the adapter was"
        " trained, else {source}\\n]",
    ),
    *LENGTH_OPTIONS,
)
INTERVAL_OPTIONS: Final[Options] = (
    text_option(
        "--rouge-tokenizer",
        metavar="MODEL",
        help="Whose tokens rouge2-spm counts: an id at the Hub, a folder, or a .model file of"
        " SentencePiece.  [default: google/mt5-small]",
    ),
    count_option("--resamples", "Resamples of the bootstrap.  [default: 10000]"),
    click.option("--seed", metavar="N", type=int, help="Seed of the bootstrap.  [default: 0]"),
)


def settings_given(given: dict[str, Any]) -> dict[str, Any]:
    """Take the settings that were said out of a command's options."""
    said = {name: given.pop(name, None) for name in _SETTINGS}
    if said["prompt"] is not None:
        said["prompt"] = said["prompt"].replace("\\n", "\n")
    return {name: value for name, value in said.items() if value is not None}


def request_given(expression: str, given: dict[str, Any]) -> Request:
    """Take what bears on an expression's meaning out of a command's options."""
    from ..hub.meaning import request_of

    said = {name: given.pop(name, None) for name in _MEANING}
    return request_of(expression, **said)


def read_data(given: dict[str, Any]) -> tuple[list[Pair], Dataset]:
    """Take the data out of a command's options, and read them.

    Raises:
        DataError: they cannot be read, or are none.
    """
    from ..lab.data.fields import Fields
    from ..lab.data.records import read_pairs
    from ..lab.scoring.dataset import describe_dataset

    source, split, limit = (given.pop(name) for name in ("data", "split", "limit"))
    fields = Fields(given.pop("source_field"), given.pop("target_field"))
    pairs = list(read_pairs(source, fields, language=given["language"], limit=limit))
    return pairs, describe_dataset(source, split=split, limit=limit)


def dataset_json(dataset: Dataset) -> dict[str, Any]:
    """What the data of a score are."""
    return {
        "dataset": dataset.name,
        "dataset_revision": dataset.revision,
        "fingerprint": dataset.fingerprint,
        "split": dataset.split,
    }


def number(metric: str, value: float) -> str:
    """A score as it is printed: points with two digits, bits with four.

    >>> number("rouge2", 12.3456), number("bpb", 1.23456)
    ('12.35', '1.2346')
    """
    return f"{value:.4f}" if metric == "bpb" else f"{value:.2f}"


def span(metric: str, low: float | None, high: float | None) -> str:
    """An interval as it is printed; nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"{number(metric, low)} to {number(metric, high)}"


def names_given(
    ctx: click.Context, option: click.Parameter, given: Sequence[str]
) -> tuple[str, ...]:
    """Split what is joined by commas."""
    return tuple(name.strip() for text in given for name in text.split(",") if name.strip())

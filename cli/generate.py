"""The command that lets a base model write with an adapter or an expression on it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .base_model import base_options, for_base, load_given, needs_lab
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
from .output import print_json, print_text, print_title
from .scoring import LENGTH_OPTIONS, request_given, settings_given


@click.command(
    cls=ExpressionCommand,
    epilog="""\b
Examples:
  isogloss generate xlsum-yo --base ./smollm2 --prompt 'Odò kún ní òru.'
  isogloss generate 'exact(task[en] + 0.5*(lm[yo] - lm[en]))' --base ./smollm2 --file yo.txt
  isogloss generate base --base ./smollm2 --file yo.jsonl --field body --json
""",
)
@click.argument("adapter", metavar="NAME|EXPRESSION")
@with_options(base_options())
@text_option(
    "--prompt", "prompts", metavar="TEXT", multiple=True, help="What to read. May be repeated."
)
@click.option(
    "--file",
    "path",
    type=Folder(),
    metavar="FILE",
    help="What to read: a text a line (.txt), or rows of a .jsonl, .parquet, .csv or .tsv file; -"
    " reads lines from standard input.",
)
@text_option("--field", metavar="NAME", help="Field of the file's rows to read.  [default: text]")
@text_option(
    "--template",
    metavar="TEXT",
    help="What is put around each prompt, with {source} in it; \\n is a line break.  [default: as"
    " the adapter was trained, else {source}\\n]",
)
@with_options(LENGTH_OPTIONS)
@expression_options
@json_option
@click.pass_obj
def generate(
    settings: Settings,
    /,
    adapter: str,
    prompts: tuple[str, ...],
    path: Path | None,
    field: str | None,
    template: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Write what follows each prompt, with an adapter on its base.

    NAME is an adapter of the catalogue, EXPRESSION is composed in memory, and 'base' is the bare
    base model. The likeliest continuation is written, the same each time.
    """
    if (path is None) == (not prompts):
        raise click.UsageError("give either --prompt TEXT or --file FILE")
    needs_lab()
    from ..lab.generation import write

    read = list(prompts) if path is None else _read(path, field)
    chosen = settings_given({**given, "prompt": template})
    text = read_expression(adapter)
    with settings.open_hub() as hub:
        request = for_base(hub, request_given(text, given), given)
        outputs = write(
            hub, text, load_given(given), read, settings=chosen, request=request, progress=True
        )
    if as_json:
        print_json(
            [{"prompt": one, "output": output} for one, output in zip(read, outputs, strict=True)]
        )
    else:
        _print(read, outputs)


def _read(path: Path, field: str | None) -> list[str]:
    if str(path) == "-":
        return [line.rstrip("\n") for line in sys.stdin if line.strip()]
    from ..lab.data.fields import Fields
    from ..lab.data.records import read_texts

    return [one.text for one in read_texts(path, Fields(text=field))]


def _print(prompts: Sequence[str], outputs: Sequence[str]) -> None:
    if len(outputs) == 1:
        print_text(outputs[0])
        return
    for prompt, output in zip(prompts, outputs, strict=True):
        shown = " ".join(prompt.split())
        print_title(shown if len(shown) <= 80 else f"{shown[:79]}…")
        print_text(output)

"""The command that merges an adapter into its base model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .base_model import base_options, for_base, load_given, needs_lab
from .errors import InputError
from .options import (
    ExpressionCommand,
    Folder,
    Settings,
    expression_options,
    json_option,
    read_expression,
    with_options,
)
from .output import print_fields, print_json, print_text, size
from .scoring import request_given


@click.command(
    cls=ExpressionCommand,
    epilog="""\b
Examples:
  isogloss export xlsum-yo --into-base ./smollm2-xlsum-yo
  isogloss export 'exact(task[en] + 0.5*(lm[yo] - lm[en]))' --base ./smollm2 \\
      --into-base ./smollm2-yo --dtype bfloat16
""",
)
@click.argument("adapter", metavar="NAME|EXPRESSION")
@click.option(
    "--into-base",
    "output",
    type=Folder(),
    metavar="FOLDER",
    required=True,
    help="Write the merged model there; it must not exist yet, or be empty.",
)
@with_options(base_options(required=False))
@expression_options
@json_option
@click.pass_obj
def export(settings: Settings, /, adapter: str, output: Path, as_json: bool, **given: Any) -> None:
    """Write a model with an adapter merged into the base's own weights.

    The result is a model like the base, as fast and with the same tokenizer, that needs no peft.
    It is loaded again and compared with the base that has the adapter on it, before the folder gets
    its name. Every PEFT type that peft can merge will do.
    """
    needs_lab()
    from ..hub.output_folder import refuse_taken
    from ..lab.export import export as carry_out
    from ..lab.scoring.adapter import named, without_tensors

    refuse_taken(output.expanduser().absolute())
    text = read_expression(adapter)
    with settings.open_hub() as hub:
        request = request_given(text, given)
        if given["base"] is None:
            record = named(hub, text)
            given["base"] = (
                record.base_model if record else without_tensors(hub, text, request).base_model
            )
            if given["base"] is None:
                raise InputError(f"no base model is recorded for {text}: give it with --base MODEL")
        request = for_base(hub, request, given)
        exported = carry_out(hub, text, load_given(given), output, request=request)
    if as_json:
        print_json(
            {
                "folder": str(exported.folder),
                "adapter": exported.adapter,
                "base": exported.base,
                "size": exported.size_bytes,
                "apart": exported.apart,
                "untied": exported.untied,
            }
        )
        return
    print_text(f"{exported.adapter}, merged into {exported.base}, is in {exported.folder}")
    untied = "input and output embeddings are two matrices now" if exported.untied else None
    print_fields(
        (
            ("size", size(exported.size_bytes)),
            ("logits", f"{exported.apart:.1e} of their size from those of the unmerged model"),
            ("embeddings", untied),
        ),
        indent="  ",
    )

"""Commands that make adapters and prove what they are made of: compose and verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import DAMAGED, exit_code, warn
from .options import (
    ExpressionCommand,
    Folder,
    Settings,
    Text,
    expression_argument,
    json_option,
    meaning_options,
    read_expression,
    text_option,
)
from .output import print_fields, print_json, print_text, print_title, size
from .records import parents_json, print_parents

if TYPE_CHECKING:
    from ..hub.result import Composed
    from ..hub.verification import Verification


@click.command(
    cls=ExpressionCommand,
    epilog="""\b
Examples:
  isogloss compose '0.6*task[en] + 0.4*(lm[pt] - lm[en])' --output ./xlsum-pt
  isogloss compose 'mean(task[en|ar|ru])' --name acme/xlsum-yo --result-language yo
  isogloss compose 'exact("acme/xlsum-en@v2" - 0.5*lm[en])' --dtype float32 --output ./x
  isogloss compose @steer.iso --set S=en --set T=yo --set m=0.5 --json
""",
)
@expression_argument
@text_option(
    "--name",
    metavar="NAME",
    help="Put the result into the catalogue under NAME or OWNER/NAME.  [default without --output:"
    " composed-DIGEST]",
)
@click.option(
    "--output",
    type=Folder(),
    metavar="FOLDER",
    help="Write the result as a PEFT folder; it must not exist yet, or be empty.",
)
@meaning_options
@text_option(
    "--result-language",
    metavar="CODE",
    multiple=True,
    help="Language that the result is for. May be repeated.",
)
@text_option("--result-task", metavar="TASK", help="Task that the result is for.")
@text_option("--license", help="Licence of the result.")
@text_option("--note", help="Anything else worth knowing about the result.")
@json_option
@click.pass_obj
def compose(
    settings: Settings,
    /,
    expression: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a new adapter from an expression.

    EXPRESSION is arithmetic on adapters: the text itself, @FILE to read it from a file, or - for
    standard input. 'isogloss explain' shows what it means, 'isogloss functions' what it can call.

    The result is an ordinary PEFT adapter with its provenance. What was composed before is not
    composed again.
    """
    text = read_expression(expression)
    with settings.open_hub() as hub:
        composed = hub.compose(text, **options)
    warn(composed.warnings)
    if as_json:
        print_json(_composed_json(composed))
    else:
        _print_composed(composed)


@click.command(
    epilog="""\b
Examples:
  isogloss verify ./xlsum-pt
  isogloss verify acme/xlsum-yo@v2 --json
"""
)
@click.argument("target", type=Text())
@json_option
@click.pass_obj
def verify(settings: Settings, /, target: str, as_json: bool) -> None:
    """Prove that an adapter is what it claims to be.

    TARGET is a folder that 'isogloss compose --output' wrote, or the name of an adapter. Every
    file is compared with its digest; what was composed is made again from its parents, and must
    be equal byte for byte. What differs is named, and the exit code is 6 then.
    """
    is_path = target.startswith((".", "~", "/"))
    with settings.open_hub() as hub:
        try:
            verification = hub.verify(Path(target) if is_path else target)
        except Exception as error:
            if as_json and exit_code(error) == DAMAGED:
                print_json({"target": target, "ok": False, "problem": str(error)})
            raise
    if as_json:
        print_json(_verification_json(verification))
        return
    for check in verification.checks:
        print_text(f"ok  {check.subject}: {check.detail}")


def _composed_json(composed: Composed) -> dict[str, Any]:
    return {
        "name": composed.name,
        "version": composed.version,
        "output": None if composed.output is None else str(composed.output),
        "created": composed.created,
        "digest": composed.digest,
        "config_digest": composed.config_digest,
        "canonical": composed.canonical,
        "semantics": composed.semantics,
        "rank": composed.rank,
        "dtype": composed.dtype,
        "size": composed.size_bytes,
        "parents": parents_json(composed.parents),
        "warnings": list(composed.warnings),
    }


def _print_composed(composed: Composed) -> None:
    if composed.name is not None:
        label = f"{composed.name}@v{composed.version}"
        print_text(f"Composed {label}" if composed.created else f"{label} is the same already")
    if composed.output is not None:
        print_text(f"Written to {composed.output}")
    print_fields(
        (
            ("semantics", composed.semantics),
            ("rank", composed.rank),
            ("dtype", composed.dtype),
            ("size", size(composed.size_bytes)),
            ("digest", composed.digest),
        ),
        indent="  ",
    )
    print_title("Parents")
    print_parents(composed.parents)


def _verification_json(verification: Verification) -> dict[str, Any]:
    return {
        "target": verification.target,
        "ok": True,
        "digest": verification.digest,
        "checks": [
            {"subject": check.subject, "detail": check.detail} for check in verification.checks
        ],
    }

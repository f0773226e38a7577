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
    json_option,
    meaning_options,
    memory_option,
    read_expression,
    text_option,
)
from .output import Column, print_fields, print_json, print_table, print_text, print_title, size
from .records import parents_json, print_parents, short
from .series import Outcome, Series, check_patterns, compose_each, read_series
from .workings import print_workings, working_json

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
  isogloss compose 'add(en, $T, 0.6)' --each T=yo,ne,si --name 'xlsum-{T}' --result-language '{T}'
  isogloss compose --again acme/xlsum-yo
""",
)
@click.argument("expression", metavar="EXPRESSION", required=False)
@text_option(
    "--again",
    metavar="NAME",
    help="Instead of EXPRESSION: compose what NAME says from the adapters of today, as its next"
    " version.",
)
@text_option(
    "--each",
    "series",
    metavar="NAME=VALUES",
    multiple=True,
    callback=read_series,
    help="Compose one result for each value of a parameter, such as T=yo,ne,si. {T} stands for the"
    " value in --name, --output and --result-language. What fails does not stop the others.",
)
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
@click.pass_context
def compose(
    ctx: click.Context,
    /,
    expression: str | None,
    again: str | None,
    series: Series | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a new adapter from an expression.

    EXPRESSION is arithmetic on adapters: the text itself, @FILE to read it from a file, or - for
    standard input. 'isogloss explain' shows what it means, 'isogloss functions' what it can call.

    The result is an ordinary PEFT adapter with its provenance. What was composed before is not
    composed again.
    """
    settings: Settings = ctx.obj
    if again is not None:
        _refuse_all_but_again(ctx)
        _compose_again(settings, again, as_json)
        return
    if expression is None:
        raise click.MissingParameter(ctx=ctx, param=_parameter(ctx, "expression"))
    if series is not None:
        check_patterns(series, options)
    text = read_expression(expression)
    if series is not None:
        ctx.exit(_compose_each(settings, text, series, options, as_json))
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
  isogloss verify acme/xlsum-yo --fetch
"""
)
@click.argument("target", type=Text())
@click.option(
    "--fetch",
    is_flag=True,
    help="Get what is not here: parents from where the lock says that they are published, for the"
    " proof alone, and the weights of an adapter that was imported, to stay.",
)
@memory_option
@json_option
@click.pass_obj
def verify(
    settings: Settings, /, target: str, fetch: bool, memory: str | None, as_json: bool
) -> None:
    """Prove that an adapter is what it claims to be.

    TARGET is a folder that 'isogloss compose --output' wrote, or the name of an adapter. Weights,
    configuration and lock are compared with their digests; what was composed is made again from
    its parents, and must be equal byte for byte, or within the tolerance of its lock where
    matrices were decomposed. README.md is for people and may be mended: it is not compared. What
    differs is named, and the exit code is 6 then.
    """
    is_path = target.startswith((".", "~", "/"))
    with settings.open_hub() as hub:
        try:
            verification = hub.verify(
                Path(target) if is_path else target, fetch=fetch, memory=memory
            )
        except Exception as error:
            if as_json and exit_code(error) == DAMAGED:
                print_json({"target": target, "ok": False, "problem": str(error)})
            raise
    if as_json:
        print_json(_verification_json(verification))
        return
    for check in verification.checks:
        print_text(f"ok  {check.subject}: {check.detail}")


def _parameter(ctx: click.Context, name: str) -> click.Parameter:
    return next(one for one in ctx.command.params if one.name == name)


def _refuse_all_but_again(ctx: click.Context) -> None:
    """Refuse whatever says differently what the version to be made again says already."""
    for name in ctx.params:
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in ("again", "as_json"):
            hint = _parameter(ctx, name).get_error_hint(ctx)
            raise click.UsageError(
                f"--again takes everything from the version that it makes again; leave out {hint}"
            )


def _compose_again(settings: Settings, name: str, as_json: bool) -> None:
    with settings.open_hub() as hub:
        before = hub.show(name)
        composed, changes = hub.compose_again(before.label)
    warn(composed.warnings)
    if as_json:
        print_json(_composed_json(composed) | {"again": before.label, "changes": list(changes)})
        return
    _print_composed(composed)
    if changes:
        print_title(f"Difference to {before.label}")
        for change in changes:
            print_text(f"  {change}")
    else:
        print_text()
        print_text(f"Made of the same as {before.label}")


def _compose_each(
    settings: Settings, text: str, series: Series, options: dict[str, Any], as_json: bool
) -> int:
    """Compose a series, and return the exit code of the first failure."""
    from ..dsl.text.parse import parse

    parse(text)  # what is no program at all is wrong for every value: said once, and not begun
    with settings.open_hub() as hub:
        outcomes = list(compose_each(hub, text, series, options))
    for outcome in outcomes:
        if outcome.composed is not None:
            warn(f"{series.parameter}={outcome.value}: {one}" for one in outcome.composed.warnings)
    if as_json:
        print_json([_outcome_json(outcome) for outcome in outcomes])
    else:
        print_table(
            (Column(series.parameter), Column("outcome", wrap=True), Column("digest")),
            [_outcome_row(outcome) for outcome in outcomes],
        )
    return next((outcome.code for outcome in outcomes if outcome.code), 0)


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    composed = outcome.composed
    return {
        "value": outcome.value,
        "ok": composed is not None,
        "error": outcome.error,
        "exit_code": outcome.code,
        "composed": None if composed is None else _composed_json(composed),
    }


def _outcome_row(outcome: Outcome) -> tuple[str, str, str]:
    composed = outcome.composed
    if composed is None:
        first, *_ = (outcome.error or "").splitlines() or [""]
        return outcome.value, f"failed: {first}", ""
    return outcome.value, "; ".join(_outcome_words(composed)), short(composed.digest)


def _outcome_words(composed: Composed) -> list[str]:
    """Return in words where a result went."""
    words = []
    if composed.name is not None:
        label = f"{composed.name}@v{composed.version}"
        words.append(f"Composed {label}" if composed.created else f"{label} is the same already")
    if composed.output is not None:
        words.append(f"Written to {composed.output}")
    return words


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
        "functions": [working_json(one) for one in composed.workings],
        "warnings": list(composed.warnings),
    }


def _print_composed(composed: Composed) -> None:
    for words in _outcome_words(composed):
        print_text(words)
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
    if composed.workings:
        print_title("Functions")
        print_workings(composed.workings)


def _verification_json(verification: Verification) -> dict[str, Any]:
    return {
        "target": verification.target,
        "ok": True,
        "digest": verification.digest,
        "checks": [
            {"subject": check.subject, "detail": check.detail} for check in verification.checks
        ],
    }

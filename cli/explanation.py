"""Commands on what expressions mean: explain and functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from .errors import warn
from .languages import print_evidence, selection_json, warnings_of
from .options import (
    ExpressionCommand,
    Settings,
    expression_argument,
    json_option,
    meaning_options,
    read_expression,
)
from .output import Column, print_fields, print_json, print_table, print_text, print_title, size
from .records import outdated_json, parents_json, print_outdated, print_parents

if TYPE_CHECKING:
    from ..dsl.functions import Function
    from ..dsl.relatedness import Selection
    from ..dsl.tensors.divergence import Distance, Divergence
    from ..hub.composition import Explanation

_DISTANCES: Final = (
    Column("layer"),
    Column("norm of exact", number=True),
    Column("of this", number=True),
    Column("of difference", number=True),
    Column("relative", number=True),
    Column("cosine", number=True),
)


@click.command(
    cls=ExpressionCommand,
    epilog="""\b
Examples:
  isogloss explain '0.6*task[en] + 0.4*(lm[pt] - lm[en])'
  isogloss explain 'mean(task[en|ar|ru])' --semantics exact
  isogloss explain 'mean(task[related(yo)])' --distances mine.tsv
  isogloss explain @steer.iso --set S=en --set T=yo --json
""",
)
@expression_argument
@meaning_options
@json_option
@click.pass_obj
def explain(settings: Settings, /, expression: str, as_json: bool, **meaning: Any) -> None:
    """Say what an expression means, without composing it.

    Shows which adapters it chooses and why, the sum that it comes to, what the result would be,
    and how far it would lie from the exact sum of the updates: relative is the norm of the
    difference over that of the exact sum. EXPRESSION is the text itself, @FILE to read it from a
    file, or - for standard input.
    """
    text = read_expression(expression)
    with settings.open_hub() as hub:
        explanation = hub.explain(text, **meaning)
    warn(explanation.warnings)
    for selection in _selections(explanation):
        warn(warnings_of(selection))
    if as_json:
        print_json(_explanation_json(explanation))
    else:
        _print_explanation(explanation)


@click.command(
    epilog="""\b
Examples:
  isogloss functions
  isogloss functions --json
"""
)
@json_option
def functions(as_json: bool) -> None:
    """List the functions that expressions can call.

    Each with its arguments, what it gives, its formula, and where that comes from. Recipes can be
    called too; 'isogloss recipe list' lists those.
    """
    from ..dsl.functions import FUNCTIONS

    if as_json:
        print_json([_function_json(function) for function in FUNCTIONS])
        return
    for function in FUNCTIONS:
        print_text(click.style(function.signature, bold=True))
        print_text(f"  {function.summary}")
        print_fields(
            (
                ("formula", function.formula),
                ("gives", "an adapter" if function.result == "adapter" else "languages, in [ ]"),
                ("source", function.citation),
            ),
            indent="  ",
        )
        print_text()


def _selections(explanation: Explanation) -> tuple[Selection, ...]:
    """Return the choices of languages in it, each once: two selectors may ask the same."""
    return tuple(dict.fromkeys(one for choice in explanation.choices for one in choice.selections))


def _explanation_json(explanation: Explanation) -> dict[str, Any]:
    return {
        "program": explanation.program,
        "choices": [
            {
                "selector": choice.selector,
                "adapters": list(choice.labels),
                "why": choice.why,
                "selections": [selection_json(selection) for selection in choice.selections],
            }
            for choice in explanation.choices
        ],
        "terms": parents_json(explanation.terms),
        "canonical": explanation.canonical,
        "digest": explanation.digest,
        "semantics": explanation.semantics,
        "rank": explanation.rank,
        "dtype": explanation.dtype,
        "size": explanation.size_bytes,
        "bytes_to_read": explanation.bytes_to_read,
        "warnings": list(explanation.warnings),
        "divergence": None
        if explanation.divergence is None
        else _divergence_json(explanation.divergence),
        "outdated": [outdated_json(entry) for entry in explanation.renewals],
    }


def _print_explanation(explanation: Explanation) -> None:
    print_text(explanation.program)
    print_title("Chosen")
    print_table(
        (Column("part"), Column("adapters", wrap=True), Column("why", wrap=True)),
        [(choice.selector, " ".join(choice.labels), choice.why) for choice in explanation.choices],
    )
    for selection in _selections(explanation):
        print_evidence(selection)
    print_title("Sum")
    print_parents(explanation.terms)
    print_title("Result")
    print_fields(
        (
            ("semantics", explanation.semantics),
            ("rank", explanation.rank),
            ("dtype", explanation.dtype),
            ("size", size(explanation.size_bytes)),
            ("to read", size(explanation.bytes_to_read)),
            ("canonical", explanation.canonical),
            ("plan digest", explanation.digest),
        ),
        indent="  ",
    )
    if explanation.divergence is not None:
        print_title("Distance from the exact sum of updates")
        _print_divergence(explanation.divergence)
    if explanation.renewals:
        print_title("Chosen, and outdated: composed anew they would be others")
        print_outdated(explanation.renewals)


def _divergence_json(divergence: Divergence) -> dict[str, Any]:
    return {
        "total": _distance_json(divergence.total),
        "layers": [
            {"layer": layer.layer}
            | _distance_json(layer.distance)
            | {
                "modules": [
                    {"module": one.module} | _distance_json(one.distance) for one in layer.modules
                ]
            }
            for layer in divergence.layers
        ],
    }


def _distance_json(distance: Distance) -> dict[str, float | None]:
    return {
        "exact_norm": distance.exact_norm,
        "result_norm": distance.result_norm,
        "difference_norm": distance.difference_norm,
        "relative": distance.relative,
        "cosine": distance.cosine,
    }


def _print_divergence(divergence: Divergence) -> None:
    rows = [("all", divergence.total)]
    rows += [(layer.layer, layer.distance) for layer in divergence.layers]
    print_table(
        _DISTANCES,
        [
            (
                name,
                f"{distance.exact_norm:.4g}",
                f"{distance.result_norm:.4g}",
                f"{distance.difference_norm:.4g}",
                "" if distance.relative is None else f"{distance.relative:.4f}",
                "" if distance.cosine is None else f"{distance.cosine:.4f}",
            )
            for name, distance in rows
        ],
    )


def _function_json(function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "signature": function.signature,
        "parameters": [
            {
                "name": parameter.name,
                "type": parameter.type,
                "required": parameter.required,
                "default": parameter.default,
                "variadic": parameter.variadic,
                "choices": list(parameter.choices),
            }
            for parameter in function.parameters
        ],
        "result": function.result,
        "summary": function.summary,
        "formula": function.formula,
        "citation": function.citation,
    }

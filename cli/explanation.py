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
from .types import print_types, types_json
from .workings import print_workings, working_json

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
    difference over that of the exact sum. Of weights that are not here yet nothing but the header
    is read, at the hub; what would be downloaded is listed.

    EXPRESSION is the text itself, @FILE to read it from a file, or - for standard input.
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
    """List the functions that expressions can call, and what holds for which PEFT type.

    Each function with its arguments, what it gives, its formula, and where that comes from; recipes
    can be called too, 'isogloss recipe list' lists those. Each PEFT type with what its sums are,
    and why others are refused.
    """
    from ..dsl.functions import FUNCTIONS

    if as_json:
        print_json({"functions": [_function_json(one) for one in FUNCTIONS], **types_json()})
        return
    for function in FUNCTIONS:
        print_text(click.style(function.signature, bold=True))
        print_text(f"  {function.summary}")
        print_fields(
            (
                ("formula", function.formula),
                *_meanings(function),
                ("gives", "an adapter" if function.result == "adapter" else "languages, in [ ]"),
                ("source", function.citation),
            ),
            indent="  ",
        )
        print_text()
    print_types()


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
        "functions": [working_json(one) for one in explanation.workings],
        "divergence": None
        if explanation.divergence is None
        else _divergence_json(explanation.divergence),
        "downloads": [
            {
                "adapter": one.label,
                "source": one.source,
                "commit": one.commit,
                "size": one.size_bytes,
            }
            for one in explanation.downloads
        ],
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
    if explanation.workings:
        print_title("Functions, from the innermost on")
        print_workings(explanation.workings)
    if explanation.divergence is not None:
        print_title("Distance from the exact sum of updates")
        _print_divergence(explanation.divergence)
    if explanation.downloads:
        print_title("To be downloaded first")
        print_table(
            (Column("adapter"), Column("size", number=True), Column("from"), Column("commit")),
            [
                (one.label, size(one.size_bytes), one.source, one.commit[:12])
                for one in explanation.downloads
            ],
        )
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


def _meanings(function: Function) -> list[tuple[str, str]]:
    """Return what a function that is not linear works on, by semantics."""
    if function.works_on == "values":
        return [("elementwise", function.elementwise), ("exact", function.exact)]
    return [("works on", "the true update of each module")] if function.works_on else []


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
                "range": parameter.range.words if parameter.range else None,
            }
            for parameter in function.parameters
        ],
        "result": function.result,
        "summary": function.summary,
        "formula": function.formula,
        "works_on": function.works_on,
        "elementwise": function.elementwise or None,
        "exact": function.exact or None,
        "citation": function.citation,
    }

"""The command that shows two versions side by side: diff."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from .options import Settings, Text, json_option
from .output import Column, print_fields, print_json, print_table, print_text, print_title

if TYPE_CHECKING:
    from ..dsl.tensors.comparison import Comparison, Updates
    from ..dsl.tensors.value_comparison import ValueComparison
    from ..hub.difference import Difference, FieldDifference

_UPDATES: Final = (
    Column("layer"),
    Column("norm of first", number=True),
    Column("of second", number=True),
    Column("of difference", number=True),
    Column("cosine", number=True),
    Column("columns shared", number=True),
    Column("rows shared", number=True),
)
_VALUES: Final = (
    Column("tensor"),
    Column("norm of first", number=True),
    Column("of second", number=True),
    Column("of difference", number=True),
    Column("cosine", number=True),
)
_MOST_VALUES: Final = 12
_FIELDS: Final = (Column("field"), Column("first", wrap=True), Column("second", wrap=True))


@click.command(
    epilog="""\b
Examples:
  isogloss diff acme/xlsum-yo@v1 acme/xlsum-yo@v2
  isogloss diff lm-en lm-yo --json
"""
)
@click.argument("first", type=Text(), metavar="NAME")
@click.argument("second", type=Text(), metavar="OTHER")
@json_option
@click.pass_obj
def diff(settings: Settings, /, first: str, second: str, as_json: bool) -> None:
    """Show how two adapters differ.

    NAME and OTHER are NAME (its latest version), NAME@v2, or sha256:PREFIX of the weights. The
    updates that they make are compared layer by layer: their norms, that of their difference, the
    cosine of the angle between them, and which part of the directions that one writes (columns)
    and reads (rows) the other has too. Then tensors that are no part of such updates (heads,
    norms, prompts, vectors), and what their configurations say differently, and what
    is known of their making. That they differ is an answer, not an error.
    """
    with settings.open_hub() as hub:
        found = hub.diff(first, second)
    if as_json:
        print_json(_difference_json(found))
    else:
        _print_difference(found)


def _difference_json(found: Difference) -> dict[str, Any]:
    return {
        "first": found.first,
        "second": found.second,
        "same_weights": found.same_weights,
        "same_configuration": found.same_configuration,
        "updates": None if found.updates is None else _updates_json(found.updates),
        "incomparable": found.incomparable,
        "values": [asdict(one) for one in found.values],
        "configuration": [_field_json(one) for one in found.configuration],
        "provenance": [_field_json(one) for one in found.provenance],
    }


def _updates_json(updates: Updates) -> dict[str, Any]:
    return {
        "total": _comparison_json(updates.total),
        "layers": [
            {"layer": layer.layer}
            | _comparison_json(layer.comparison)
            | {
                "modules": [
                    {
                        "module": one.module,
                        "first_adapts": one.first_adapts,
                        "second_adapts": one.second_adapts,
                    }
                    | _comparison_json(one.comparison)
                    for one in layer.modules
                ]
            }
            for layer in updates.layers
        ],
    }


def _comparison_json(comparison: Comparison) -> dict[str, float | None]:
    return {
        "first_norm": comparison.first_norm,
        "second_norm": comparison.second_norm,
        "difference_norm": comparison.difference_norm,
        "cosine": comparison.cosine,
        "column_overlap": comparison.column_overlap,
        "row_overlap": comparison.row_overlap,
    }


def _field_json(one: FieldDifference) -> dict[str, Any]:
    return {"field": one.field, "first": one.first, "second": one.second}


def _print_difference(found: Difference) -> None:
    print_fields(
        (
            ("first", found.first),
            ("second", found.second),
            ("weights", "the same" if found.same_weights else "differ"),
            ("configuration", "the same" if found.same_configuration else "differs"),
        )
    )
    if found.updates is None:
        print_text()
        print_text(f"The updates cannot be compared: {found.incomparable}")
    else:
        print_title("Updates")
        rows = [("all", found.updates.total)]
        rows += [(layer.layer, layer.comparison) for layer in found.updates.layers]
        print_table(_UPDATES, [(name, *_numbers(comparison)) for name, comparison in rows])
    if found.values:
        _print_values(found.values)
    sections = (("Configuration", found.configuration), ("Provenance", found.provenance))
    for title, fields in sections:
        if fields:
            print_title(title)
            print_table(
                _FIELDS, [(one.field, _shown(one.first), _shown(one.second)) for one in fields]
            )


def _print_values(values: Sequence[ValueComparison]) -> None:
    """Print the tensors that differ most, relative to their size."""
    print_title("Values" if len(values) <= _MOST_VALUES else "Values that differ most")
    order = sorted(values, key=lambda one: -one.difference_norm / (one.first_norm or 1.0))
    rows = [
        (one.tensor, *_norms(one), "" if one.cosine is None else f"{one.cosine:.4f}")
        for one in order[:_MOST_VALUES]
    ]
    print_table(_VALUES, rows)
    if len(values) > _MOST_VALUES:
        print_text(f"... and {len(values) - _MOST_VALUES} more: --json has all")


def _norms(one: Comparison | ValueComparison) -> tuple[str, str, str]:
    return f"{one.first_norm:.4g}", f"{one.second_norm:.4g}", f"{one.difference_norm:.4g}"


def _numbers(comparison: Comparison) -> tuple[str, ...]:
    parts = (comparison.cosine, comparison.column_overlap, comparison.row_overlap)
    return (
        *_norms(comparison),
        *("" if part is None else f"{part:.4f}" for part in parts),
    )


def _shown(value: Any) -> str | None:
    """Return a value as text: nothing for None, lists and mappings as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)

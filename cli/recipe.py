"""Commands on recipes, the named expressions: recipe save, list, show and remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from .errors import warn
from .options import (
    ExpressionCommand,
    Settings,
    Text,
    expression_argument,
    json_option,
    read_expression,
)
from .output import Column, cell, print_fields, print_json, print_table, print_text, print_title

if TYPE_CHECKING:
    from ..dsl.meaning.recipes import Recipe

_TAKES: Final = {"language": "a language", "scalar": "a number"}


def _declared(
    ctx: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, str | None], ...]:
    """Turn the values of `--param` into names and defaults."""
    declared: dict[str, str | None] = {}
    for text in given:
        name, equals, default = (part.strip() for part in text.partition("="))
        if not name.isidentifier() or (equals and not default):
            said = f"{text!r} is neither NAME nor NAME=DEFAULT, as in --param T or --param l=0.6"
            raise click.BadParameter(said, ctx=ctx, param=option)
        if name in declared:
            raise click.BadParameter(f"{name!r} is given twice", ctx=ctx, param=option)
        declared[name] = default or None
    return tuple(declared.items())


@click.group(
    epilog="""\b
Examples:
  isogloss recipe list
  isogloss recipe save blend 'w*task[$S] + (1-w)*lm[$T]' --param S --param T --param w=0.7
  isogloss compose 'blend(en, yo)' --name xlsum-yo
"""
)
def recipe() -> None:
    """Look after named expressions.

    A recipe is called like a function: add(en, yo, 0.6). Those of the paper are built in, and an
    expression of your own can be saved as one. Saving under a name again makes its next version.
    """


@recipe.command(
    cls=ExpressionCommand,
    epilog="""\b
Examples:
  isogloss recipe save blend 'w*task[$S] + (1-w)*lm[$T]' --param S --param T --param w=0.7
  isogloss recipe save best @best.iso --json
""",
)
@click.argument("name", type=Text())
@expression_argument
@click.option(
    "--param",
    "parameters",
    metavar="NAME[=DEFAULT]",
    multiple=True,
    callback=_declared,
    help="A parameter, in the order in which a call gives them; without a default a call has to"
    " give it. May be repeated.  [default: all that the expression has, in its order]",
)
@json_option
@click.pass_obj
def save(
    settings: Settings,
    /,
    name: str,
    expression: str,
    parameters: tuple[tuple[str, str | None], ...],
    as_json: bool,
) -> None:
    """Save an expression under a name.

    EXPRESSION is the text itself, @FILE to read it from a file, or - for standard input. In it,
    $T is a parameter that takes a language, and a bare name that is not bound one that takes a
    number.
    """
    text = read_expression(expression).strip()
    with settings.open_hub() as hub:
        saved, created = hub.save_recipe(name, text, parameters)
    if as_json:
        print_json({"saved": created} | _recipe_json(saved))
    elif created:
        print_text(f"Saved {saved.label}: {saved.function.signature}")
    else:
        print_text(f"{saved.label} is the same; nothing was saved")


@recipe.command(
    "list",
    epilog="""\b
Examples:
  isogloss recipe list
  isogloss recipe list --json
""",
)
@json_option
@click.pass_obj
def list_(settings: Settings, /, as_json: bool) -> None:
    """List the recipes.

    The built-in ones, and the latest version of every saved one.
    """
    with settings.open_hub() as hub:
        recipes = hub.recipes()
    if as_json:
        print_json([_recipe_json(one) for one in recipes.values()])
        return
    print_table(
        (Column("recipe"), Column("version"), Column("expression", wrap=True)),
        [
            (
                one.function.signature,
                "built in" if one.version is None else f"v{one.version}",
                one.text,
            )
            for one in recipes.values()
        ],
    )


@recipe.command(
    epilog="""\b
Examples:
  isogloss recipe show add_subtract
  isogloss recipe show blend@v2 --json
"""
)
@click.argument("name", type=Text())
@json_option
@click.pass_obj
def show(settings: Settings, /, name: str, as_json: bool) -> None:
    """Show one recipe.

    NAME is NAME (its latest version) or NAME@v2.
    """
    with settings.open_hub() as hub:
        found = hub.recipe(name)
    if as_json:
        print_json(_recipe_json(found))
        return
    print_text(click.style(found.function.signature, bold=True))
    if found.summary:
        print_text(f"  {found.summary}")
    print_fields(
        (
            ("version", "built in" if found.version is None else f"v{found.version}"),
            *(
                (one.name, f"{_TAKES[one.type]}{f', {one.default}' if one.default else ''}")
                for one in found.parameters
            ),
            ("source", found.citation),
        ),
        indent="  ",
    )
    print_title("Expression")
    for line in found.text.splitlines():
        print_text(f"  {cell(line)}")


@recipe.command(
    epilog="""\b
Example:
  isogloss recipe remove blend
"""
)
@click.argument("name", type=Text())
@json_option
@click.pass_obj
def remove(settings: Settings, /, name: str, as_json: bool) -> None:
    """Remove a saved recipe.

    In all its versions; they can still be shown by NAME@v2. What was composed by it stays, and
    can still be verified: it does not need the recipe. Composing it again does, and so do recipes
    that call it: these are named.
    """
    with settings.open_hub() as hub:
        users = hub.remove_recipe(name)
    warn(f"{user} calls {name}, and cannot be called any more" for user in users)
    if as_json:
        print_json({"removed": name, "called_by": list(users)})
    else:
        print_text(f"Removed {name}")


def _recipe_json(one: Recipe) -> dict[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "built_in": one.version is None,
        "signature": one.function.signature,
        "parameters": [
            {"name": parameter.name, "type": parameter.type, "default": parameter.default}
            for parameter in one.parameters
        ],
        "expression": one.text,
        "summary": one.summary,
        "citation": one.citation,
    }

"""The recipes that a program may call: the built-in ones and those of a catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..dsl.checks.check import check
from ..dsl.errors import CheckError, did_you_mean, quoted
from ..dsl.meaning.recipes import BUILT_IN_BY_NAME, Recipe, RecipeParameter, make_recipe
from ..store import Catalog, RecipeRecord
from ..store import RecipeParameter as StoredParameter


def recipes_of(catalog: Catalog) -> dict[str, Recipe]:
    """All recipes by name: the built-in ones, and the latest version of every saved one."""
    saved = {record.name: from_record(record) for record in catalog.recipes.latest()}
    return {**BUILT_IN_BY_NAME, **saved}


def from_record(record: RecipeRecord) -> Recipe:
    """A saved recipe as the language takes it."""
    return Recipe(
        name=record.name,
        parameters=tuple(
            RecipeParameter(
                one.name, "language" if one.type == "language" else "scalar", one.default
            )
            for one in record.parameters
        ),
        text=record.expression,
        version=record.version,
    )


def save_recipe(
    catalog: Catalog, name: str, text: str, parameters: Sequence[tuple[str, str | None]]
) -> tuple[Recipe, bool]:
    """Check a recipe and keep it as the next version of its name.

    Returns:
        The recipe, and whether it is new.

    Raises:
        DslError: it is no program, or cannot mean an adapter.
    """
    recipe = make_recipe(name, text, parameters)
    _try_out(recipe, {other: one for other, one in recipes_of(catalog).items() if other != name})
    stored = tuple(StoredParameter(one.name, one.type, one.default) for one in recipe.parameters)
    saved = catalog.recipes.save(name, text, stored)
    return from_record(saved.recipe), saved.created


def find_recipe(catalog: Catalog, name: str) -> Recipe:
    """A recipe by name, or a version of a saved one by `name@v2`.

    Raises:
        CheckError: it is built in and has no versions.
        UnknownVersionError: there is none of that name or version.
    """
    bare, at, version = name.partition("@")
    if bare in BUILT_IN_BY_NAME:
        if at:
            raise CheckError(f"{quoted(bare)} is built in and has no versions")
        return BUILT_IN_BY_NAME[bare]
    number = None
    if at:
        if not version.removeprefix("v").isdecimal():
            raise CheckError(f"{quoted(name)} names no version", hint=f"write {bare}@v1")
        number = int(version.removeprefix("v"))
    return from_record(catalog.recipes.get(bare, number))


def remove_recipe(catalog: Catalog, name: str) -> None:
    """Remove a saved recipe.

    Raises:
        CheckError: it is built in. UnknownVersionError: there is none of that name.
    """
    if name in BUILT_IN_BY_NAME:
        hint = did_you_mean(name, [record.name for record in catalog.recipes.latest()])
        raise CheckError(f"{quoted(name)} is built in and stays", hint=hint)
    catalog.recipes.remove(name)


def _try_out(recipe: Recipe, others: Mapping[str, Recipe]) -> None:
    """Check the program with stand-ins for its parameters."""
    stand_ins = {
        one.name: one.default or ("en" if one.type == "language" else "0.5")
        for one in recipe.parameters
    }
    check(recipe.program, stand_ins, {name: one.function for name, one in others.items()})

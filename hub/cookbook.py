"""The recipes that a program may call: the built-in ones and those of a catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Final

from ..dsl.checks.check import check
from ..dsl.errors import CheckError, did_you_mean, quoted
from ..dsl.meaning.recipes import BUILT_IN_BY_NAME, Recipe, RecipeParameter, make_recipe
from ..dsl.syntax import Call, Program
from ..store import Catalog, RecipeRecord, UnknownVersionError
from ..store import RecipeParameter as StoredParameter
from ..store.errors import did_you_mean as near_misses

_VERSION: Final = re.compile(r"v?[1-9][0-9]{0,8}")


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
    others = {other: one for other, one in recipes_of(catalog).items() if other != name}
    _refuse_circles(recipe, others)
    _try_out(recipe, others)
    stored = tuple(StoredParameter(one.name, one.type, one.default) for one in recipe.parameters)
    saved = catalog.recipes.save(name, text, stored)
    return from_record(saved.recipe), saved.created


def find_recipe(catalog: Catalog, name: str) -> Recipe:
    """A recipe by name, or a version of a saved one by `name@v2`.

    Raises:
        CheckError: it is built in and has no versions.
        UnknownVersionError: there is none of that name or version; with near misses.
    """
    bare, at, version = name.partition("@")
    if bare in BUILT_IN_BY_NAME:
        if at:
            raise CheckError(f"{quoted(bare)} is built in and has no versions")
        return BUILT_IN_BY_NAME[bare]
    number = None
    if at:
        if not _VERSION.fullmatch(version):
            raise CheckError(f"{quoted(name)} names no version", hint=f"write {bare}@v1")
        number = int(version.removeprefix("v"))
    try:
        return from_record(catalog.recipes.get(bare, number))
    except UnknownVersionError as error:
        known = {*BUILT_IN_BY_NAME, *(record.name for record in catalog.recipes.latest())}
        near = near_misses(bare, known)
        if bare in known or not near:
            raise
        raise UnknownVersionError(f"no recipe is named {quoted(bare)}{near}") from error


def remove_recipe(catalog: Catalog, name: str) -> tuple[str, ...]:
    """Remove a saved recipe.

    Returns:
        The saved recipes that call it, which cannot be called themselves any more.

    Raises:
        CheckError: it is built in. UnknownVersionError: there is none of that name.
    """
    if name in BUILT_IN_BY_NAME:
        hint = did_you_mean(name, [record.name for record in catalog.recipes.latest()])
        raise CheckError(f"{quoted(name)} is built in and stays", hint=hint)
    users = users_of(catalog, name)
    catalog.recipes.remove(name)
    return users


def users_of(catalog: Catalog, name: str) -> tuple[str, ...]:
    """The saved recipes whose own text calls a recipe, sorted."""
    saved = (from_record(record) for record in catalog.recipes.latest())
    return tuple(
        sorted(one.name for one in saved if one.name != name and name in calls_of(one.program))
    )


def calls_of(program: Program) -> frozenset[str]:
    """The names of all functions and recipes that a program calls."""
    return frozenset(part.function for part in _parts(program) if isinstance(part, Call))


def recipes_behind(program: Program, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """The recipes that a program calls, and those that these call, by name."""
    found: dict[str, Recipe] = {}
    waiting = sorted(calls_of(program) & recipes.keys())
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = recipes[name]
            waiting += sorted(calls_of(recipes[name].program) & recipes.keys())
    return found


def _parts(node: object) -> Iterator[object]:
    """A node of a syntax tree, and all below it."""
    yield node
    if isinstance(node, tuple):
        for part in node:
            yield from _parts(part)
    elif is_dataclass(node):
        for one in fields(node):
            yield from _parts(getattr(node, one.name))


def _refuse_circles(recipe: Recipe, others: Mapping[str, Recipe]) -> None:
    """Refuse a recipe that would come to call itself, directly or by others."""
    behind = recipes_behind(recipe.program, {**others, recipe.name: recipe})
    if recipe.name in behind:
        between = sorted(one for one in behind if recipe.name in calls_of(behind[one].program))
        raise CheckError(
            f"the recipe {quoted(recipe.name)} would call itself",
            hint=f"it is called by {' and '.join(map(quoted, between))}",
        )


def _try_out(recipe: Recipe, others: Mapping[str, Recipe]) -> None:
    """Check the program with stand-ins for its parameters."""
    stand_ins = {
        one.name: one.default or ("en" if one.type == "language" else "0.5")
        for one in recipe.parameters
    }
    check(recipe.program, stand_ins, {name: one.function for name, one in others.items()})

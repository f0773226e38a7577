"""Recipes: named expressions with parameters, versioned; the same on every database."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest
from isogloss.store import Catalog, RecipeParameter, RecordError, UnknownVersionError

PARAMETERS = (
    RecipeParameter("S", "language"),
    RecipeParameter("l", "scalar", "0.6"),
    RecipeParameter("x", "text", ""),
)


def test_a_recipe_comes_back_as_it_went_in(catalog: Catalog) -> None:
    expression = "l*task[$S] + (1 - l)*lm[$T]  # ünïcödé\n"
    saved = catalog.recipes.save("team/mix", expression, PARAMETERS)
    assert saved.created
    for recipe in (saved.recipe, catalog.recipes.get("team/mix"), catalog.recipes.latest()[0]):
        assert recipe == saved.recipe
        assert (recipe.expression, recipe.parameters) == (expression, PARAMETERS)
        assert (recipe.label, recipe.removed) == ("team/mix@v1", False)


def test_a_changed_recipe_is_the_next_version(catalog: Catalog) -> None:
    recipes = catalog.recipes
    assert recipes.save("mix", "task[en]").created
    assert not recipes.save("mix", "task[en]").created
    assert recipes.save("mix", "task[pt]").recipe.version == 2
    changed = (RecipeParameter("S", "language", "en"),)
    assert recipes.save("mix", "task[pt]", changed).recipe.version == 3
    assert recipes.save("mix", "task[en]").recipe.version == 4
    assert recipes.get("mix", 2).expression == "task[pt]"
    assert [recipe.version for recipe in recipes.versions("mix")] == [1, 2, 3, 4]
    recipes.save("B", "task[en]")
    assert [recipe.label for recipe in recipes.latest()] == ["B@v1", "mix@v4"]


def test_a_removed_recipe_is_kept_by_number(catalog: Catalog) -> None:
    recipes = catalog.recipes
    recipes.save("mix", "task[en]")
    recipes.save("mix", "task[pt]")
    recipes.remove("mix")
    assert recipes.latest() == []
    with pytest.raises(UnknownVersionError, match=r"no recipe is named 'mix'$"):
        recipes.get("mix")
    with pytest.raises(UnknownVersionError, match=r"no recipe is named 'mix'$"):
        recipes.remove("mix")
    assert recipes.get("mix", 1).removed
    assert [recipe.removed for recipe in recipes.versions("mix")] == [True, True]
    again = recipes.save("mix", "task[pt]")
    assert (again.created, again.recipe.version) == (True, 3)
    assert recipes.get("mix") == again.recipe


def test_what_is_not_there(catalog: Catalog) -> None:
    recipes = catalog.recipes
    recipes.save("add_related", "task[en]")
    for ask in (recipes.get, recipes.versions, recipes.remove):
        with pytest.raises(UnknownVersionError) as raised:
            ask("add_realted")
        assert str(raised.value) == (
            "no recipe is named 'add_realted'; did you mean 'add_related'?"
        )
    with pytest.raises(UnknownVersionError, match="has no version 2: it has only v1"):
        recipes.get("add_related", 2)


def test_what_cannot_be_saved(catalog: Catalog) -> None:
    for name in ("", "a b", "a@v1", "sha256:abc", 'a"', "a/b/c", "x" * 201):
        with pytest.raises(RecordError, match="cannot be used"):
            catalog.recipes.save(name, "task[en]")
    with pytest.raises(RecordError, match="parameter 'l' of 'mix' is given twice"):
        catalog.recipes.save("mix", "l", (RecipeParameter("l", "scalar"),) * 2)
    with pytest.raises(RecordError, match="holds a character that is not text"):
        catalog.recipes.save("mix", "task[\x00]")
    assert catalog.recipes.latest() == []


def test_many_save_at_once(catalog: Catalog) -> None:
    barrier, told = Barrier(10), []

    def work(thread: int) -> None:
        barrier.wait()
        for number in range(3):
            saved = catalog.recipes.save("mix", f"{thread}*task[en] + {number}*task[pt]")
            told.append(saved.recipe.version)

    threads = [Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == list(range(1, 31))

"""Recipes: the paper's equations by name, and a person's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from isogloss.dsl.errors import CheckError, DslError, LimitError, NotFoundError
from isogloss.hub import AdapterHub
from isogloss.store import UnknownVersionError

WriteLora = Callable[..., Path]


@pytest.mark.parametrize(
    ("call", "meaning"),
    [
        ("add(en, yo, 0.6)", "0.6*task[en] + 0.4*lm[yo]"),
        ("add(S=en, T=yo, l=0.6)", "0.6*task[en] + 0.4*lm[yo]"),
        ("add_subtract(en, pt, 0.6)", "0.6*task[en] + 0.4*(lm[pt] - lm[en])"),
        ("add_all(ar)", "mean(task[en])"),
        ("add_all(yo)", "mean(task[en|ar])"),
        ("steer(en, yo, 1/2)", "exact(task[en] + 0.5*(lm[yo] - lm[en]))"),
        ("0.5*(add(en, yo, 0.5) + task[ar])", "0.25*task[en] + 0.25*lm[yo] + 0.5*task[ar]"),
    ],
)
def test_a_recipe_means_its_expression(stocked: AdapterHub, call: str, meaning: str) -> None:
    assert stocked.explain(call).canonical == stocked.explain(meaning).canonical


def test_a_language_parameter_can_be_an_argument(stocked: AdapterHub) -> None:
    given = stocked.explain("steer(en, $T, m)", parameters={"T": "yor", "m": "0.5"})
    assert given.canonical == stocked.explain("steer(en, yo, 0.5)").canonical
    assert [choice.labels for choice in given.choices] == [
        ("xlsum-en@v1",),
        ("lm-yo@v1",),
        ("lm-en@v1",),
    ]


def test_saved_recipes_have_versions_and_defaults(stocked: AdapterHub) -> None:
    recipe, created = stocked.save_recipe(
        "blend", "w*task[$S] + (1-w)*lm[$T]", [("S", None), ("T", None), ("w", "0.7")]
    )
    assert created
    assert recipe.label == "blend@v1"
    assert [(one.name, one.type, one.default) for one in recipe.parameters] == [
        ("S", "language", None),
        ("T", "language", None),
        ("w", "scalar", "0.7"),
    ]
    assert (
        stocked.explain("blend(en, yo)").canonical
        == stocked.explain("0.7*task[en] + 0.3*lm[yo]").canonical
    )
    assert not stocked.save_recipe(
        "blend", "w*task[$S] + (1-w)*lm[$T]", [("S", None), ("T", None), ("w", "0.7")]
    )[1]
    stocked.save_recipe("twice", "2*blend($S, $T, 0.5)")
    assert (
        stocked.explain("twice(en, yo)").canonical == stocked.explain("task[en]+lm[yo]").canonical
    )
    stocked.save_recipe("blend", "task[$S] + lm[$T]")
    assert stocked.recipe("blend").label == "blend@v2"
    assert stocked.recipe("blend@v1").parameters[2].default == "0.7"
    stocked.remove_recipe("blend")
    with pytest.raises(UnknownVersionError):
        stocked.recipe("blend")
    with pytest.raises(CheckError, match="unknown function"):
        stocked.explain("blend(en, yo)")


def test_wrong_recipes_are_refused(stocked: AdapterHub) -> None:
    for name in ("mean", "task", "steer", "a-b", "1st"):
        with pytest.raises(CheckError):
            stocked.save_recipe(name, "task[$T]")
    with pytest.raises(CheckError, match="set of adapters"):
        stocked.save_recipe("all", "task[*]")
    with pytest.raises(CheckError, match="no parameter"):
        stocked.save_recipe("mine", "task[$T]", [("U", None)])
    with pytest.raises(CheckError, match="another order"):
        stocked.save_recipe("mine", "w*task[$T]", [("w", "0.5"), ("T", None)])
    with pytest.raises(CheckError, match="stays"):
        stocked.remove_recipe("add")


def test_recipes_in_a_circle_are_refused(stocked: AdapterHub) -> None:
    stocked.save_recipe("ping", "task[$T]")
    stocked.save_recipe("pong", "0.5*(lm[$T] + ping($T))")
    stocked.save_recipe("pang", "pong($T)")
    with pytest.raises(CheckError, match=r"'ping' would call itself\nhint: .* 'pong'"):
        stocked.save_recipe("ping", "pang($T)")
    assert stocked.recipe("ping").text == "task[$T]"
    with pytest.raises(CheckError, match="'pung' would call itself"):
        stocked.save_recipe("pung", "pung($T)")
    assert stocked.remove_recipe("pong") == ("pang",)
    assert stocked.remove_recipe("pang") == ()


def test_recipes_that_call_each_other_deeply(stocked: AdapterHub) -> None:
    stocked.save_recipe("r0", "task[$T]")
    for number in range(1, 18):
        stocked.save_recipe(f"r{number}", f"r{number - 1}($T)")
    stocked.explain("r15(en)")
    with pytest.raises(LimitError, match="deep"):
        stocked.explain("r17(en)")


def test_a_recipe_that_is_none_is_like_others(stocked: AdapterHub) -> None:
    stocked.save_recipe("blend", "task[$T]")
    for name, near in (("addd", "'add'"), ("blnd", "'blend'"), ("steer2", "'steer'")):
        with pytest.raises(UnknownVersionError, match=f"did you mean {near}"):
            stocked.recipe(name)
    with pytest.raises(UnknownVersionError, match="it has only v1"):
        stocked.recipe("blend@v2")
    for version in ("v0", "latest", "v" + "9" * 30):
        with pytest.raises(CheckError, match="names no version"):
            stocked.recipe(f"blend@{version}")


def test_errors_inside_a_recipe_show_its_text(stocked: AdapterHub) -> None:
    with pytest.raises(NotFoundError) as caught:
        stocked.explain("add(en, de, 0.6)")
    assert "in the recipe add: no adapter for de" in str(caught.value)
    assert "l*task[$S] + (1-l)*lm[$T]" in str(caught.value)
    for call in ("add(en, yo)", "add(en, yo, task[en])", "add(en, xq-zz-qqqq, 0.5)", "add(0.5)"):
        with pytest.raises(DslError):
            stocked.explain(call)


def test_related_languages_choose_among_what_is_there(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    for seed, language in enumerate(("es", "it", "ja"), start=20):
        stocked.add(write_lora(tmp_path / language, seed), kind="task", language=language)
    given = stocked.explain("mean(task[related(pt)])")
    (choice,) = given.choices
    chosen = {adapter.languages[0] for adapter in choice.adapters}
    assert {"es", "it"} <= chosen
    assert "ja" not in chosen
    (selection,) = choice.selections
    assert selection.rule == "related(pt, syntactic=0.7, geographic=0.3)"
    named = stocked.explain(f"mean(task[{'|'.join(sorted(chosen))}])")
    assert given.canonical == named.canonical
    with pytest.raises(NotFoundError, match="nearest miss"):
        stocked.explain("mean(task[related(ja, syntactic=0.1)])")
    assert len(stocked.explain("mean(task[nearest(pt, 2)])").terms) == 2


def test_equation_four_takes_one_set_of_languages(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    for seed, (kind, language) in enumerate(
        [("task", "es"), ("lm", "es"), ("task", "it"), ("lm", "gl")], start=30
    ):
        stocked.add(write_lora(tmp_path / f"{kind}{seed}", seed), kind=kind, language=language)
    # en and es have both vectors; it and gl have one each.
    given = stocked.explain("add_subtract_related(pt, 0.5)")
    labels = {f"{term.name}" for term in given.terms}
    assert {"task-es", "lm-es", "lm-pt"} <= labels
    assert not labels & {"task-it", "lm-gl"}
    tasks = {term.coefficient for term in given.terms if str(term.name).startswith(("task", "xl"))}
    others = {term.coefficient for term in given.terms if str(term.name) in ("lm-es", "lm-en")}
    assert len(tasks) == len(others) == 1
    assert tasks == {coefficient.removeprefix("-") for coefficient in others}


def test_weighted_means_are_exact_and_recorded(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    from fractions import Fraction

    stocked.add(write_lora(tmp_path / "es", 40), kind="task", language="es")
    given = stocked.explain("weighted(task[* - ar], to=pt, by=syntactic)")
    coefficients = {str(term.name): Fraction(term.coefficient) for term in given.terms}
    assert sum(coefficients.values()) == 1
    assert coefficients["task-es"] > coefficients["xlsum-en"] > 0
    with pytest.raises(CheckError, match="set of adapters"):
        stocked.explain("weighted(task[en], to=pt)")
    with pytest.raises(CheckError, match="takes one of"):
        stocked.explain("weighted(task[*], to=pt, by=colour)")


def test_the_lock_says_where_distances_came_from(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    stocked.add(write_lora(tmp_path / "es", 41), kind="task", language="es")
    stocked.compose("mean(task[related(pt)])", name="chosen", output=tmp_path / "out")
    lock = json.loads((tmp_path / "out" / "isogloss.lock.json").read_text())
    (used,) = lock["distances"]
    assert (used["rule"], used["backend"]) == (
        "related(pt, syntactic=0.7, geographic=0.3)",
        "uriel",
    )
    assert "es" in used["languages"]
    stocked.add(write_lora(tmp_path / "gl", 42), kind="task", language="gl")
    stocked.verify("chosen")
    stocked.verify(tmp_path / "out")
    (entry,) = stocked.outdated("chosen")
    assert any("newly selected: task-gl" in reason for reason in entry.reasons)
    own = tmp_path / "mine.tsv"
    own.write_text(
        "language_a\tlanguage_b\tsyntactic\tgeographic\npt\ten\t0.1\t0.1\npt\tes\t0.9\t0.1\n"
        "pt\tgl\t0.8\t0.1\npt\tar\t0.9\t0.9\n"
    )
    given = stocked.explain("mean(task[related(pt)])", distances=str(own))
    assert [choice.labels for choice in given.choices] == [("xlsum-en@v1",)]

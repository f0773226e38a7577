"""Choosing and weighing languages, with the evidence for every choice."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.errors import CheckError, LanguageError, NotFoundError, UnsupportedError
from isogloss.dsl.relatedness import (
    KINDS,
    MEASURES,
    EmptySelectionError,
    Measure,
    Selection,
    family,
    gather,
    nearest,
    related,
    weights,
)
from isogloss.dsl.relatedness.cache import load
from isogloss.dsl.relatedness.lang2vec_data import installation
from isogloss.dsl.relatedness.presets import published
from isogloss.dsl.relatedness.uriel import Uriel

SOURCES = ("en", "bn", "te", "tr", "ko", "ja", "id", "th", "ru", "ar", "sw")
# Table 5 of the paper, written down here a second time.
TABLE_5 = {
    "mr": {"bn", "te", "tr"},
    "gu": {"bn", "te"},
    "zh": {"en", "ko", "ja", "id", "th"},
    "ne": {"te", "ja", "tr", "ko", "ru", "bn"},
    "pt": {"en", "ru", "ar"},
    "si": {"te", "bn"},
    "so": {"ar", "sw", "en"},
    "vi": {"id", "th"},
    "yo": {"en", "ar"},
    "uk": {"ru", "en", "sw"},
    "fa": {"tr", "en", "ar"},
}


@pytest.fixture(scope="module")
def uriel(tmp_path_factory: pytest.TempPathFactory) -> Uriel:
    return Uriel(load(installation(), tmp_path_factory.getbasetemp() / "uriel"))


def reasons(selection: Selection) -> dict[str, str]:
    return {row.language: row.reason for row in selection.rows}


@pytest.mark.parametrize("target", TABLE_5)
def test_the_preset_is_the_published_table(uriel: Uriel, target: str) -> None:
    chosen = related(target, SOURCES, preset="table5", source=uriel)
    assert set(chosen.languages) == TABLE_5[target]
    assert chosen.rule == f"related({target}, preset=table5)"
    assert chosen.warnings == ()
    assert chosen.radius is None


def test_the_preset_has_every_row_of_the_table() -> None:
    assert {target: set(chosen) for target, chosen in published("table5").items()} == TABLE_5


def test_the_thresholds_do_not_give_the_published_table(uriel: Uriel) -> None:
    exact, overlaps = set(), []
    for target, expected in TABLE_5.items():
        chosen = set(related(target, SOURCES, source=uriel).languages)
        overlaps.append(len(chosen & expected) / len(chosen | expected))
        if chosen == expected:
            exact.add(target)
    assert exact == {"ne"}
    assert sum(overlaps) / 11 == pytest.approx(0.5106, abs=5e-5)


def test_related_shows_its_evidence(uriel: Uriel) -> None:
    chosen = related("yo", SOURCES, source=uriel)
    assert chosen.languages == ("en", "sw")
    assert chosen.rule == "related(yo, syntactic=0.7, geographic=0.3)"
    assert (chosen.backend, chosen.version) == ("uriel", "lang2vec 1.1.2")
    assert (chosen.target.code, chosen.target.name) == ("yor", "Yoruba")
    assert len(chosen.rows) == 11
    english, swahili, arabic = chosen.rows[:3]
    assert (english.code, english.name, english.family) == ("eng", "English", "Indo-European")
    assert (english.syntactic, english.geographic) == (Fraction("0.6089"), Fraction("0.2555"))
    assert english.reason == "syntactic 0.6089 is under 0.7 and geographic 0.2555 is under 0.3"
    assert swahili.code == "swh"
    assert "written standard" in swahili.note
    assert arabic.reason == "syntactic 0.7323 is not under 0.7"
    assert reasons(chosen)["ru"] == "geographic 0.3988 is not under 0.3"
    assert reasons(chosen)["ja"] == (
        "syntactic 0.8479 is not under 0.7 and geographic 0.6541 is not under 0.3"
    )
    assert chosen.misses[0].language == "ar"
    assert [row.selected for row in chosen.rows] == [True] * 2 + [False] * 9


def test_thresholds_are_exact_and_must_be_undercut(uriel: Uriel) -> None:
    assert related("yo", ["en"], "0.6090", 1, source=uriel).languages == ("en",)
    for threshold in (Fraction("0.6089"), "0.6089", 0.6089):
        with pytest.raises(EmptySelectionError, match=r"is en: syntactic 0\.6089, geographic"):
            related("yo", ["en"], threshold, 1, source=uriel)


@pytest.mark.parametrize("value", [7, -0.1, "1.01", "x", float("nan"), "1/0"])
def test_a_threshold_that_cannot_be_is_refused(uriel: Uriel, value: float | str) -> None:
    with pytest.raises(CheckError, match="distances lie between 0 and 1"):
        related("yo", SOURCES, syntactic=value, source=uriel)
    with pytest.raises(CheckError, match=r"geographic=.* is no threshold"):
        related("yo", SOURCES, geographic=value, source=uriel)


def test_the_target_and_its_varieties_are_left_out(uriel: Uriel) -> None:
    chosen = related("pt", ["pt", "pt-BR", "por", "gl"], source=uriel)
    assert chosen.languages == ("gl",)
    assert [row.language for row in chosen.rows] == ["gl", "pt-BR"]
    assert chosen.rows[1].status == "same"
    assert chosen.rows[1].reason == "the target's own language (por), left out"
    assert chosen.warnings == ()
    with pytest.raises(EmptySelectionError, match="there are no other languages"):
        related("pt", ["pt-BR", "pt"], source=uriel)


def test_a_candidate_without_data_is_told_of(uriel: Uriel) -> None:
    chosen = related("yo", ["en", "sk", "bh"], source=uriel)
    assert chosen.languages == ("en",)
    assert [row.status for row in chosen.rows] == ["chosen", "unknown", "unknown"]
    assert chosen.warnings == (
        "sk: URIEL knows no syntactic feature that slk has",
        "bh: there are no distances for 'bh' (Bihari languages): URIEL has no language 'bih'",
    )
    slovak = chosen.rows[1]
    assert slovak.syntactic is None
    assert slovak.geographic is not None
    with pytest.raises(EmptySelectionError, match="no language can be judged"):
        related("yo", ["sk"], source=uriel)


def test_a_target_without_data_is_refused(uriel: Uriel) -> None:
    with pytest.raises(UnsupportedError) as error:
        related("sk", SOURCES, source=uriel)
    assert str(error.value) == (
        "there are no syntactic distances to 'sk': URIEL knows no syntactic feature that slk has\n"
        "hint: there are geographic and genetic ones"
    )
    with pytest.raises(UnsupportedError, match="there are no distances for 'bh'"):
        related("bh", SOURCES, source=uriel)
    with pytest.raises(UnsupportedError, match="there are no genetic distances to 'eu'"):
        family("eu", SOURCES, source=uriel)
    with pytest.raises(UnsupportedError, match="hint: members of the same macrolanguage that"):
        related("cnp", SOURCES, source=uriel)
    assert nearest("sk", ["cs", "yo"], 1, by="geographic", source=uriel).languages == ("cs",)


def test_what_is_no_language_is_refused_wherever_it_stands(uriel: Uriel) -> None:
    with pytest.raises(LanguageError, match="'Yorubba'"):
        related("Yorubba", SOURCES, source=uriel)
    with pytest.raises(LanguageError, match="'xx'"):
        related("yo", ["en", "xx"], source=uriel)


def test_an_empty_choice_names_the_nearest_miss(uriel: Uriel) -> None:
    with pytest.raises(EmptySelectionError) as error:
        related("yo", SOURCES, "0.5", "0.2", source=uriel)
    assert isinstance(error.value, NotFoundError)
    assert str(error.value) == (
        "related(yo, syntactic=0.5, geographic=0.2) chooses no language; "
        "the nearest miss of 11 is sw: syntactic 0.6302, geographic 0.2066"
    )
    assert len(error.value.selection.rows) == 11
    with pytest.raises(EmptySelectionError, match="there are no other languages to choose from"):
        related("yo", [], source=uriel)


def test_a_preset_says_what_it_cannot_give(uriel: Uriel) -> None:
    chosen = related("zh-Hant", ["en", "ko", "ru"], preset="table5", source=uriel)
    assert chosen.languages == ("ko", "en")
    assert chosen.warnings == (
        "Table 5 of Chronopoulou et al. 2023 also has ja, id, th, which cannot be chosen here",
    )
    with pytest.raises(EmptySelectionError, match="the nearest miss of 1 is fr"):
        related("yo", ["fr"], preset="table5", source=uriel)
    with pytest.raises(UnsupportedError, match="has no choice for 'sw'; it has one for mr, gu,"):
        related("sw", SOURCES, preset="table5", source=uriel)
    with pytest.raises(CheckError, match="did you mean 'table5'"):
        related("yo", SOURCES, preset="table6", source=uriel)


def test_the_nearest_are_chosen_by_each_measure(uriel: Uriel) -> None:
    for by in MEASURES:
        chosen = nearest("ne", SOURCES, 3, by=by, source=uriel)
        distances = [row.distance(by) for row in chosen.rows]
        assert len(chosen.languages) == 3
        assert None not in distances
        assert distances == sorted(distances, key=lambda one: one or 0)
    chosen = nearest("ne", SOURCES, 2, by="mean", source=uriel)
    assert chosen.languages == ("bn", "te")
    assert chosen.rule == "nearest(ne, 2, by=mean)"
    assert chosen.rows[0].reason == "number 1 by mean distance: 0.4292"
    bengali = chosen.rows[0]
    assert bengali.distance("mean") == sum(bengali.distance(kind) or 0 for kind in KINDS) / 3


def test_ties_are_broken_and_said_to_be(uriel: Uriel) -> None:
    # All of them share no ancestor with Yoruba.
    chosen = nearest("yo", ["ja", "en", "ru", "th"], 2, by="genetic", source=uriel)
    assert chosen.languages == ("th", "en")
    assert chosen.rows[0].reason == "number 1 by genetic distance: 1.0000"
    for row in chosen.rows[1:3]:
        assert row.reason.endswith(": 1.0000, a tie broken by syntactic distance")
    twins = nearest("yo", ["sw-KE", "sw"], 1, source=uriel)
    assert twins.languages == ("sw",)
    assert twins.rows[0].reason.endswith(", a tie broken by the code")


def test_too_few_to_choose_from_is_an_error(uriel: Uriel) -> None:
    with pytest.raises(EmptySelectionError) as error:
        nearest("yo", ["en", "sk", "yo"], 2, source=uriel)
    assert str(error.value) == ("nearest(yo, 2, by=syntactic): there is only en to choose from")
    with pytest.raises(EmptySelectionError, match="no language with distances to choose from"):
        nearest("yo", ["sk"], 1, source=uriel)


def test_nonsense_is_refused(uriel: Uriel) -> None:
    with pytest.raises(CheckError, match="k would be 1 or more"):
        nearest("yo", SOURCES, 0, source=uriel)
    unknown: Measure = "syntax"  # type: ignore[assignment]
    with pytest.raises(CheckError, match="did you mean 'syntactic'"):
        nearest("yo", SOURCES, 1, by=unknown, source=uriel)
    with pytest.raises(CheckError, match="did you mean 'syntactic'"):
        weights("yo", SOURCES, by=unknown, source=uriel)


def test_a_family_is_chosen_with_its_shared_ancestors(uriel: Uriel) -> None:
    chosen = family("pt", [*SOURCES, "fr", "eu", "pt-BR"], source=uriel)
    assert set(chosen.languages) == {"fr", "bn", "en", "ru"}
    assert chosen.languages[0] == "fr"
    said = reasons(chosen)
    assert said["fr"].startswith("shares Indo-European > Italic > ")
    assert said["en"] == "shares Indo-European"
    assert said["ja"] == "of another family: Japonic"
    assert said["eu"].startswith("URIEL has no family for eus")
    with pytest.raises(EmptySelectionError, match=r"the nearest miss of 1 is en: genetic 1\.0000"):
        family("so", ["en"], source=uriel)


@pytest.mark.parametrize("by", MEASURES)
def test_weights_are_exact_and_sum_to_one(uriel: Uriel, by: Measure) -> None:
    found = weights("ne", ["bn", "ru", "en"], by=by, source=uriel)
    assert list(found) == ["bn", "ru", "en"]
    assert sum(found.values()) == 1
    rows = {row.language: row for row in gather("ne", found, uriel).rows}
    near = {language: 1 - (row.distance(by) or 0) for language, row in rows.items()}
    for language in found:
        assert found[language] * sum(near.values()) == near[language]


def test_weights_of_the_target_itself(uriel: Uriel) -> None:
    found = weights("yo", ["yo", "en"], source=uriel)
    assert found["yo"] * (1 - Fraction("0.6089")) == found["en"]


def test_what_cannot_be_weighed_is_named(uriel: Uriel) -> None:
    with pytest.raises(UnsupportedError, match=r"'sk' cannot be weighed .* feature that slk has"):
        weights("yo", ["en", "sk"], source=uriel)
    with pytest.raises(UnsupportedError, match="all are 1"):
        weights("yo", ["ja", "en"], by="genetic", source=uriel)
    with pytest.raises(UnsupportedError, match="no syntactic distances to 'sk'"):
        weights("sk", ["en"], source=uriel)
    with pytest.raises(CheckError, match="no languages to weigh"):
        weights("yo", [], source=uriel)


@given(st.permutations(SOURCES), st.sampled_from(sorted(TABLE_5)))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_candidates_does_not_matter(
    uriel: Uriel, candidates: list[str], target: str
) -> None:
    shuffled = nearest(target, candidates, 4, by="mean", source=uriel)
    assert shuffled == nearest(target, SOURCES, 4, by="mean", source=uriel)

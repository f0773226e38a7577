"""URIEL's distances: the published numbers, and what must hold of any distance."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.relatedness import KINDS, Kind
from isogloss.dsl.relatedness.cache import load
from isogloss.dsl.relatedness.lang2vec_data import installation
from isogloss.dsl.relatedness.snapshot import FEATURES
from isogloss.dsl.relatedness.uriel import Uriel, angle

PAPER = (
    *("ar", "bn", "en", "fa", "gu", "id", "ja", "ko", "mr", "ne", "pt"),
    *("ru", "si", "so", "sw", "te", "th", "tr", "uk", "vi", "yo", "zh"),
)
ALL_FEATURES = (1 << FEATURES) - 1


@pytest.fixture(scope="module")
def uriel(tmp_path_factory: pytest.TempPathFactory) -> Uriel:
    return Uriel(load(installation(), tmp_path_factory.getbasetemp() / "uriel"))


def distance(uriel: Uriel, kind: Kind, one: str, other: str) -> Fraction:
    (found,) = uriel.distances(kind, one, [other])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("dan", "deu", ".4852"),
        ("eng", "fra", ".4569"),
        ("yue", "lit", ".7024"),
        ("yue", "hye", ".6605"),
    ],
)
def test_syntactic_distances_are_the_published_ones(
    uriel: Uriel, one: str, other: str, expected: str
) -> None:
    assert distance(uriel, "syntactic", one, other) == Fraction(expected)


@pytest.mark.parametrize(
    ("other", "expected"), [("kor", ".46"), ("eus", ".58"), ("mya", ".62"), ("ces", ".66")]
)
def test_mandarin_has_a_feature_that_only_uriels_table_knows(
    uriel: Uriel, other: str, expected: str
) -> None:
    # Published to two decimals; without that feature they would be .01 less.
    assert round(distance(uriel, "syntactic", "cmn", other), 2) == Fraction(expected)
    facts = uriel._facts
    assert round(angle(facts.syntax("cmn"), facts.syntax(other)), 2) < Fraction(expected)


@pytest.mark.parametrize(("other", "expected"), [("dan", ".6629"), ("deu", ".5788")])
def test_the_readme_counts_an_unknown_language_as_having_every_feature(
    uriel: Uriel, other: str, expected: str
) -> None:
    # Of North Frisian nothing is known, so that these numbers of the README say nothing about it.
    assert angle(ALL_FEATURES, uriel._facts.syntax(other)) == Fraction(expected)
    assert uriel._facts.known("frr") == 0
    assert uriel.distances("syntactic", "frr", [other]) == (None,)
    assert uriel.distances("syntactic", other, ["frr"]) == (None,)
    assert uriel.missing("syntactic", other, "frr") == (
        "URIEL knows no syntactic feature that frr has"
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("frr", "dan", ".0028"), ("frr", "deu", ".0359"), ("dan", "deu", ".0361")],
)
def test_geographic_distances_are_the_published_ones(
    uriel: Uriel, one: str, other: str, expected: str
) -> None:
    found = distance(uriel, "geographic", one, other)
    assert abs(found - Fraction(expected)) <= Fraction("0.0001")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("frr", "dan", ".625"),
        ("eng", "slk", ".9"),
        ("ces", "slk", ".2857"),
        ("eng", "fin", "1"),
    ],
)
def test_genetic_distances_are_those_of_the_deeper_language(
    uriel: Uriel, one: str, other: str, expected: str
) -> None:
    assert distance(uriel, "genetic", one, other) == Fraction(expected)


def test_genetic_distance_counts_the_shared_ancestors(uriel: Uriel) -> None:
    frisian, danish = uriel.lineage("frr"), uriel.lineage("dan")
    assert (len(frisian), len(danish)) == (7, 6)
    assert [a for a in frisian if a in danish] == [
        "Indo-European",
        "Germanic",
        "Northwest Germanic",
    ]
    assert distance(uriel, "genetic", "frr", "dan") == 1 - Fraction(3, 7 + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_languages_of_the_paper_are_complete(uriel: Uriel, kind: Kind) -> None:
    codes = [uriel.locate(tag).code for tag in PAPER]
    assert len(set(codes)) == 22
    for code in codes:
        assert None not in uriel.distances(kind, code, codes)


codes = st.integers(0, 7_000)


@given(codes, codes)
@settings(max_examples=200, deadline=None)
def test_distances_are_symmetric_and_bounded(uriel: Uriel, first: int, second: int) -> None:
    one, other = uriel.languages()[first], uriel.languages()[second]
    for kind in KINDS:
        (there,) = uriel.distances(kind, one, [other])
        assert (there,) == uriel.distances(kind, other, [one])
        assert there is None or 0 <= there <= 1
        assert there is None or (there * 10_000).denominator == 1


def test_a_language_is_at_no_distance_to_itself(uriel: Uriel) -> None:
    for code in uriel.languages():
        for kind in KINDS:
            assert uriel.distances(kind, code, [code]) in ((0,), (None,))
    assert uriel.distances("syntactic", "cmn", ["cmn"]) == (0,)


@given(codes, codes, codes)
@settings(max_examples=200, deadline=None)
def test_no_way_round_is_shorter(uriel: Uriel, first: int, second: int, third: int) -> None:
    one, two, three = (uriel.languages()[place] for place in (first, second, third))
    rounding = Fraction("0.00015")
    for kind in KINDS:
        direct, via = uriel.distances(kind, one, [three, two])
        (rest,) = uriel.distances(kind, two, [three])
        if direct is not None and via is not None and rest is not None:
            assert direct <= via + rest + rounding


def test_every_language_has_a_place_or_a_reason(uriel: Uriel) -> None:
    without = [code for code in uriel.languages() if uriel.place(code) is None]
    assert without == ["mis", "mul", "und", "zbl", "zxx"]
    assert uriel.missing("geographic", "eng", "mul") == "URIEL does not know where mul is spoken"


def test_an_isolate_has_no_genetic_distances(uriel: Uriel) -> None:
    assert uriel.distances("genetic", "eus", ["fra", "spa"]) == (None, None)
    assert uriel.missing("genetic", "eus", "fra").startswith("URIEL has no family for eus")


def test_weak_evidence_is_said_to_be_weak(uriel: Uriel) -> None:
    assert uriel.caution("eng") == ""
    thin = [code for code in uriel.languages() if uriel.caution(code)]
    assert "hrv" not in thin or "only" in uriel.caution("hrv")
    for code in thin[:50]:
        assert uriel.caution(code) == (
            f"only {uriel._facts.known(code)} of 98 syntactic features of {code} are known"
        )
        assert uriel._facts.known(code) < 10


def test_angles_of_nothing_in_common_and_of_everything() -> None:
    assert angle(0b0011, 0b1100) == 1
    assert angle(0b0110, 0b0110) == 0
    assert angle(0b01, 0b11) == Fraction(1, 2)

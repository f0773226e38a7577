"""The sources of distances: one contract that all of them keep, and what each adds."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import pytest
from isogloss.dsl.errors import CheckError, LanguageError, ParseError, UnsupportedError
from isogloss.dsl.relatedness import (
    KINDS,
    Backend,
    EmptySelectionError,
    backend,
    nearest,
    related,
    weights,
)
from isogloss.dsl.relatedness.cache import load
from isogloss.dsl.relatedness.lang2vec_data import FILES, installation
from isogloss.dsl.relatedness.lang2vec_distances import Lang2vec, rounded
from isogloss.dsl.relatedness.presets import published
from isogloss.dsl.relatedness.table import Table
from isogloss.dsl.relatedness.uriel import Uriel

SOURCES = ("en", "bn", "te", "tr", "ko", "ja", "id", "th", "ru", "ar", "sw")
HEADER = "language_a\tlanguage_b\tsyntactic\tgeographic\tgenetic\n"
TABLE = (
    HEADER + "yo\ten\t0.6\t0.25\t1\nyo\tar\t0.75\t0.2\t\nen\tar\t.5\t.1\t1\nyo\tpt-BR\t.3\t.2\t\n"
)

# What the version of lang2vec on GitHub does when it is asked for distances, with a file of its
# own in place of the one with 8,070 languages: codes in a fixed order, upper triangles, a number
# for two languages and a matrix for more.
LANG2VEC = """
import json, pathlib
print("importing")
FOLDER = pathlib.Path(__file__).parent / "data"
DISTANCE_LANGUAGES = (FOLDER / "distances_languages.txt").read_text().strip().split(",")
NUMBERS = json.loads((FOLDER / "distances.json").read_text())
CALLS = []

def distance(kind, languages):
    CALLS.append((kind, len(languages)))
    places = [DISTANCE_LANGUAGES.index(language) for language in languages]
    matrix = [
        [0.0 if a == b else NUMBERS[kind][min(a, b)][max(a, b)] for b in places] for a in places
    ]
    return matrix[0][1] if len(places) == 2 else matrix
"""


@pytest.fixture(scope="module")
def uriel(tmp_path_factory: pytest.TempPathFactory) -> Uriel:
    return Uriel(load(installation(), tmp_path_factory.getbasetemp() / "uriel"))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    path = tmp_path / "mine.tsv"
    path.write_text(TABLE, encoding="utf-8")
    return Table.read(path)


@pytest.fixture
def lang2vec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uriel: Uriel) -> Lang2vec:
    """A lang2vec that has distances, of the languages that the tests ask about."""
    import json

    data = tmp_path / "lang2vec" / "data"
    data.mkdir(parents=True)
    for name in FILES:
        (data / name).symlink_to(installation().folder / name)
    (data.parent / "__init__.py").write_text("")
    (data.parent / "lang2vec.py").write_text(LANG2VEC)
    tags = {*SOURCES, *published("table5")}
    codes = sorted((uriel.locate(tag).code for tag in tags), key=lambda code: code[::-1])
    (data / "distances_languages.txt").write_text(",".join(codes))
    numbers = {
        kind: [
            [float(rounded(kind, one or Fraction(1))) for one in uriel.distances(kind, code, codes)]
            for code in codes
        ]
        for kind in KINDS
    }
    (data / "distances.json").write_text(json.dumps(numbers))
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("lang2vec", "lang2vec.lang2vec"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    return Lang2vec(uriel)


@pytest.fixture(params=["uriel", "table", "lang2vec"])
def any_backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(request.param)
    return found


class TestContract:
    """What every source of distances keeps."""

    def test_it_has_a_name_and_a_version(self, any_backend: Backend) -> None:
        assert any_backend.name in ("uriel", "table", "lang2vec")
        assert any_backend.version

    def test_its_languages_are_sorted_and_can_be_found(self, any_backend: Backend) -> None:
        languages = any_backend.languages()
        assert languages == tuple(sorted(set(languages)))
        for tag in ("yo", "en", "ar"):
            assert any_backend.locate(tag).code in languages

    def test_distances_are_symmetric_and_bounded(self, any_backend: Backend) -> None:
        codes = [any_backend.locate(tag).code for tag in ("yo", "en", "ar")]
        for kind in KINDS:
            for one in codes:
                for other, distance in zip(
                    codes, any_backend.distances(kind, one, codes), strict=True
                ):
                    assert (distance,) == any_backend.distances(kind, other, [one])
                    assert distance is None or 0 <= distance <= 1
                    if one == other and distance is not None:
                        assert distance == 0

    def test_nothing_is_asked_and_nothing_answered(self, any_backend: Backend) -> None:
        assert any_backend.distances("syntactic", any_backend.locate("yo").code, []) == ()

    def test_a_missing_distance_has_a_reason(self, any_backend: Backend) -> None:
        code = any_backend.locate("yo").code
        assert "genetic" in any_backend.missing("genetic", code, "eng") or "family" in (
            any_backend.missing("genetic", code, "eng")
        )

    def test_an_unknown_language_is_refused(self, any_backend: Backend) -> None:
        with pytest.raises(LanguageError):
            any_backend.locate("Yorubba")
        with pytest.raises(UnsupportedError):
            any_backend.locate("bh")

    def test_languages_can_be_chosen_and_weighed(self, any_backend: Backend) -> None:
        chosen = related("yo", ["en", "ar", "yo"], geographic=0.35, source=any_backend)
        assert chosen.languages == ("en",)
        assert (chosen.backend, chosen.version) == (any_backend.name, any_backend.version)
        assert nearest("yo", ["en", "ar"], 1, source=any_backend).languages == ("en",)
        assert sum(weights("yo", ["en", "ar"], source=any_backend).values()) == 1


def test_the_sources_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uriel: Uriel
) -> None:
    monkeypatch.setattr("isogloss.dsl.relatedness.uriel.snapshot", lambda: uriel._facts)
    path = tmp_path / "mine.tsv"
    path.write_text(TABLE, encoding="utf-8")
    assert backend().name == "uriel"
    assert backend("uriel").version == f"lang2vec {installation().version}"
    assert backend(str(path)).name == "table"
    assert backend(str(path)).version.startswith("mine.tsv crc32:")
    with pytest.raises(CheckError, match="did you mean 'uriel'"):
        backend("urial")
    with pytest.raises(ParseError, match=r"nowhere\.tsv cannot be read: .*No such file"):
        backend(str(tmp_path / "nowhere.tsv"))


def test_the_lang2vec_of_the_registry_has_no_distances_of_its_own(
    monkeypatch: pytest.MonkeyPatch, uriel: Uriel
) -> None:
    assert not (installation().folder / "distances_languages.txt").exists()
    with pytest.raises(UnsupportedError) as error:
        Lang2vec(uriel)
    assert str(error.value).startswith(
        f"the installed lang2vec {installation().version} has no distances of its own\nhint: "
    )
    assert "lang2vec.lang2vec" not in sys.modules


def test_lang2vec_answers_with_its_rounding(
    lang2vec: Lang2vec, uriel: Uriel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lang2vec.version.endswith("rounded to .01 syntactic and .1 geographic")
    assert lang2vec.distances("syntactic", "yor", ["eng", "yor"]) == (Fraction("0.61"), 0)
    assert lang2vec.distances("geographic", "yor", ["eng", "arb"]) == (
        Fraction("0.3"),
        Fraction("0.2"),
    )
    exact = uriel.distances("genetic", "yor", ["swh"])
    assert lang2vec.distances("genetic", "yor", ["swh"]) == exact
    assert lang2vec.lineage("yor") == uriel.lineage("yor")
    assert lang2vec.place("yor") == uriel.place("yor")
    assert capsys.readouterr().out == ""


def test_lang2vec_is_asked_about_many_at_once(lang2vec: Lang2vec) -> None:
    codes = lang2vec.languages()
    lang2vec.distances("syntactic", "eng", codes)
    calls = sys.modules["lang2vec.lang2vec"].CALLS
    assert calls == [("syntactic", len(codes))]


def test_lang2vec_never_says_one_for_want_of_data(lang2vec: Lang2vec) -> None:
    assert lang2vec.distances("syntactic", "yor", ["slk", "fra"]) == (None, None)
    assert lang2vec.missing("syntactic", "yor", "fra") == "lang2vec has no distances of fra"
    with pytest.raises(EmptySelectionError):
        related("yo", ["sk"], source=lang2vec)


def test_with_lang2vecs_rounding_the_thresholds_give_no_table_either(lang2vec: Lang2vec) -> None:
    exact: dict[str, set[str]] = {}
    overlaps: dict[str, list[float]] = {}
    for syntactic in ("0.7", "0.65"):
        for target, published_choice in published("table5").items():
            try:
                chosen = set(related(target, SOURCES, syntactic, source=lang2vec).languages)
            except EmptySelectionError:
                chosen = set()
            expected = set(published_choice)
            overlaps.setdefault(syntactic, []).append(
                len(chosen & expected) / len(chosen | expected)
            )
            if chosen == expected:
                exact.setdefault(syntactic, set()).add(target)
    assert exact == {"0.7": {"ne", "si"}, "0.65": {"mr", "gu", "ne", "si", "vi"}}
    assert sum(overlaps["0.7"]) / 11 == pytest.approx(0.528, abs=5e-4)
    assert sum(overlaps["0.65"]) / 11 == pytest.approx(0.618, abs=5e-4)


def test_a_lang2vec_that_cannot_be_imported_is_named(
    lang2vec: Lang2vec, tmp_path: Path, uriel: Uriel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lang2vec" / "lang2vec.py").write_text("import no_such_pkg_resources")
    monkeypatch.delitem(sys.modules, "lang2vec.lang2vec")
    with pytest.raises(UnsupportedError, match=r"cannot be imported: No module .*\nhint: it needs"):
        Lang2vec(uriel)


def test_a_table_is_read_exactly(table: Table) -> None:
    assert table.languages() == ("ar", "en", "pt-BR", "yo")
    assert table.distances("syntactic", "yo", ["en", "ar", "yo"]) == (
        Fraction("0.6"),
        Fraction("0.75"),
        0,
    )
    assert table.distances("genetic", "ar", ["yo", "en"]) == (None, 1)
    assert table.missing("genetic", "ar", "yo") == (
        "the table has no genetic distance between ar and yo"
    )
    assert table.lineage("yo") == ()
    assert table.place("yo") is None


def test_a_table_is_searched_by_tag_then_by_language(table: Table) -> None:
    assert table.locate("eng").code == "en"
    assert table.locate("en-GB").code == "en"
    assert table.locate("pt_br").code == "pt-BR"
    with pytest.raises(UnsupportedError, match=r"has no language 'pt'\nhint: it has pt-BR$"):
        table.locate("pt")
    with pytest.raises(UnsupportedError, match="it has ar en pt-BR yo"):
        table.locate("fr")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no column language_a, language_b, syntactic, geographic"),
        ("language_a\tlanguage_b\tsyntactic\nyo\ten\t1\n", "has no column geographic\nhint: its"),
        (HEADER, "has no rows"),
        (HEADER + "yo\ten\t.6\t.2\t1\nen\tyo\t.6\t.2\t1\n", "line 3: en and yo stand in the table"),
        (HEADER + "yo\tyo\t0\t0\t0\n", "line 2: yo is paired with itself"),
        (HEADER + "yo\ten\tclose\t.2\t1\n", "line 2: 'close' is not a number"),
        (HEADER + "yo\ten\t1/0\t.2\t1\n", "line 2: '1/0' is not a number"),
        (HEADER + "yo\ten\t1.2\t.2\t1\n", "line 2: the syntactic distance 1.2 is not between 0"),
        (HEADER + "yo\ten\t.2\tnan\t1\n", "line 2: 'nan' is not a number"),
        (HEADER + "yo\tjp\t.2\t.2\t1\n", "line 2: 'jp' is not the code of a language\nhint: did"),
        (HEADER + "yo\n", "line 2: '' is not the code of a language"),
        (b"\xff\xfe", "cannot be read: 'utf-8' codec"),
    ],
)
def test_a_table_that_is_none_is_refused(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = tmp_path / "mine.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ParseError) as error:
        Table.read(path)
    assert message in str(error.value)


def test_a_table_with_a_byte_order_mark_and_windows_lines_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode())
    assert Table.read(path).distances("geographic", "en", ["yo"]) == (Fraction("0.25"),)


def test_another_content_is_another_version(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(TABLE)
    before = Table.read(path).version
    path.write_text(TABLE.replace("0.6", "0.61"))
    assert Table.read(path).version != before

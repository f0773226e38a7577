"""From what people call a language to the code that its data stand under."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from isogloss.dsl.errors import LanguageError, UnsupportedError
from isogloss.dsl.relatedness.cache import load
from isogloss.dsl.relatedness.codes import locate, stand_ins, stands_for, tag_of, three_letters
from isogloss.dsl.relatedness.lang2vec_data import installation
from isogloss.dsl.relatedness.snapshot import Snapshot
from isogloss.dsl.relatedness.uriel import Uriel

ENOUGH = 15


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return load(installation(), tmp_path_factory.getbasetemp() / "uriel")


@pytest.fixture(scope="module")
def uriel(facts: Snapshot) -> Uriel:
    return Uriel(facts)


@pytest.fixture(scope="module")
def members() -> dict[str, set[str]]:
    """The members of every macrolanguage in the registry of language subtags."""
    package = import_module("language_data")
    assert package.__file__ is not None
    registry = Path(package.__file__).parent / "data" / "language-subtag-registry.txt"
    found: dict[str, set[str]] = {}
    for record in registry.read_text(encoding="utf-8").split("%%"):
        subtag = re.search(r"^Subtag: (\S+)", record, re.MULTILINE)
        group = re.search(r"^Macrolanguage: (\S+)", record, re.MULTILINE)
        if subtag and "Scope: macrolanguage" in record:
            found.setdefault(three_letters(subtag[1]), set())
        if subtag and group and "Type: language" in record:
            found.setdefault(three_letters(group[1]), set()).add(three_letters(subtag[1]))
    return found


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("yo", "yor"),
        ("YO", "yor"),
        ("yor", "yor"),
        (" yo ", "yor"),
        ("Yoruba", "yor"),
        ("yoruba", "yor"),
        ("North Frisian", "frr"),
        ("español", "spa"),
        ("pt-BR", "por"),
        ("pt_BR", "por"),
        ("zh", "cmn"),
        ("zh-Hant", "cmn"),
        ("zh-yue", "yue"),
        ("Chinese", "cmn"),
        ("ar", "arb"),
        ("arz", "arz"),
        ("sw", "swh"),
        ("ne", "nep"),
        ("fa", "pes"),
        ("az", "azb"),
        ("om", "hae"),
        ("ms", "msa"),
        ("uz", "uzn"),
        ("sq", "als"),
        ("mn", "khk"),
        ("no", "nor"),
        ("nb", "nob"),
        ("sr-Latn", "srp"),
        ("tl", "tgl"),
        ("iw", "heb"),
        ("gre", "ell"),
        ("cti", "cti"),
    ],
)
def test_a_language_is_found(uriel: Uriel, asked: str, code: str) -> None:
    found = uriel.locate(asked)
    assert (found.language, found.code) == (asked, code)


def test_the_answer_says_why_another_code_is_used(uriel: Uriel) -> None:
    assert uriel.locate("sw").note.endswith("the written standard, 34 features")
    assert uriel.locate("yo").note == ""
    assert "Tagalog" in uriel.locate("fil").note


def test_a_code_wins_over_a_name(uriel: Uriel) -> None:
    assert uriel.locate("ga").code == uriel.locate("Ga").code == "gle"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            "Yorubba",
            "is neither the code nor the name of a language\nhint: did you mean 'Yoruba' or",
        ),
        ("jp", "'jp' is neither the code nor the name of a language\nhint: did you mean 'ja'"),
        ("", "'' is neither the code nor the name of a language"),
        ("xx", "'xx' is neither the code nor the name of a language"),
        ("a" * 500, "…' is neither the code nor the name of a language"),
        ("yo\nyo", "yo' is neither the code nor the name of a language"),
    ],
)
def test_what_is_no_language_is_refused(uriel: Uriel, asked: str, message: str) -> None:
    with pytest.raises(LanguageError) as error:
        uriel.locate(asked)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("bh", "there are no distances for 'bh' (Bihari languages): URIEL has no language 'bih'"),
        ("mul", "'mul' does not stand for one language"),
        ("und", "'und' does not stand for one language"),
    ],
)
def test_a_language_without_data_is_refused(uriel: Uriel, asked: str, message: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        uriel.locate(asked)
    assert str(error.value) == message


def test_a_member_without_data_is_told_of_its_siblings() -> None:
    with pytest.raises(UnsupportedError, match=r"that have data: cmn yue$"):
        locate("wuu", {"cmn", "yue"}.__contains__)


def test_every_language_of_the_data_can_be_asked_for(uriel: Uriel) -> None:
    lost = []
    for code in uriel.languages():
        if code in ("mis", "mul", "und", "zxx"):
            continue
        try:
            found = uriel.locate(code)
        except (LanguageError, UnsupportedError):
            lost.append(code)
        else:
            assert found.code in uriel.languages()
    assert lost == []


def test_every_macrolanguage_has_a_stand_in(members: dict[str, set[str]]) -> None:
    assert len(members) == 62
    assert set(members) <= set(stand_ins())


def test_stand_ins_are_rows_of_the_data_with_a_reason(facts: Snapshot) -> None:
    for language, (code, reason) in stand_ins().items():
        assert code in facts, language
        assert len(reason) > 20, language
        assert stands_for(language) == code


def test_a_member_stands_in_where_the_data_know_one(
    facts: Snapshot, members: dict[str, set[str]]
) -> None:
    for language, group in members.items():
        if language in ("msa", "nor"):
            continue
        code = stand_ins()[language][0]
        needs_family = bool(facts.lineage(language))
        enough = {
            member
            for member in group
            if member in facts
            and facts.syntax(member).bit_count() >= ENOUGH
            and (facts.lineage(member) or not needs_family)
        }
        if enough:
            assert code in enough, language
        else:
            assert code == language, language


def test_the_numbers_in_the_reasons_are_those_of_the_data(facts: Snapshot) -> None:
    for language, (code, reason) in stand_ins().items():
        if number := re.search(r"(?:, |the most: (\w+) )(\d+)(?: features|$|\))", reason):
            counted = number[1] or code
            assert facts.syntax(counted).bit_count() == int(number[2]), language


def test_older_codes_stand_in_only_where_they_know_more(facts: Snapshot) -> None:
    for language, (code, reason) in stand_ins().items():
        if "retired" in reason:
            newer = facts.syntax(language) if language in facts else -1
            assert newer < 0 or facts.syntax(code).bit_count() > newer.bit_count()


def test_tags_are_normal_forms() -> None:
    assert tag_of("Yoruba", lambda code: False) == "yo"
    assert tag_of("pt_br", lambda code: False) == "pt-BR"

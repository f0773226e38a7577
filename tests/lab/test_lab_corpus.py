"""Reading training data, and what the shipped texts hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from isogloss.lab import DataError, LabError
from isogloss.lab.corpus import Pair, read_pairs, read_texts, shipped


@pytest.mark.parametrize("language", ["en", "es", "pt", "sw", "yo"])
def test_shipped_texts_are_there(language: str) -> None:
    texts = read_texts(shipped(language))
    assert len(texts) == len(set(texts)) == 20


@pytest.mark.parametrize("language", ["en", "es", "sw"])
def test_summaries_are_shorter_than_their_texts(language: str) -> None:
    pairs = read_pairs(shipped(language))
    assert len(pairs) == 20
    assert all(len(pair.target) < len(pair.source) for pair in pairs)


@pytest.mark.parametrize("language", ["pt", "yo"])
def test_languages_without_labelled_data_have_none(language: str) -> None:
    with pytest.raises(
        DataError, match=r"line 1: field 'summary' is missing; its fields are: text$"
    ):
        read_pairs(shipped(language))


def test_unknown_language_names_those_that_are_there() -> None:
    with pytest.raises(DataError, match=r"'fr'; there are texts for en, es, pt, sw, yo$"):
        shipped("fr")


def test_fields_are_chosen_and_blank_lines_skipped(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"document": "a\u2028b", "title": "c"}\n\n{"document": "d", "title": "e"}\n')
    assert read_texts(path, field="title") == ("c", "e")
    assert read_pairs(path, source_field="document", target_field="title") == (
        Pair("a\u2028b", "c"),
        Pair("d", "e"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no texts"),
        ('{"text": "a"}\n{"text": ', "line 2: not JSON"),
        ("[1]", r"line 1: a JSON object was expected, not '\[1\]'"),
        ('{"text": 3}', "line 1: field 'text' is 3, not a text"),
        ('{"text": " "}', "line 1: field 'text' is ' ', not a text"),
    ],
)
def test_bad_files_are_refused_with_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_texts(path)


def test_files_that_cannot_be_read_are_the_labs_errors(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be read: No such file"):
        read_texts(tmp_path / "absent.jsonl")
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"text": "caf\xe9"}')
    with pytest.raises(LabError, match="is not UTF-8"):
        read_texts(latin)

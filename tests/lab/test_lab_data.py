"""Reading data: every format, the sets that need no flags, what is refused, and the order."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from isogloss.lab import DataError, LabError, NoDataError
from isogloss.lab.data.fields import Fields
from isogloss.lab.data.order import Drawn
from isogloss.lab.data.records import Pair, Text, read_pairs, read_texts
from isogloss.lab.data.source import fingerprint, parse_source, shipped

ROWS = [
    {"id": "a", "text": "The river rose, \u2028and rose.", "summary": "Flood"},
    {"id": "b", "text": 'He said "no"\nand left.', "summary": "Refusal"},
    {"id": "c", "text": "नेपाली", "summary": "भाषा"},
]


def write_jsonl(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def write_csv(path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, ["id", "text", "summary"], delimiter="\t" if path.suffix == ".tsv" else ","
        )
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def write_parquet(path: Path) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def zipped(path: Path) -> Path:
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", write_jsonl),
        ("a.json", write_jsonl),
        ("a.csv", write_csv),
        ("a.tsv", write_csv),
        ("a.parquet", write_parquet),
    ],
)
def test_every_format_gives_the_same_pairs(
    tmp_path: Path, name: str, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path / name)
    expected = [Pair(r["id"], r["text"], r["summary"], (r["summary"],)) for r in ROWS]
    assert list(read_pairs(path)) == expected
    assert list(read_pairs(str(path), limit=2)) == expected[:2]
    assert list(read_texts(path)) == [Text(r["id"], r["text"]) for r in ROWS]
    if name != "a.parquet":
        assert list(read_pairs(zipped(path))) == expected


def test_a_text_file_is_a_text_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n\n  \ntwo\r\nthree")
    assert list(read_texts(path)) == [Text("1", "one"), Text("4", "two"), Text("5", "three")]


def test_rows_are_streamed(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl")
    with path.open("a") as file:
        file.write("this is no JSON\n")
    texts = read_texts(path)
    assert [next(texts).id for _ in ROWS] == ["a", "b", "c"]
    with pytest.raises(DataError, match=r"line 4: not JSON"):
        next(texts)


def test_named_fields_are_read(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"body": "long", "title": "short", "text": "t"}])
    (pair,) = read_pairs(path, Fields(source="body", target="title"))
    assert (pair.id, pair.source, pair.target) == ("1", "long", "short")
    assert [text.text for text in read_texts(path, Fields(text="title"))] == ["short"]


def dataset(folder: Path, rows: list[dict[str, Any]], split: str = "train") -> str:
    write_jsonl(folder / f"{split}.jsonl", rows)
    return str(folder)


def test_xlsum_needs_no_flags(tmp_path: Path) -> None:
    row = {
        "id": "news-1",
        "url": "https://example.org/1",
        "title": "Flood",
        "summary": "The river rose.",
        "text": "In the night the river rose.",
    }
    place = dataset(tmp_path / "xlsum", [row])
    dataset(tmp_path / "xlsum", [row | {"id": "news-2"}], "test")
    expected = ("In the night the river rose.", "The river rose.")
    (pair,) = read_pairs(place)
    assert (pair.id, pair.source, pair.target) == ("news-1", *expected)
    assert [pair.id for pair in read_pairs(f"{place}::test")] == ["news-2"]
    assert [text.text for text in read_texts(place)] == [expected[0]]


def test_tydi_qa_needs_no_flags_and_is_told_apart_by_language(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"{language}-3215-{number}",
            "title": "Nile",
            "context": f"The Nile is long. ({language})",
            "question": "What is long?",
            "answers": {"text": answers, "answer_start": [0] * len(answers)},
        }
        for number, (language, answers) in enumerate(
            [("english", ["The Nile", "Nile", "Nile"]), ("swahili", ["Nili"])]
        )
    ]
    place = dataset(tmp_path / "tydiqa", rows)
    assert [pair.id for pair in read_pairs(place)] == ["english-3215-0", "swahili-3215-1"]
    (pair,) = read_pairs(place, language="eng")
    assert pair.source == "The Nile is long. (english)\nWhat is long?"
    assert (pair.target, pair.targets) == ("The Nile", ("The Nile", "Nile"))
    with pytest.raises(DataError, match="holds no rows in the language 'fi'"):
        list(read_pairs(place, language="fi"))


def test_mc4_needs_no_flags(tmp_path: Path) -> None:
    row = {"text": "Odò kún ní òru.", "timestamp": "2019-04-25T12:57:54Z", "url": "https://a.org"}
    folder = tmp_path / "c4"
    path = write_jsonl(folder / "multilingual" / "c4-yo.tfrecord-00000-of-00001.json", [row])
    zipped(path)
    path.unlink()
    assert [text.text for text in read_texts(f"{folder}")] == ["Odò kún ní òru."]


def test_configurations_are_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("english", "yoruba"):
        write_jsonl(folder / name / "train.jsonl", [ROWS[0] | {"id": name}])
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: english\n  data_files: english/*.jsonl\n"
        "- config_name: yoruba\n  data_files: yoruba/*.jsonl\n---\n"
    )
    assert [pair.id for pair in read_pairs(f"{folder}:yoruba")] == ["yoruba"]
    assert [pair.id for pair in read_pairs(f"{folder}:english:train")] == ["english"]
    with pytest.raises(NoDataError, match=r"cannot be loaded.*welsh"):
        list(read_pairs(f"{folder}:welsh"))
    with pytest.raises(NoDataError, match=r"has no split 'test'; it has train$"):
        fingerprint(f"{folder}:english:test")
    assert fingerprint(f"{folder}:english") != fingerprint(f"{folder}:yoruba")


def test_fingerprints_change_with_the_content_alone(tmp_path: Path) -> None:
    one = write_jsonl(tmp_path / "one.jsonl")
    same = write_jsonl(tmp_path / "same.jsonl")
    other = write_jsonl(tmp_path / "other.jsonl", ROWS[:2])
    assert fingerprint(one) == fingerprint(str(same))
    assert fingerprint(one) != fingerprint(other)
    place = dataset(tmp_path / "set", ROWS)
    before = fingerprint(place)
    assert before.startswith("sha256:")
    dataset(tmp_path / "set", ROWS[:2])
    assert fingerprint(place) != before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"'.*' holds no rows"),
        ('{"text": "a", "summary": "b"}\n{"text": ', "line 2: not JSON"),
        ("[1]", r"line 1: a JSON object was expected, not '\[1\]'"),
        ('{"text": 3, "summary": "b"}', "line 1: field 'text' is 3, not a text"),
        ('{"text": "a", "summary": " "}', "line 1: field 'summary' is empty: leave such rows out"),
        (
            '{"text": "a", "summary": "b"}\n{"text": "a"}',
            "line 2: field 'summary' is missing; its fields are: text",
        ),
        (
            '{"body": "a"}',
            "which fields are source and target.*--source-field.*its fields are: body",
        ),
        ('{"context": "a", "question": "b", "answers": {"text": []}}', "'answers' holds no answer"),
    ],
)
def test_bad_pairs_are_refused_with_their_place(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        list(read_pairs(path))


def test_named_fields_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"no field 'body'; its fields are: id, summary, text"):
        list(read_pairs(path, Fields(source="body", target="summary")))
    with pytest.raises(DataError, match=r"no field 'body'\. its fields are: id, summary, text"):
        list(read_texts(path, Fields(text="body")))
    path = write_jsonl(tmp_path / "b.jsonl", [{"body": "x"}])
    with pytest.raises(DataError, match=r"no field 'text'.*--text-field.*its fields are: body"):
        list(read_texts(path))
    with pytest.raises(DataError, match="name the other field too, with --target-field"):
        list(read_pairs(path, Fields(source="body")))


def test_what_cannot_be_read_is_the_labs_error(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=r"there is no file '.*absent\.jsonl'"):
        parse_source(tmp_path / "absent.jsonl")
    with pytest.raises(NoDataError, match=r"there is no folder"):
        parse_source(tmp_path / "absent")
    with pytest.raises(DataError, match="name is empty"):
        parse_source(" ")
    odd = tmp_path / "a.docx"
    odd.write_text("x")
    with pytest.raises(DataError, match=r"has none of the endings \.jsonl"):
        parse_source(odd)
    with pytest.raises(DataError, match="a part of a split has no name"):
        parse_source("xlsum:english:train[:10%]")
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"text": "caf\xe9"}')
    with pytest.raises(LabError, match="is not UTF-8"):
        list(read_texts(latin))
    (tmp_path / "a.parquet").write_text("x")
    with pytest.raises(LabError, match="is not Parquet"):
        list(read_texts(tmp_path / "a.parquet"))
    (tmp_path / "a.jsonl.gz").write_text("x")
    with pytest.raises(LabError, match="is not whole gzip data"):
        list(read_texts(tmp_path / "a.jsonl.gz"))
    (tmp_path / "a.csv").write_text("text,summary\na,b\nc\n")
    with pytest.raises(LabError, match="line 3: not as many fields as the first line names"):
        list(read_pairs(tmp_path / "a.csv"))


@pytest.mark.parametrize("language", ["en", "es", "pt", "sw", "yo"])
def test_shipped_texts_are_there(language: str) -> None:
    texts = [text.text for text in read_texts(shipped(language))]
    assert len(texts) == len(set(texts)) == 20


@pytest.mark.parametrize("language", ["en", "es", "sw"])
def test_summaries_are_shorter_than_their_texts(language: str) -> None:
    pairs = list(read_pairs(shipped(language)))
    assert len(pairs) == 20
    assert all(len(pair.target) < len(pair.source) for pair in pairs)


def test_unknown_language_names_those_that_are_there() -> None:
    with pytest.raises(NoDataError, match=r"'fr'; there are texts for en, es, pt, sw, yo$"):
        shipped("fr")


def numbers(low: int, high: int) -> Callable[[], Iterator[int]]:
    return lambda: iter(range(low, high))


def test_every_epoch_holds_each_row_once_in_an_order_of_its_own() -> None:
    drawn = Drawn([numbers(0, 50)], seed=1)
    epochs = [[drawn[50 * epoch + n] for n in range(50)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != list(range(50))
    other = Drawn([numbers(0, 50)], seed=2)
    assert [other[n] for n in range(50)] != epochs[0]


def test_an_items_number_alone_decides_it() -> None:
    drawn, again = Drawn([numbers(0, 30)], seed=3, buffer=8), Drawn([numbers(0, 30)], 3, buffer=8)
    forwards = [drawn[n] for n in range(75)]
    assert [again[n] for n in (70, 12, 13, 0, 74)] == [forwards[n] for n in (70, 12, 13, 0, 74)]


def test_a_small_buffer_streams_and_still_shows_each_row_once() -> None:
    drawn = Drawn([numbers(0, 1000)], seed=0, buffer=10)
    epoch = [drawn[n] for n in range(1000)]
    assert sorted(epoch) == list(range(1000))
    assert all(item <= place + 10 for place, item in enumerate(epoch))


def test_several_sets_take_turns() -> None:
    drawn = Drawn([numbers(0, 3), numbers(100, 109)], seed=0, buffer=1)
    assert [drawn[n] for n in range(7)] == [0, 100, 1, 101, 2, 102, 103]
    assert Counter(drawn[n] for n in range(24)) == Counter([*range(3), *range(100, 109)] * 2)

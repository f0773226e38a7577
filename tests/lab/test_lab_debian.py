"""Debian's descriptions: read as apt has them, cleaned, and split by families of packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from isogloss.lab.debian import (
    Description,
    Limits,
    find_descriptions,
    make_dataset,
    read_descriptions,
    stem_of,
)
from isogloss.lab.debian.__main__ import main
from isogloss.lab.debian.files import LANGUAGES, pins
from isogloss.lab.errors import DataError

STANZAS = """\
Package: 2048-qt
Description-md5: 0f25c2ca95ceff4500fde9f651d74f2e
Description-es: juego de rompecabezas basado en matemáticas
 2048 rompecabezas es un juego en el que tiene que deslizar las fichas
 en una fila.
\u0020\u0020
 Tiene que combinar:
  * fichas del mismo número
  * o
    ninguna
 .
 Fin.

Package: empty
Description-es: nada

"""


def test_a_stanza_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "Translation-es"
    path.write_text(STANZAS, encoding="utf-8")
    (found,) = read_descriptions(path)
    assert found == Description(
        "2048-qt",
        "juego de rompecabezas basado en matemáticas",
        (
            "2048 rompecabezas es un juego en el que tiene que deslizar las fichas en una fila.",
            "Tiene que combinar:",
            "* fichas del mismo número",
            "* o",
            "ninguna",
            "Fin.",
        ),
    )


def test_what_is_no_translation_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "Translation-es"
    path.write_text(STANZAS + "Description-es: x\n y\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"Translation-es, line 17: a stanza without 'Package:'"):
        list(read_descriptions(path))


@pytest.mark.parametrize(
    ("package", "stem"),
    [
        ("libboost1.74-dev", "boost"),
        ("boost-build", "boost"),
        ("libreoffice-l10n-de", "libreoffice"),
        ("python3-numpy", "numpy"),
        ("python3-django-tables2", "tables"),
        ("librust-serde-dev", "serde"),
        ("r-cran-ggplot2", "ggplot"),
        ("0ad", "0ad"),
        ("9menu", "9menu"),
        ("x11-utils", "x11-utils"),
    ],
)
def test_a_family_has_one_stem(package: str, stem: str) -> None:
    assert stem_of(package) == stem


def described(package: str, synopsis: str = "", body: str = "") -> Description:
    return Description(
        package,
        synopsis or f"synopsis of {package}",
        (body or f"{package} is described here in a sentence that is long enough to be kept.",),
    )


def test_a_family_lies_on_one_side_in_every_language() -> None:
    packages = [f"{stem}-{part}" for stem in letters(60) for part in ("common", "doc", "data")]
    sides: dict[str, set[str]] = {}
    for some in (packages, packages[1::2]):
        for split, pairs in make_dataset(map(described, some), Limits()).pairs.items():
            for pair in pairs:
                sides.setdefault(stem_of(pair.package), set()).add(split)
    assert len(sides) == 60
    assert all(len(splits) == 1 for splits in sides.values())
    assert {split for splits in sides.values() for split in splits} == {"train", "dev", "test"}


def letters(count: int) -> list[str]:
    return [f"{chr(97 + number // 26)}{chr(97 + number % 26)}x" for number in range(count)]


def test_families_are_thinned_and_repetitions_dropped() -> None:
    family = [described(f"gcc-{part}", f"compiler {part}", f"{part} " * 20) for part in letters(9)]
    repeated = [
        described("qq-1", "the same 1.0", "aaaa " * 20),
        described("zz", "The same 2", "bb " * 40),
    ]
    again = [described("rr", "one", "cccc " * 20), described("ss", "two words", "Cccc " * 20)]
    short = [described("tt", "tiny thing", "too short")]
    made = make_dataset([*family, *repeated, *again, *short], Limits(family=4, synopsis=3))
    assert made.dropped == {"family": 5, "repeated": 2, "short": 1}
    assert sum(len(pairs) for pairs in made.pairs.values()) == 4 + 1 + 1


def test_what_is_translated_in_part_is_left_out() -> None:
    english = {name: described(name) for name in ("aa", "bb", "cc")}
    halfway = Description("aa", "sinopsis traducida", english["aa"].paragraphs)
    title = described(
        "bb", english["bb"].synopsis, "traducido del todo, pero no así su sinopsis " * 2
    )
    whole = described(
        "cc", "sinopsis de cc", "un paquete descrito en español de principio a fin " * 2
    )
    made = make_dataset([halfway, title, whole], Limits(), original=english)
    assert [p.package for pairs in made.pairs.values() for p in pairs] == ["cc"]
    assert made.dropped == {"untranslated": 2}


def test_a_document_is_cut_at_the_end_of_a_word() -> None:
    long = described("aa", body="Bibliothek " * 30)
    (pair,) = (p for kept in make_dataset([long], Limits(longest=100)).pairs.values() for p in kept)
    assert len(pair.document) <= 100
    assert pair.document.split(" ") == ["Bibliothek"] * 9


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "lists"
    folder.mkdir()
    for code, words in (
        ("en", "is described here, at length, in English"),
        ("pt%5fBR", "descrito aqui"),
    ):
        field = code.replace("%5f", "_")
        text = "".join(
            f"Package: {name}\nDescription-{field}: {words} {name}\n"
            f" {name} {words}, {name} {words}.\n {'x' * 40}{name}\n\n"
            for name in letters(30)
        )
        (folder / f"mirror_dists_bookworm_main_i18n_Translation-{code}").write_text(text)
    return folder


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_the_command_writes_what_training_reads(lists: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    given = [str(folder), "--lists", str(lists), "--language", "en", "--language", "pt_BR"]
    done = CliRunner().invoke(main, [*given, "--accept-changed"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    said = json.loads((folder / "dataset.json").read_text())
    assert said["other_than_pinned"] == ["en", "pt_BR"]
    assert set(said["languages"]) == {"en", "pt-BR"}
    kept = {}
    for split in ("train", "dev", "test"):
        rows = [json.loads(line) for line in lines_of(folder / "pt-BR" / f"{split}.jsonl")]
        assert len(rows) == said["languages"]["pt-BR"][split]
        assert all(set(row) == {"id", "document", "summary"} for row in rows)
        kept[split] = {row["document"] for row in rows}
    texts = {json.loads(line)["text"] for line in lines_of(folder / "pt-BR" / "texts.jsonl")}
    assert texts == kept["train"]
    assert not texts & (kept["dev"] | kept["test"])


def test_other_files_than_the_pinned_ones_are_refused_by_name(lists: Path, tmp_path: Path) -> None:
    given = [str(tmp_path / "data"), "--lists", str(lists), "--language", "pt_BR"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 1
    assert "not the pinned files: en, pt_BR" in done.output
    assert "--accept-changed" in done.output
    assert not (tmp_path / "data" / "pt-BR").exists()


def test_a_language_that_is_not_there_is_told(lists: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no Translation file of 'de' in .*there are: en, pt_BR"):
        find_descriptions(lists, ["en", "de"])
    done = CliRunner().invoke(main, [str(tmp_path), "--lists", str(lists), "--language", "xx"])
    assert "unknown language 'xx'; Debian's codes here are: en, da" in done.output


def test_every_language_is_pinned() -> None:
    assert set(pins()) == set(LANGUAGES)
    assert all(len(digest) == 64 for digest in pins().values())

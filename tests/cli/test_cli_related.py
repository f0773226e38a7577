"""related, and the evidence that explain shows of a choice of languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..conftest import WriteLora
    from .conftest import Invoke, OnATerminal

AMONG = ("--among", "en,ar,sw,fr,ha")
TABLE = (
    "language_a\tlanguage_b\tsyntactic\tgeographic\n"
    "yo\ten\t0.9\t0.1\n"
    "yo\tpt\t0.123456\t0.2\n"
    "yo\tar\t\t0.2\n"
)


def read(invoke: Invoke, *arguments: str | Path, code: int = 0) -> Any:
    return json.loads(invoke("related", *arguments, "--json", code=code).stdout)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of distances of one's own."""
    path = tmp_path / "mine.tsv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_among_some_languages_no_catalogue_is_needed(invoke: Invoke) -> None:
    data = read(invoke, "yo", *AMONG)
    languages = data.pop("languages")
    assert data == {
        "target": "yo",
        "target_code": "yor",
        "target_name": "Yoruba",
        "target_family": "Atlantic-Congo",
        "target_note": "",
        "rule": "related(yo, syntactic=0.7, geographic=0.3)",
        "backend": "uriel",
        "version": data["version"],
        "warnings": [],
    }
    assert data["version"].startswith("lang2vec ")
    assert [one["language"] for one in languages] == ["ha", "en", "sw", "fr", "ar"]
    assert [one["selected"] for one in languages] == [True, True, True, False, False]
    assert languages[3] == {
        "language": "fr",
        "code": "fra",
        "name": "French",
        "syntactic": 0.7228,
        "geographic": 0.2271,
        "genetic": 1.0,
        "family": "Indo-European",
        "selected": False,
        "status": "outside",
        "reason": "syntactic 0.7228 is not under 0.7",
        "note": "",
    }


def test_related_in_words(invoke: Invoke) -> None:
    title, rule, _, head, *lines = invoke("related", "Yoruba", *AMONG).stdout.splitlines()
    assert title == "Yoruba (yor, Atlantic-Congo)"
    assert rule.startswith("related(Yoruba, syntactic=0.7, geographic=0.3); distances: uriel, ")
    assert head.split() == [
        *("language", "code", "name", "syntactic", "geographic", "genetic", "family", "why")
    ]
    assert lines[0].split()[:7] == [
        *("ha", "hau", "Hausa", "0.5273", "0.0358", "1.0000", "Afro-Asiatic")
    ]
    assert "inside: syntactic 0.5273 is under 0.7 and geographic 0.0358 is under 0.3" in lines[0]
    assert lines[4].startswith("ar        arb   Arabic ")
    assert lines[4].endswith("outside: syntactic 0.7323 is not under 0.7")
    assert [line.partition(": ")[0] for line in lines[5:]] == ["sw (swh)", "ar (arb)"]
    assert "Standard Arabic" in lines[6]


def test_among_the_languages_of_the_catalogue(
    catalogue: None, invoke: Invoke, write_lora: WriteLora
) -> None:
    more = (("sw", 5, ()), ("yo", 6, ()), ("ha,ig", 7, ("--name", "both")), ("fr", 8, ()))
    for language, seed, name in more:
        folder = write_lora(f"runs/lm-{language}", seed=seed)
        invoke("add", folder, "--kind", "lm", "--language", language, *name)
    invoke("withdraw", "lm-fr@v1", "--reason", "bad")
    data = read(invoke, "yo")
    assert {one["language"]: one["adapters"] for one in data["languages"]} == {
        "en": ["lm-en@v1", "xlsum-en@v1"],
        "pt": ["lm-pt@v1"],
        "sw": ["lm-sw@v1"],
    }
    lines = invoke("related", "yo", "--among", "en,ar").stdout.splitlines()
    assert lines[3].split()[-1] == "adapters"
    assert lines[4].endswith("  lm-en@v1 xlsum-en@v1")
    assert [choice["selections"][0] for choice in explained(invoke, "mean(lm[related(yo)])")] == [
        data
        | {
            "languages": [
                {name: value for name, value in one.items() if name != "adapters"}
                for one in data["languages"]
            ]
        }
    ]


def explained(invoke: Invoke, *arguments: str | Path) -> Any:
    return json.loads(invoke("explain", *arguments, "--json").stdout)["choices"]


def test_all_languages(catalogue: None, invoke: Invoke, write_lora: WriteLora) -> None:
    invoke("add", write_lora("runs/sw"), "--kind", "lm", "--language", "sw")
    result = invoke("related", "yo", "--all", "--json")
    data = json.loads(result.stdout)
    assert len(data["languages"]) > 2000
    by_code: dict[str, list[Any]] = {}
    for one in data["languages"]:
        by_code.setdefault(one["code"], []).append(one)
    assert [len(rows) for code, rows in by_code.items() if len(rows) > 1 and code] == []
    (swahili,) = by_code["swh"]
    assert (swahili["language"], swahili["adapters"]) == ("sw", ["lm-sw@v1"])
    chosen = [one["language"] for one in data["languages"] if one["selected"]]
    assert {"en", "sw", "hau", "ibo"} <= set(chosen)
    (warning,) = data["warnings"]
    assert "languages cannot be judged, such as " in warning
    assert result.stderr == f"warning: {warning}\n"
    lines = invoke("related", "yo", "--all").stdout.splitlines()
    assert len([line for line in lines if "inside: " in line]) == len(chosen)
    assert len([line for line in lines if "outside: " in line]) == 20
    assert lines[-1].endswith("more, outside or not judged; --json has all of them")


def test_other_thresholds_and_a_preset(invoke: Invoke) -> None:
    chosen = [
        [
            one["language"]
            for one in read(invoke, "yo", *AMONG, *options)["languages"]
            if one["selected"]
        ]
        for options in (
            ("--syntactic", "0.6"),
            ("--syntactic", "3/4", "--geographic", "0.25"),
            ("--preset", "table5"),
        )
    ]
    assert chosen == [["ha"], ["ha", "sw", "fr", "ar"], ["en", "ar"]]
    data = read(invoke, "yo", *AMONG, "--preset", "table5")
    assert data["rule"] == "related(yo, preset=table5)"
    assert data["languages"][0]["reason"] == "in Table 5 of Chronopoulou et al. 2023"


def test_distances_of_ones_own(invoke: Invoke, table: Path) -> None:
    result = invoke(
        "related", "yo", "--among", "en,pt", "--among", "ar", "--distances", table, "--json"
    )
    data = json.loads(result.stdout)
    assert data["backend"] == "table"
    assert data["version"].startswith("mine.tsv crc32:")
    assert [(one["language"], one["status"]) for one in data["languages"]] == [
        ("pt", "chosen"),
        ("en", "outside"),
        ("ar", "unknown"),
    ]
    assert data["languages"][0]["syntactic"] == 0.1235
    assert data["languages"][0]["genetic"] is None
    assert data["languages"][0]["family"] is None
    assert result.stderr == f"warning: {data['warnings'][0]}\n"
    words = invoke("related", "yo", "--among", "en,pt,ar", "--distances", table).stdout
    assert "not judged: the table has no syntactic distance between yo and ar" in words
    assert words.startswith("Yoruba (yo, no family known)\n")


def test_an_empty_choice_shows_its_evidence(invoke: Invoke) -> None:
    arguments = ("yo", "--among", "en,fr", "--syntactic", "0.2")
    result = invoke("related", *arguments, code=3)
    assert "outside: syntactic 0.6089 is not under 0.2" in result.stdout
    assert result.stderr == (
        "error: related(yo, syntactic=0.2, geographic=0.3) chooses no language; the nearest miss"
        " of 2 is en: syntactic 0.6089, geographic 0.2555\n"
    )
    data = read(invoke, *arguments, code=3)
    assert [one["selected"] for one in data["languages"]] == [False, False]


def test_a_catalogue_without_other_languages(invoke: Invoke) -> None:
    invoke("init")
    result = invoke("related", "yo", code=3)
    assert "there are no other languages to choose from" in result.stderr
    assert "hint: --among en,ar or --all choose among other languages" in result.stderr
    assert read(invoke, "yo", code=3)["languages"] == []


@pytest.mark.parametrize("suffix", ["html", "png", "HTML"])
def test_a_map(invoke: Invoke, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("vl_convert", reason="the extra 'map' is not installed")
    path = tmp_path / f"yo.{suffix}"
    words = invoke("related", "yo", *AMONG, "--map", path).stdout
    assert words.endswith(f"\nMap written to {path}\n")
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == "png" else b"<!DOCTYPE html>")
    assert read(invoke, "yo", *AMONG, "--map", path)["target"] == "yo"


def test_related_on_a_terminal(on_a_terminal: OnATerminal) -> None:
    lines = on_a_terminal(120, "related", "yo", *AMONG).splitlines()
    assert max(len(line) for line in lines if "\x1b" not in line) <= 120
    assert any("Hausa" in line for line in lines)


def test_evidence_in_explain(catalogue: None, invoke: Invoke, write_lora: WriteLora) -> None:
    for seed, language in enumerate(("es", "it", "fr", "ja", "ko", "tr", "vi", "th"), start=10):
        invoke("add", write_lora(language, seed=seed), "--kind", "lm", "--language", language)
    expression = "mean(lm[related(pt)]) + 0.5*mean(lm[related(pt), rank=2])"
    words = invoke("explain", expression).stdout
    title = "\nrelated(pt, syntactic=0.7, geographic=0.3); distances: uriel, lang2vec "
    assert words.count(title) == 1
    evidence = words.partition(title)[2].partition("\n\n")[0].splitlines()[2:]
    verdicts = [line.partition(": ")[0].split()[-1] for line in evidence[:-1]]
    assert verdicts == ["inside"] * (len(verdicts) - 3) + ["outside"] * 3
    left_out = 9 - len(verdicts)
    assert evidence[-1] == f"and {left_out} more, outside or not judged; --json has all of them"
    first, second = explained(invoke, expression)
    assert first["selections"] == second["selections"]
    assert len(first["selections"][0]["languages"]) == 9
    assert explained(invoke, "task[en]")[0]["selections"] == []


def test_distances_in_expressions(catalogue: None, invoke: Invoke, table: Path) -> None:
    (choice,) = explained(invoke, "mean(lm[related(yo)])", "--distances", table)
    assert choice["adapters"] == ["lm-pt@v1"]
    assert choice["selections"][0]["backend"] == "table"
    arguments = ("mean(lm[related(yo)])", "--distances", table, "--name", "x", "--json")
    composed = json.loads(invoke("compose", *arguments).stdout)
    assert [parent["name"] for parent in composed["parents"]] == ["lm-pt"]
    said = invoke("explain", "mean(lm[related(yo)])", "--distances", "urial", code=1).stderr
    assert "'urial' is no source of language distances" in said
    assert "did you mean 'uriel'?" in said


def test_what_cannot_be_judged_is_said(
    catalogue: None, invoke: Invoke, write_lora: WriteLora
) -> None:
    invoke("add", write_lora("runs/tlh", seed=9), "--kind", "lm", "--language", "tlh")
    for arguments in (["related", "yo"], ["explain", "exact(mean(lm[related(yo)]))"]):
        said = invoke(*arguments).stderr
        assert said.endswith("warning: tlh: URIEL knows no syntactic feature that tlh has\n")


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["Yorubba", "--all"], "did you mean 'Yoruba'", 1),
        (["yo", "--among", "en,zzzz"], "'zzzz'", 1),
        (["yo", *AMONG, "--syntactic", "1.5"], "syntactic=1.5 is no threshold", 1),
        (["yo", *AMONG, "--syntactic", "near"], "syntactic=near is no threshold", 1),
        (["yo", *AMONG, "--preset", "table6"], "did you mean 'table5'?", 1),
        (["yo", *AMONG, "--distances", "urial"], "did you mean 'uriel'?", 1),
        (["yo", *AMONG, "--distances", "nowhere.tsv"], "nowhere.tsv cannot be read", 1),
        (["yo", *AMONG, "--map", "nowhere/x.html"], "nowhere/x.html", 1),
        (["yo"], "isogloss init'; or say by --among en,ar or --all which", 1),
        ([], "Missing argument 'LANG'", 2),
        (["yo", *AMONG, "--all"], "--among and --all exclude each other", 2),
        (["yo", *AMONG, "--preset", "table5", "--syntactic", "0.5"], "knows no thresholds", 2),
        (["yo", "--among", "en,,ar"], "'en,,ar' has an empty place", 2),
        (["yo", *AMONG, "--map", "map.svg"], "'map.svg' does not end in .html or .png", 2),
        (["mul", "--all"], "'mul' does not stand for one language", 4),
        (["tlh", "--all"], "there are no syntactic distances to 'tlh'", 4),
        (["fi", *AMONG, "--preset", "table5"], "has no choice for 'fi'", 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(invoke: Invoke, arguments: list[str], said: str, code: int) -> None:
    result = invoke("related", *arguments, code=code)
    assert result.stdout == ""
    assert said in result.stderr

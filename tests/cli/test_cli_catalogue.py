"""init, add, find, show and fsck."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from isogloss.dsl.fields import FIELDS

if TYPE_CHECKING:
    from ..conftest import WriteLora
    from .conftest import Invoke


def names(invoke: Invoke, *arguments: str) -> list[str]:
    return [record["name"] for record in json.loads(invoke("find", *arguments, "--json").stdout)]


def test_init_makes_a_home_and_leaves_one_as_it_is(invoke: Invoke, catalogue: None) -> None:
    home = os.environ["ISOGLOSS_HOME"]
    assert home in invoke("init").stdout
    assert len(names(invoke)) == 3


def test_find_lists_what_there_is(catalogue: None, invoke: Invoke) -> None:
    records = json.loads(invoke("find", "--json").stdout)
    assert [record["name"] for record in records] == ["lm-en", "lm-pt", "xlsum-en"]
    task = records[-1]
    wanted = ("name", "version", "kind", "language", "task", "base", "peft", "steps")
    assert {key: task[key] for key in wanted} == {
        "name": "xlsum-en",
        "version": 1,
        "kind": "task",
        "language": "en",
        "task": "xlsum",
        "base": "acme/tiny",
        "peft": "LORA",
        "steps": 5000,
    }
    assert len(task["digest"]) == 64
    assert set(task) == set(FIELDS)
    lines = invoke("find").stdout.splitlines()
    assert lines[0].split() == [
        *("name", "version", "kind", "language", "task", "base", "peft", "rank", "steps", "digest")
    ]
    assert lines[-1].split() == [
        *("xlsum-en", "v1", "task", "en", "xlsum", "acme/tiny", "LORA", "2", "5000"),
        task["digest"][:12],
    ]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--language", "pt"], ["lm-pt"]),
        (["--language", "por", "--kind", "lm"], ["lm-pt"]),
        (["--kind", "task"], ["xlsum-en"]),
        (["--task", "xlsum", "--base", "acme/tiny", "--peft", "lora"], ["xlsum-en"]),
        (["--base", "acme/other"], []),
        (["kind = lm and steps >= 2500"], ["lm-pt"]),
        (["language = en", "--kind", "lm"], ["lm-en"]),
        (["name ~ XLSUM or not kind = lm"], ["xlsum-en"]),
        (["--sort", "-steps", "--limit", "2"], ["xlsum-en", "lm-pt"]),
        (["--sort", "steps", "--limit", "1"], ["lm-en"]),
        (["withdrawn"], []),
    ],
    ids=lambda value: " ".join(value),
)
def test_find_chooses(
    catalogue: None, invoke: Invoke, arguments: list[str], found: list[str]
) -> None:
    assert names(invoke, *arguments) == found


def test_finding_nothing_is_an_answer(catalogue: None, invoke: Invoke) -> None:
    result = invoke("find", "--language", "yo")
    assert (result.stdout, result.stderr) == ("", "nothing was found\n")
    result = invoke("find", "--language", "yo", "--json")
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_versions(catalogue: None, invoke: Invoke, tmp_path: Path) -> None:
    again = (tmp_path / "runs/lm-pt", "--kind", "lm", "--language", "pt", "--steps")
    result = invoke("add", *again, "3000")
    assert result.stdout == "lm-pt@v1 is the same; nothing was added\n"
    assert json.loads(invoke("add", *again, "3000", "--json").stdout)["added"] is False
    assert invoke("add", *again, "4000").stdout == "Added lm-pt@v2\n"
    assert names(invoke, "--language", "pt") == ["lm-pt"]
    assert names(invoke, "--language", "pt", "--all-versions") == ["lm-pt", "lm-pt"]
    first, latest, second = (
        json.loads(invoke("show", reference, "--json").stdout)
        for reference in ("lm-pt@v1", "lm-pt", "lm-pt@v2")
    )
    assert (first["steps"], latest["steps"]) == (3000, 4000)
    assert latest == second
    assert first["digest"] == latest["digest"]


def test_everything_that_is_said_is_kept(invoke: Invoke, write_lora: WriteLora) -> None:
    said: dict[str, Any] = {
        "task": "translation",
        "name": "acme/mt",
        "dataset": "acme/flores",
        "dataset_revision": "v2",
        "objective": "seq2seq",
        "base": "acme/other",
        "base_revision": "abc123",
        "steps": 12000,
        "batch_size": 32,
        "learning_rate": 0.0003,
        "seed": 7,
        "license": "apache-2.0",
        "note": "from the old cluster; 日本語",
    }
    options = [
        word for name, value in said.items() for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    invoke("init")
    folder = write_lora("mt", seed=4)
    languages = ("--language", "eng,yor", "--language", "pt-br")
    result = invoke("add", folder, "--kind", "task", *languages, *options, "--json")
    added = json.loads(result.stdout)
    shown = json.loads(invoke("show", "acme/mt", "--json").stdout)
    assert added | {"scores": [], "publications": []} == {"added": True, "warnings": []} | shown
    assert {name: shown[name] for name in said} == said
    assert shown["language"] == "en,pt-BR,yo"
    assert shown["languages"] == ["en", "pt-BR", "yo"]
    assert shown["languages_given"] == ["eng", "yor", "pt-br"]
    assert shown["rank"] == 2
    assert shown["composition"] is None
    weights = (folder / "adapter_model.safetensors").read_bytes()
    assert shown["original_digest"] == hashlib.sha256(weights).hexdigest()
    words = invoke("show", "acme/mt").stdout
    for value in ("acme/mt@v1", "12,000", "日本語", "en, pt-BR, yo (given as eng, yor, pt-br)"):
        assert value in words


def test_show_by_digest(catalogue: None, invoke: Invoke) -> None:
    record = json.loads(invoke("show", "lm-pt", "--json").stdout)
    found = invoke("show", f"sha256:{record['digest'][:12]}", "--json").stdout
    assert json.loads(found) == record


def test_fsck_finds_no_fault(catalogue: None, invoke: Invoke) -> None:
    assert "checked" in invoke("fsck").stdout
    report = json.loads(invoke("fsck", "--json").stdout)
    assert report["problems"] == report["temporaries"] == report["unreferenced"] == []
    assert report["checked"] > 0

"""evaluate and tune from the command line: what they print, keep, publish, and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from isogloss.lab.data.source import shipped
from isogloss.lab.tiny import byte_tokenizer
from transformers import LlamaForCausalLM

SHORT = ("--max-length", "300", "--max-target-length", "8", "--resamples", "100", "--limit", "4")
EXPRESSION = "l*task[en] + (1 - l)*(lm[pt] - lm[en])"


@pytest.fixture
def run(vectors: Any, invoke: Any) -> Any:
    def run(command: str, adapter: str, *arguments: str | Path, code: int = 0) -> Any:
        given = ("--base", vectors.base, "--language", "es", *SHORT)
        data = () if "--data" in arguments else ("--data", shipped("es"))
        return invoke(command, adapter, *given, *data, *arguments, code=code)

    return run


def test_an_evaluation_is_printed_kept_shown_and_published(
    run: Any, invoke: Any, tmp_path: Path
) -> None:
    given = ("--metric", "f1,bpb", "--metric", "language", "--baseline", "base", "--split", "test")
    told = run("evaluate", "xlsum-en", *given, "--predictions", tmp_path / "out.jsonl", "--json")
    said = json.loads(told.stdout)
    assert (said["adapter"], said["recorded"], said["baseline"]) == ("xlsum-en@v1",) * 2 + ("base",)
    assert [*said["metrics"]] == ["f1", "bpb", "language"]
    bits = said["metrics"]["bpb"]
    assert bits["low"] < bits["value"] < bits["high"]
    assert bits["difference"]["value"] == pytest.approx(bits["value"] - bits["baseline"])
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 4
    printed = run("evaluate", "xlsum-en", *given)
    assert "xlsum-en@v1 on es.jsonl (test), es, 4 pairs" in printed.stdout
    assert f"{bits['value']:.4f}" in printed.stdout
    assert "kept with xlsum-en@v1" in printed.stderr
    assert "of the references, 100.00 of 100" in printed.stderr
    shown = json.loads(invoke("show", "xlsum-en", "--json").stdout)["scores"]
    assert [(one["metric"], one["split"]) for one in shown] == [
        ("f1", "test"),
        ("bpb", "test"),
        ("language", "test"),
    ]
    assert shown[1]["value"] == bits["value"]
    assert f"{bits['value']:.4f}" in invoke("show", "xlsum-en").stdout
    card = invoke("publish", "xlsum-en", "acme/xlsum-en", "--dry-run").stdout
    assert f"| `bpb` | {bits['value']:.6g} |" in card


def test_an_expression_is_scored_and_said_not_to_be_kept(run: Any) -> None:
    found = run("evaluate", EXPRESSION, "--set", "l=0.5", "--metric", "bpb")
    assert "not kept: no version in the catalogue has this content" in found.stderr
    same = run("evaluate", "-lm[en] + task[en]", "--metric", "bpb", "--json")
    assert json.loads(same.stdout)["recorded"] is None


def test_tuning_loads_the_base_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    original = LlamaForCausalLM.from_pretrained.__func__

    def counted(cls: Any, *arguments: Any, **options: Any) -> Any:
        loaded.append(arguments)
        return original(cls, *arguments, **options)

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", classmethod(counted))
    run("tune", EXPRESSION, "--over", "l=0:1:0.5", "--split", "dev", "--name", "best")
    assert len(loaded) == 1


def test_tuning_is_printed_drawn_kept_and_flagged(run: Any, invoke: Any, tmp_path: Path) -> None:
    given = ("--over", "l=0.2:1:0.4", "--split", "dev", "--plot", tmp_path / "curve.png")
    said = json.loads(run("tune", EXPRESSION, *given, "--name", "xlsum-es", "--json").stdout)
    assert [point["values"]["l"] for point in said["curve"]] == ["0.2", "0.6", "1"]
    assert said["value"] == min(point["value"] for point in said["curve"])
    assert (said["recorded"], said["split"], said["search"]) == (
        "xlsum-es@v1",
        "validation",
        "grid",
    )
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    shown = json.loads(invoke("show", "xlsum-es", "--json").stdout)
    assert shown["scores"][0]["settings"]["tuned_on"]["curve"] == said["curve"]
    assert shown["language"] == "es"
    assert f"chosen by this score: l={said['best']['l']}" in invoke("show", "xlsum-es").stdout
    again = run("evaluate", "xlsum-es", "--metric", "bpb")
    assert "warning: the parameters of xlsum-es@v1 were tuned on these data" in again.stderr
    card = invoke("publish", "xlsum-es", "acme/xlsum-es", "--dry-run").stdout
    assert "| chosen by this score |" in card
    assert "`the parameters of xlsum-es@v1 were tuned on these data` |" in card
    table = run("tune", EXPRESSION, "--over", "l=0.2,0.6", "--split", "dev", "--refine", "1")
    assert table.stdout.startswith("The best on es.jsonl (validation), es: l=0.")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--metric", "bbp"), 1, "there is no metric 'bbp': did you mean 'bpb'"),
        (("--predictions", "absent/out.jsonl"), 1, "there is no folder 'absent'"),
        (("--predictions", "."), 1, "'.' is a folder: name a file"),
        (("--data", "absent.jsonl"), 3, "there is no file 'absent.jsonl'"),
        (("--source-field", "body"), 1, "there is no field 'body'; its fields are: "),
        (("--prompt", "no place"), 1, "must hold {source} exactly once"),
        (("--language", "nonsense!"), 1, "is not the code of a language"),
        (("--rouge-tokenizer", "absent.model"), 3, "there is no file 'absent.model'"),
        (("--max-length", "900"), 1, "900 is more than the 512 positions"),
        (("--baseline", "task[yo]"), 3, "no adapter for yo fits task[yo]"),
    ],
)
def test_mistakes_are_said_in_words(
    run: Any, arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert message in run("evaluate", "xlsum-en", *arguments, code=code).stderr


def test_pairs_without_a_target_are_refused_with_their_line(run: Any, tmp_path: Path) -> None:
    rows = [{"source": "a", "target": "b"}, {"source": "a", "target": " "}]
    (tmp_path / "empty.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = run("evaluate", "xlsum-en", "--data", tmp_path / "empty.jsonl", code=1)
    assert "line 2" in found.stderr
    assert "field 'target' is empty" in found.stderr


def test_test_data_and_wrong_ranges_are_refused_by_tune(run: Any, tmp_path: Path) -> None:
    def refused(*arguments: str | Path) -> str:
        return str(run("tune", EXPRESSION, *arguments, code=1).stderr)

    axis = ("--over", "l=0:1:0.5")
    assert "es.jsonl is test data" in refused(*axis, "--split", "test")
    assert "does not say what to tune over" in refused("--over", "l")
    assert "ends in none of .png" in refused(*axis, "--plot", tmp_path / "curve.txt")
    assert "'a b' cannot name an adapter" in refused(*axis, "--name", "a b", "--base", "absent")
    taken = refused(*axis, "--name", "lm-pt", "--base", "absent")
    assert "'lm-pt' already names an adapter of kind lm" in taken
    absent = run("tune", EXPRESSION, "--over", "m=0:1:0.5", code=1).stderr
    assert "'l'" in absent


def test_another_base_is_refused_and_another_name_of_it_is_not(
    run: Any, vectors: Any, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(vectors.base, copy)
    assert run("evaluate", "xlsum-en", "--base", copy, "--metric", "bpb", code=4)
    run("evaluate", "xlsum-en", "--base", copy, "--base-name", vectors.base, "--metric", "bpb")


def test_a_tokenizer_needs_an_end_and_no_padding(run: Any, vectors: Any, tmp_path: Path) -> None:
    for name, token in (("unpadded", "pad_token"), ("endless", "eos_token")):
        shutil.copytree(vectors.base, tmp_path / name)
        tokenizer = byte_tokenizer()
        setattr(tokenizer, token, None)
        tokenizer.save_pretrained(tmp_path / name)
    given = ("--base-name", vectors.base, "--metric", "bpb,f1", "--json")
    expected = json.loads(run("evaluate", "xlsum-en", "--metric", "bpb,f1", "--json").stdout)
    found = run("evaluate", "xlsum-en", "--base", tmp_path / "unpadded", *given)
    metrics = json.loads(found.stdout)["metrics"]
    assert {name: one["value"] for name, one in metrics.items()} == {
        name: one["value"] for name, one in expected["metrics"].items()
    }
    endless = run("evaluate", "xlsum-en", "--base", tmp_path / "endless", *given, code=1)
    assert "has no end-of-text token" in endless.stderr

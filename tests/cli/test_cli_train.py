"""The commands that train: what they say, what they leave, and how they answer mistakes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isogloss.lab.data.source import shipped
from isogloss.lab.tiny import byte_tokenizer, tiny_llama

if TYPE_CHECKING:
    from .conftest import Invoke

QUICK = ("--steps", "2", "--batch-size", "2", "--max-length", "64")


@pytest.fixture(scope="module")
def made_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    tiny_llama().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def base(made_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> str:
    """The name of a base in the current folder, beside data; a catalogue is there too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").symlink_to(made_base)
    for language in ("en", "pt", "yo"):
        (tmp_path / f"{language}.jsonl").write_bytes(shipped(language).read_bytes())
    invoke("init")
    return "./tiny"


def test_a_language_vector_is_trained_once(invoke: Invoke, base: str, made_base: Path) -> None:
    command = ("train", "lm", "--base", base, "--language", "pt", "--data", "pt.jsonl", *QUICK)
    first = invoke(*command, "--output", "out")
    assert re.fullmatch(r"Trained lm-pt@v1: loss \d\.\d{3} -> \d\.\d{3}\n", first.stdout)
    assert first.stderr == ""
    assert invoke(*command).stdout == "lm-pt@v1 is this run; nothing was trained\n"
    assert (Path("out") / "adapter_model.safetensors").is_file()
    record = json.loads(invoke(*command, "--json").stdout)
    assert (record["trained"], record["kind"], record["language"]) == (False, "lm", "pt")
    assert (record["dataset"], record["objective"]) == ("pt.jsonl", "prefix-lm")
    assert record["base"] == str(made_base.resolve())
    assert set(record["training"]["losses"]) == {"first", "last"}
    shown = invoke("show", "lm-pt").stdout
    assert re.search(r"losses +first \d\.\d{3}, last \d\.\d{3}", shown)
    assert re.search(r"init seed +0", shown)
    assert "sha256:" in shown


def test_a_task_vector_takes_fields_a_prompt_and_a_name(invoke: Invoke, base: str) -> None:
    Path("a.csv").write_text("body,headline\nA long text,Short\n")
    options = (
        "--source-field",
        "body",
        "--target-field",
        "headline",
        "--prompt",
        r"{source}\nTL;DR:",
    )
    named = ("--name", "acme/x", "--license", "mit", "--base-name", "acme/tiny", "--rank", "2")
    common = ("--language", "en", "--task", "headlines", "--data", "a.csv", *QUICK, "--json")
    done = invoke("train", "task", "--base", base, *options, *named, *common)
    record = json.loads(done.stdout)
    assert (record["name"], record["task"], record["license"]) == ("acme/x", "headlines", "mit")
    assert (record["base"], record["rank"], record["alpha"]) == ("acme/tiny", 2, 2.0)
    assert record["training"]["settings"]["prompt"] == "{source}\nTL;DR:"
    assert record["training"]["fields"] == {"source": "body", "target": "headline"}


def test_kronecker_adapters_say_how_they_differ(invoke: Invoke, base: str) -> None:
    command = ("train", "lm", "--base", base, "--language", "pt", "--data", "pt.jsonl", *QUICK)
    done = invoke(*command, "--peft", "lokr")
    assert "warning: the first Kronecker factor is 32 x 32, where the paper's is 32 x 16" in (
        done.stderr
    )
    assert "deviation" in json.loads(invoke("show", "lm-pt", "--json").stdout)["training"]


def test_vectors_that_were_trained_can_be_composed(invoke: Invoke, base: str) -> None:
    common = ("--base", base, *QUICK)
    invoke("train", "task", "--language", "en", "--task", "h", "--data", "en.jsonl", *common)
    for language in ("en", "pt"):
        data = f"{language}.jsonl"
        invoke("train", "lm", "--language", language, "--data", data, *common)
    done = invoke("compose", "0.6*task[en] + 0.4*(lm[pt] - lm[en])", "--name", "h-pt")
    assert "warning" not in done.stderr


def test_a_plan_is_shown_trained_and_skipped(invoke: Invoke, base: str) -> None:
    Path("plan.toml").write_text(
        'base = "tiny"\n[settings]\nsteps = 2\nbatch_size = 2\nmax_length = 64\n'
        '[[lm]]\nlanguages = ["pt", "yo"]\ndata = "{language}.jsonl"\n'
        '[[task]]\ntask = "h"\nlanguages = ["yo"]\ndata = "{language}.jsonl"\n'
    )
    shown = invoke("train", "--plan", "plan.toml", "--dry-run")
    assert [line.split()[:3] for line in shown.stdout.splitlines()[1:]] == [
        ["h-yo", "to", "train"],
        ["lm-pt", "to", "train"],
        ["lm-yo", "to", "train"],
    ]
    assert invoke("find").stdout == ""
    done = invoke("train", "--plan", "plan.toml", code=1)
    rows = [line.split()[:2] for line in done.stdout.splitlines()[1:]]
    assert rows == [["h-yo", "failed"], ["lm-pt", "trained"], ["lm-yo", "trained"]]
    assert "its fields are: text" in done.stdout
    again = json.loads(invoke("train", "--plan", "plan.toml", "--json", code=1).stdout)
    assert [one["state"] for one in again] == ["failed", "was there", "was there"]
    assert again[1]["version"]["name"] == "lm-pt"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("--data", "absent.jsonl"), 3, "there is no file 'absent.jsonl'"),
        (("--base", "./absent"), 3, "there is no folder or file './absent'"),
        (("--base", "pt.jsonl"), 1, "is no model that transformers can load"),
        (("--language", "Klingonish"), 1, "'Klingonish'"),
        (("--text-field", "body"), 1, "there is no field 'body'"),
        (("--peft", "lorra"), 1, "there is no PEFT type 'lorra'; did you mean 'lora'?"),
        (("--targets", "wq,wk"), 1, "has no module called wq, wk; its linear modules are"),
        (("--peft-option", "x"), 2, "'x' is not NAME=VALUE"),
        (("--peft-option", "dropout=1"), 1, "lora has no option 'dropout'"),
        (("--learning-rate", "0"), 1, "learning_rate is 0.0: it must be above 0"),
        (("--dtype", "int8"), 2, "'int8' is not one of"),
        (("--device", "tpu9"), 1, "there is no device 'tpu9' here"),
        (("--name", "a b"), 1, "'a b' cannot name an adapter"),
        (("--validation", "absent.txt"), 3, "there is no file 'absent.txt'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_mistakes_are_answered_in_words(
    invoke: Invoke, base: str, change: tuple[str, str], code: int, message: str
) -> None:
    given = {"--base": base, "--language": "pt", "--data": "pt.jsonl"} | dict([change])
    words = [word for pair in given.items() for word in pair]
    done = invoke("train", "lm", *words, *QUICK, code=code)
    assert message in done.stderr
    assert invoke("find").stdout == ""


def test_the_group_alone_says_what_it_needs(invoke: Invoke) -> None:
    assert "give --plan FILE, or a command: train lm, train task" in invoke("train", code=2).stderr
    done = invoke("train", "--plan", "x.toml", "lm", code=2)
    assert "--plan stands alone" in done.stderr


@pytest.mark.slow
def test_a_bar_is_shown_on_a_terminal(base: str) -> None:
    command = ("train", "lm", "--base", base, "--language", "pt", "--data", "pt.jsonl", *QUICK)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    process = subprocess.Popen(
        [sys.executable, "-m", "isogloss.cli", *command], stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux says so when the other end is closed
        while chunk := os.read(ours, 65536):
            shown += chunk
    os.close(ours)
    assert process.wait() == 0
    assert re.search(rb"lm-pt: 100%.*2/2", shown)
    assert re.search(rb"loss=\d\.\d{3}", shown)

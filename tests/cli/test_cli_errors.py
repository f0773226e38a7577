"""Every exit code, and what is printed with it."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from isogloss.cli.errors import EXIT_CODES, exit_code
from isogloss.dsl.errors import DslError
from isogloss.hub import AdapterHub

if TYPE_CHECKING:
    from ..conftest import WriteLora
    from .conftest import Invoke

ROOMS = ("isogloss.dsl.errors", "isogloss.store.errors", "isogloss.hub.errors")


def classes_of(room: str) -> list[type[Exception]]:
    members = inspect.getmembers(importlib.import_module(room), inspect.isclass)
    return [cls for _, cls in members if cls.__module__ == room and issubclass(cls, Exception)]


def test_every_class_of_the_table_exists() -> None:
    for path in EXIT_CODES:
        module, _, name = path.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), name), Exception)


@pytest.mark.parametrize("cls", [cls for room in ROOMS for cls in classes_of(room)])
def test_every_error_of_the_rooms_has_a_code(cls: type[Exception]) -> None:
    assert exit_code(cls("message")) in {1, 3, 4, 5, 6}


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), OSError("x"), RuntimeError("x")])
def test_any_other_error_is_a_bug(error: Exception) -> None:
    assert exit_code(error) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "0.5*maen(task[en])"], "did you mean 'mean'?"),
        (["explain", "task[en"], "^"),
        (["explain", "task[qqqqq]"], "qqqqq"),
        (["explain", ""], ""),
        (["explain", "0.5*3"], ""),
        (["explain", "task[en] - task[en]"], "nothing"),
        (["compose", "task[en]", "--name", "../x"], "../x"),
        (["explain", "l*task[en]"], "l"),
        (["explain", "task[en]", "--set", "l=0.5"], "l"),
        (["find", "steeps > 5"], "hint: did you mean 'steps'"),
        (["find", "steps >"], "^"),
        (["find", "--sort", "steeps"], "steeps"),
        (["find", "--language", "qqqqq"], "qqqqq"),
        (["show", "a b"], "'a b'"),
        (["add", "nowhere", "--kind", "lm", "--language", "en"], "nowhere"),
        (["verify", "./nowhere"], "nowhere"),
        (["compose", "@nowhere.iso"], "cannot read the expression from 'nowhere.iso'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_1_a_mistake(catalogue: None, invoke: Invoke, arguments: list[str], said: str) -> None:
    result = invoke(*arguments, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert said in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["find"], ["find", "--json"], ["show", "x"], ["compose", "task[en]"], ["db", "current"]],
    ids=" ".join,
)
def test_1_no_catalogue(invoke: Invoke, arguments: list[str]) -> None:
    assert "run 'isogloss init'" in invoke(*arguments, code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: isogloss"),
        (["db"], "Usage: isogloss db"),
        (["fnd"], "error: there is no command 'fnd'; did you mean 'find'?"),
        (["quux"], "error: there is no command 'quux'; see the list in 'isogloss --help'"),
        (["--hoome", "x", "find"], "error: No such option"),
        (["add"], "error: Missing argument 'SOURCE'"),
        (["add", "x", "--kind", "composed"], "error: Invalid value for '--kind'"),
        (["add", "x", "--kind", "lm", "--steps", "-1"], "error: Invalid value for '--steps'"),
        (["add", "", "--kind", "lm"], "error: Invalid value for 'SOURCE': it is empty"),
        (["add", "x", "--kind", "lm", "--name", ""], "Invalid value for '--name': it is empty"),
        (["--home", "", "find"], "'ISOGLOSS_HOME'): it is empty"),
        (["--database", " ", "find"], "'ISOGLOSS_DATABASE_URL'): it is empty"),
        (["compose", "x", "--output", ""], "error: Invalid value for '--output': it is empty"),
        (["compose", "x", "--output", "x" * 300], "'--output': File name too long"),
        (["verify", ""], "error: Invalid value for 'TARGET': it is empty"),
        (["find", "--limit", "0"], "error: Invalid value for '--limit'"),
        (["compose"], "error: Missing argument 'EXPRESSION'"),
        (["compose", "x", "y"], "unexpected extra argument (y)"),
        (["compose", "task[en]", "--ouput", "x"], "error: No such option"),
        (["compose", "-task[en]", "--ouput", "x"], "--ouput"),
        (["compose", "x", "--semantics", "vague"], "error: Invalid value for '--semantics'"),
        (["compose", "x", "--dtype", "int8"], "error: Invalid value for '--dtype'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_2_wrong_usage(invoke: Invoke, arguments: list[str], said: str) -> None:
    result = invoke(*arguments, code=2)
    assert result.stdout == ""
    assert said in result.stderr
    assert result.stderr.startswith("Usage: isogloss")


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "xlsum"],
        ["show", "xlsum-en@v7"],
        ["show", "sha256:000000000000"],
        ["explain", "task[yo]"],
        ["compose", "mean(lm[de|fr])", "--name", "x"],
        ["verify", "nobody/nothing"],
    ],
    ids=" ".join,
)
def test_3_not_found(catalogue: None, invoke: Invoke, arguments: list[str]) -> None:
    result = invoke(*arguments, code=3)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")


def test_4_ranks_that_differ(catalogue: None, invoke: Invoke, write_lora: WriteLora) -> None:
    folder = write_lora("runs/lm-yo", seed=9, rank=3)
    invoke("add", folder, "--kind", "lm", "--language", "yo")
    result = invoke("compose", "task[en] + lm[yo]", "--name", "x", code=4)
    assert "exact" in result.stderr
    assert json.loads(invoke("find", "kind = composed", "--json").stdout) == []


def test_4_a_pickle(catalogue: None, invoke: Invoke, write_lora: WriteLora) -> None:
    folder = write_lora("runs/old")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    result = invoke("add", folder, "--kind", "lm", "--language", "yo", code=4)
    assert "pickle" in result.stderr


def test_6_truncated_weights(catalogue: None, invoke: Invoke, write_lora: WriteLora) -> None:
    folder = write_lora("runs/cut")
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    invoke("add", folder, "--kind", "lm", "--language", "yo", code=6)
    assert json.loads(invoke("find", "--language", "yo", "--json").stdout) == []


def test_errors_of_an_expression_keep_their_carets(catalogue: None, invoke: Invoke) -> None:
    expression = "task[en] +\n  0.5*maen(lm[pt])"
    with AdapterHub.open() as hub, pytest.raises(DslError) as caught:
        hub.explain(expression)
    result = invoke("explain", expression, "--json", code=1)
    assert result.stdout == ""
    assert result.stderr == f"error: {caught.value}\n"
    source, carets = result.stderr.splitlines()[1:3]
    assert source[carets.index("^") : carets.rindex("^") + 1] == "maen"


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "isogloss.cli", *arguments]
    return subprocess.run(command, check=False, **options)


def test_a_mistake_prints_no_traceback(catalogue: None) -> None:
    done = run("explain", "maen(task[en])", capture_output=True)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: line 1, column 1: ")
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [["functions"], ["functions", "--json"]])
def test_a_full_disk_under_the_output_is_said(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(*arguments, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == b"error: cannot write the output: No space left on device\n"


def test_a_closed_pipe_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run("functions", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == b""


# A test run in the background of a shell ignores the signal, and what it starts inherits that.
INTERRUPTIBLE = """
import signal
from isogloss.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
main(["compose", "-"])
"""


def test_an_interrupt_is_no_error(catalogue: None) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)  # it waits for the expression
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in stderr


def test_6_damaged_weights_in_the_store(
    catalogue: None, invoke: Invoke, flip_byte: Callable[[Path], None]
) -> None:
    record = json.loads(invoke("show", "lm-pt", "--json").stdout)
    blob = Path(os.environ["ISOGLOSS_HOME"], "blobs", record["digest"][:2], record["digest"][2:])
    flip_byte(blob)
    damaged = invoke("fsck", "--json", code=6)
    assert blob.name in damaged.stderr
    assert len(json.loads(damaged.stdout)["problems"]) == 1
    assert "lm-pt" in invoke("verify", "lm-pt", code=6).stderr
    blob.unlink()
    assert "lm-pt" in invoke("fsck", code=6).stderr
    assert record["digest"] in invoke("compose", "lm[pt]", "--output", "x", code=6).stderr

"""Runners for commands, and a catalogue of some adapters."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import CliRunner, Result
from isogloss.cli.main import main


class Invoke(Protocol):
    def __call__(
        self, *arguments: str | Path, code: int = 0, stdin: bytes | None = None
    ) -> Result: ...


class OnATerminal(Protocol):
    def __call__(self, columns: int, *arguments: str) -> str: ...


@pytest.fixture
def invoke() -> Invoke:
    """Run a command in this process, and see to it that it ends with the expected code."""
    runner = CliRunner()

    def run(*arguments: str | Path, code: int = 0, stdin: bytes | None = None) -> Result:
        result = runner.invoke(main, list(map(str, arguments)), input=stdin, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture(scope="session")
def stocked_home(tmp_path_factory: pytest.TempPathFactory, write_lora_into: Any) -> Path:
    """What `catalogue` is a copy of: making one anew for every test takes most of its time."""
    folder = tmp_path_factory.mktemp("stocked")
    home = folder / "isogloss-home"
    write = partial(write_lora_into, folder)

    def run(*arguments: str | Path) -> None:
        place = ("--home", home, "--database", f"sqlite:///{home / 'catalog.sqlite3'}")
        main(list(map(str, (*place, *arguments))), standalone_mode=False)

    run("init")
    task = write("runs/xlsum-en", seed=1)
    run("add", task, "--kind", "task", "--task", "xlsum", "--language", "en", "--steps", "5000")
    for seed, language in enumerate(("en", "pt"), start=2):
        lm = write(f"runs/lm-{language}", seed=seed)
        run("add", lm, "--kind", "lm", "--language", language, "--steps", str(1000 * seed))
    return folder


@pytest.fixture
def catalogue(stocked_home: Path, tmp_path: Path) -> None:
    """A catalogue of an English task vector and the language vectors of English and Portuguese."""
    shutil.copytree(stocked_home, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def flip_byte() -> Callable[[Path], None]:
    """Change the last byte of a file, also of one that may not be written."""

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)

    return flip


@pytest.fixture
def on_a_terminal() -> OnATerminal:
    """Run a command in a process with a terminal of so many columns as its output."""
    return _on_a_terminal


def _on_a_terminal(columns: int, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    environment = os.environ | {"TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "isogloss.cli", *arguments], stdout=theirs, env=environment
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(ours)
    assert process.wait() == 0
    return output.decode().replace("\r\n", "\n")

"""What committed files may not contain, and what the rooms are loaded from."""

from __future__ import annotations

import importlib
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SKIPPED = {".git", ".venv", "__pycache__", "build", "dist"}
# Folders that exist on the machine of whoever wrote a file, and on no other.
MACHINE = re.compile(r"(?<![\w.~-])/(?:root|home|Users|work|mnt|srv|opt)/\w[\w.-]*")


def files(root: Path) -> Iterator[tuple[Path, str]]:
    """Every text file that git tracks, or that lies in the folder where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listed.returncode == 0:
        paths = [root / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [path for path in root.rglob("*") if not SKIPPED & set(path.parts)]
    for path in paths:
        if path.is_file() and not path.is_symlink():
            try:
                yield path.relative_to(root), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def test_nothing_committed_names_a_place_on_this_machine(root: Path) -> None:
    places = [str(root), str(Path.home())] if len(root.parts) > 2 else []
    found = []
    for path, text in files(root):
        for number, line in enumerate(text.split("\n"), 1):
            if MACHINE.search(line) or any(place in line for place in places):
                found.append(f"{path}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize("line", ["open('/{}/ann')", "see /{}/notes", "file:///{}/thing"])
@pytest.mark.parametrize("folder", ["home", "root", "opt"])
def test_places_are_recognised(line: str, folder: str) -> None:
    assert MACHINE.search(line.format(folder))


@pytest.mark.parametrize("line", ["https://a.org/home/x", "~/work/x", "a/opt/b"])
def test_what_only_looks_like_a_place_is_not(line: str) -> None:
    assert not MACHINE.search(line)


@pytest.mark.parametrize("room", ["cli", "dsl", "hub", "lab", "migrations", "store"])
def test_rooms_are_not_loaded_through_the_links(root: Path, room: str) -> None:
    module = importlib.import_module(f"isogloss.{room}")
    assert module.__file__ is not None
    assert Path(module.__file__) == root / room / "__init__.py"


def test_every_python_file_says_what_it_is_for(root: Path) -> None:
    silent = [
        str(path)
        for path, text in files(root)
        if path.suffix == ".py" and text.strip() and not text.lstrip().startswith(('"""', 'r"""'))
    ]
    assert silent == []


def test_no_file_is_too_long_to_read(root: Path) -> None:
    long = {str(p): n for p, t in files(root) if p.suffix == ".py" and (n := t.count("\n")) > 500}
    assert long == {}


def test_tests_cannot_reach_the_network() -> None:
    with socket.socket() as outside, pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"):
        outside.connect(("192.0.2.1", 443))

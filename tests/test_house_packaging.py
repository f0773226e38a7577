"""The mapping of the rooms into one package: each trap that a hand-written list brings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOMS = ("cli", "dsl", "hub", "lab", "migrations", "store")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def files_of_rooms(root: Path) -> Iterator[Path]:
    """Every file of the rooms that is not left over from running them."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root)


def test_every_folder_with_python_is_a_listed_package(root: Path, project: dict[str, Any]) -> None:
    folders = {path.parent for path in files_of_rooms(root) if path.suffix == ".py"}
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(
        ".".join(("isogloss", *folder.parts)) for folder in folders
    )
    assert all((root / folder / "__init__.py").is_file() for folder in folders)


def test_every_room_is_mapped_linked_and_typed(root: Path, project: dict[str, Any]) -> None:
    folders = {path.name for path in root.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ROOMS)
    mapping = project["tool"]["setuptools"]["package-dir"]
    assert mapping == {f"isogloss.{room}": room for room in ROOMS}
    links = root / ".links" / "isogloss"
    assert {path.name: path.resolve() for path in links.iterdir()} == {
        room: root / room for room in ROOMS
    }
    assert all((root / room / "py.typed").is_file() for room in ROOMS)


def test_the_root_is_not_a_package(root: Path) -> None:
    assert not (root / "isogloss").exists()
    assert not (root / "__init__.py").exists()


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(
    root: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for room in ROOMS:
        shutil.copytree(root / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    subprocess.run([*command, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    assert held == {f"isogloss/{path.as_posix()}" for path in files_of_rooms(root)}
    assert len(licences) == 1


def test_the_version_is_written_once(root: Path, project: dict[str, Any]) -> None:
    newest = re.search(r"^## \[([^\]]+)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == project["project"]["version"] == version("isogloss")
    code = [path for path in files_of_rooms(root) if path.suffix == ".py"]
    assert not [p for p in code if "__version__ =" in (root / p).read_text()]


def test_constraints_pin_what_the_project_asks_for(root: Path, project: dict[str, Any]) -> None:
    lines = (root / ".ci" / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    pinned = {normal(pin.partition("==")[0]) for pin in pins}
    wanted = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    names = {normal(re.split(r"[\[<>=~!; ]", line, maxsplit=1)[0]) for line in wanted}
    assert names <= pinned
    assert "torch==2.13.0" in pins


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_installed_set_is_the_constrained_one(root: Path) -> None:
    for line in (root / ".ci" / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, pin = line.partition("==")
            assert version(name).partition("+")[0] == pin, name

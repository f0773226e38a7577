"""The mapping of the rooms into one package: each trap that a hand-written list brings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What torch's builds for graphics cards pin by themselves.
ACCELERATORS = ("cuda-", "nvidia-", "triton")
ROOMS = ("cli", "dsl", "hub", "lab", "migrations", "store")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


# Reports of runs, and what those runs fetched and made: for readers of the checkout.
EXPERIMENTS = Path("lab", "experiments")


def files_of_rooms(root: Path) -> Iterator[Path]:
    """Every file of the rooms that is not left over from running them, experiments left out."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            found = path.relative_to(root)
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            if not found.is_relative_to(EXPERIMENTS):
                yield found


def test_every_folder_with_python_is_a_listed_package(root: Path, project: dict[str, Any]) -> None:
    folders = {path.parent for path in files_of_rooms(root) if path.suffix == ".py"}
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(
        ".".join(("isogloss", *folder.parts)) for folder in folders
    )
    assert all((root / folder / "__init__.py").is_file() for folder in folders)


def test_every_room_is_mapped_and_typed(root: Path, project: dict[str, Any]) -> None:
    folders = {path.name for path in root.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ROOMS)
    mapping = project["tool"]["setuptools"]["package-dir"]
    assert mapping == {f"isogloss.{room}": room for room in ROOMS}
    assert all((root / room / "py.typed").is_file() for room in ROOMS)


def test_every_room_is_linked_for_the_type_checkers(root: Path) -> None:
    links = root / ".links" / "isogloss"
    if not links.exists():
        pytest.skip("there is no .links: nothing at run time needs it")
    found = {path.name: path.resolve() for path in links.iterdir()}
    assert found == {room: root / room for room in ROOMS}


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


def test_constraints_pin_all_that_is_needed(root: Path, project: dict[str, Any]) -> None:
    lines = (root / ".ci" / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    # No local suffix such as +cpu: an index other than this machine's would not have it.
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    assert "torch==2.13.0" in pins
    names = [canonicalize_name(pin.partition("==")[0]) for pin in pins]
    assert sorted(set(names)) == sorted(names)
    extras = project["project"]["optional-dependencies"].values()
    asked = [*project["project"]["dependencies"], *(line for extra in extras for line in extra)]
    needed = {name for name in requirements(asked) if not name.startswith(ACCELERATORS)}
    assert needed - set(names) == set()
    assert set(names) - needed == set()


def requirements(asked: list[str]) -> set[str]:
    """The names of all that these need on this machine, direct and transitive."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in asked]
    seen = set()
    while waiting:
        one = waiting.pop()
        if str(one) in seen:
            continue
        seen.add(str(one))
        found.add(canonicalize_name(one.name))
        for line in requires(one.name) or ():
            next_one = Requirement(line)
            # Markers are asked once without extras, for what is needed in any case.
            wanted = ({"extra": extra} for extra in ("", *one.extras))
            if next_one.marker is None or any(next_one.marker.evaluate(each) for each in wanted):
                waiting.append(next_one)
    return found

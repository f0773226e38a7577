"""Who may import whom, and what every module must offer."""

from __future__ import annotations

import ast
import doctest
import importlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

# The rooms each room may import from. Revisions are frozen: they import nothing that lives.
ARROWS = {
    "dsl": set(),
    "store": set(),
    "hub": {"dsl", "store"},
    "lab": {"dsl", "hub", "store"},
    "cli": {"dsl", "hub", "lab", "store"},
    "migrations": {"store"},
    "migrations/versions": set(),
}
ROOMS = ("cli", "dsl", "hub", "lab", "migrations", "store")
# Alembic runs env.py as a loose file, inside a context of its own; `__main__` runs when imported.
NOT_IMPORTABLE = ("isogloss.cli.__main__", "isogloss.migrations.env")
EXTRAS = (
    "accelerate",
    "anyio",
    "datasets",
    "gguf",
    "lz4",
    "matplotlib",
    "optuna",
    "peft",
    "psycopg",
    "py3langid",
    "ray",
    "rouge_score",
    "safetensors",
    "sentencepiece",
    "starlette",
    "tensorboard",
    "tokenizers",
    "transformers",
    "uvicorn",
)


def modules() -> list[str]:
    """The names of all modules of the rooms, read off the folders."""
    root = Path(__file__).resolve().parent.parent
    files = [path.relative_to(root) for room in ROOMS for path in (root / room).rglob("*.py")]
    parts = [("isogloss", *path.with_suffix("").parts) for path in sorted(files)]
    names = [".".join(part).removesuffix(".__init__") for part in parts]
    return [name for name in names if name not in NOT_IMPORTABLE]


def load(name: str) -> ModuleType:
    """Import a module, or skip the test where it needs an extra that is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in EXTRAS:
            pytest.skip(f"{name} needs {error.name}, which is not installed")
        raise


@pytest.mark.parametrize("name", modules())
def test_doctests_hold(name: str) -> None:
    result = doctest.testmod(load(name))
    assert result.failed == 0


@pytest.mark.parametrize("name", modules())
def test_everything_exported_exists_once(name: str) -> None:
    module = load(name)
    exported = list(getattr(module, "__all__", []))
    assert not [item for item, count in Counter(exported).items() if count > 1]
    assert not [item for item in exported if not hasattr(module, item)]


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_door_exports_all_that_it_imports(room: str) -> None:
    module = load(f"isogloss.{room}")
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and str(getattr(value, "__module__", "")).startswith("isogloss.")
    }
    assert public <= set(getattr(module, "__all__", []))


def imports(path: Path, package: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The line and the dotted parts of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = (*above, *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                yield node.lineno, (*base, alias.name)


def source_files(root: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Every file of the rooms, with the package that its relative imports start from."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            yield path, ("isogloss", *path.relative_to(root).parent.parts)


def test_rooms_import_only_along_the_arrows(root: Path) -> None:
    wrong = []
    for path, package in source_files(root):
        home = "/".join(package[1:])
        room = package[1]
        allowed = ARROWS.get(home, ARROWS[room]) | {room}
        for line, parts in imports(path, package):
            if parts[0] == "isogloss" and parts[1] not in allowed:
                wrong.append(f"{path.relative_to(root)}:{line} imports {'.'.join(parts)}")
    assert wrong == []


def test_imports_inside_the_rooms_are_relative(root: Path) -> None:
    wrong = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path, package in source_files(root)
        if ".".join((*package, path.stem)) not in NOT_IMPORTABLE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and node.module is not None
        and node.module.split(".")[0] == "isogloss"
    ]
    assert wrong == []


def test_no_room_is_imported_by_its_folders_name(root: Path) -> None:
    # From the repository's root `import dsl` works too, and gives other classes.
    wrong = []
    for path in (*root.glob(".ci/*.py"), *root.glob("tests/**/*.py")):
        wrong += [f"{path}:{line}" for line, parts in imports(path, ()) if parts[0] in ROOMS]
    for path, package in source_files(root):
        wrong += [f"{path}:{line}" for line, parts in imports(path, package) if parts[0] in ROOMS]
    assert wrong == []


def test_test_files_have_names_of_their_own(root: Path) -> None:
    names = Counter(path.name for path in (root / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_tests_are_no_package(root: Path) -> None:
    assert list((root / "tests").rglob("__init__.py")) == []

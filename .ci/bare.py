"""Build the wheel, install it into a bare environment made fresh, and compose with it there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("cli", "dsl", "hub", "lab", "migrations", "store")
FILES = ("pyproject.toml", "README.md", "LICENSE")


def main() -> None:
    """Run the three steps in a temporary folder outside the repository."""
    with tempfile.TemporaryDirectory(prefix="isogloss-bare-") as name:
        work = Path(name)
        wheel = build(copy_sources(work / "source"), work / "dist")
        print(f"built {wheel.name}", flush=True)
        python = install(wheel, work / "venv")
        print("installed it into a bare environment", flush=True)
        outside = work / "outside"
        outside.mkdir()
        shutil.copy(ROOT / ".ci" / "smoke.py", outside)
        result = subprocess.run([python, "smoke.py"], cwd=outside, env=bare_environment())
    sys.exit(result.returncode)


def bare_environment() -> dict[str, str]:
    """Return this process's variables without those that lead Python or isogloss elsewhere."""
    ours = ("PYTHON", "ISOGLOSS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def copy_sources(target: Path) -> Path:
    """Copy what a wheel is made of: in the checkout, files of an older build would get into it."""
    target.mkdir()
    for name in ROOMS:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, target)
    return target


def build(source: Path, target: Path) -> Path:
    """Build the wheel with the setuptools of this environment and return its path."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    result = subprocess.run([*command, "--outdir", target, source], capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    (wheel,) = target.glob("*.whl")
    return wheel


def install(wheel: Path, target: Path) -> Path:
    """Install the wheel without extras into a fresh environment and return its interpreter."""
    venv.create(target, with_pip=True, symlinks=True)
    python = target / "bin" / "python"
    constraints = ROOT / ".ci" / "constraints.txt"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    result = subprocess.run([*pip, "--constraint", constraints, wheel])
    if result.returncode:
        sys.exit(f"pip could not install {wheel.name} with {constraints}")
    return python


if __name__ == "__main__":
    main()

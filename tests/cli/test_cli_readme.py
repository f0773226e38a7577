"""The README keeps its word: every command is in it, and its shell blocks run in a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isogloss.cli.main import COMMANDS

if TYPE_CHECKING:
    from ..conftest import WriteLora


@pytest.fixture
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
def test_every_command_is_in_the_readme(readme: str, name: str) -> None:
    assert re.search(rf"\bisogloss {name}\b", readme) or re.search(rf"`[a-z ]*\b{name}\b", readme)


@pytest.mark.slow
def test_the_shell_blocks_run(readme: str, write_lora: WriteLora, tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    named = sorted(set(re.findall(r"\bruns/[\w.-]+", "".join(blocks))))
    for seed, name in enumerate(named):
        write_lora(name, seed=seed)
    script = "set -euo pipefail\nset -x\n" + "".join(blocks)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error:" not in done.stderr

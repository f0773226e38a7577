"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from isogloss.hub import AdapterHub

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_python_blocks_run(
    root: Path, tmp_path: Path, write_lora: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with AdapterHub.init() as hub:
        for seed, (kind, language) in enumerate([("task", "en"), ("lm", "en"), ("lm", "yo")]):
            hub.add(write_lora(tmp_path / f"run{seed}", seed), kind=kind, language=language)
    blocks = BLOCK.findall((root / "README.md").read_text(encoding="utf-8"))
    blocks = [block for block in blocks if "from isogloss" in block]
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "lm-yo@v1 ('yo',)" in capsys.readouterr().out

"""The demo holds from beginning to end, and its own check could fail."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from isogloss.hub import AdapterHub
from isogloss.lab.data.source import shipped
from isogloss.lab.demo import EQUATIONS, SETTINGS, TOLERANCE, by_hand
from isogloss.lab.tiny import byte_tokenizer, tiny_llama
from isogloss.lab.training.run import train_task
from peft import PeftModel


def test_the_equation_by_hand_agrees_with_peft_and_notices_a_wrong_coefficient(
    tmp_path: Path,
) -> None:
    settings = replace(SETTINGS, steps=5)
    tiny_llama().save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    output = tmp_path / "task-en"
    with AdapterHub.init(tmp_path / "home") as hub:
        train_task(
            hub,
            tmp_path / "base",
            shipped("en"),
            language="en",
            task="headlines",
            settings=settings,
            output=output,
        )
    tokens = torch.tensor([[1, 50, 60, 70]])
    with torch.no_grad():
        loaded = PeftModel.from_pretrained(tiny_llama(), tmp_path / "task-en")(tokens).logits
        right = by_hand(tmp_path, {"task-en": Fraction(1)})(tokens).logits
        wrong = by_hand(tmp_path, {"task-en": Fraction("0.99")})(tokens).logits
    assert (loaded - right).abs().max() < TOLERANCE < (loaded - wrong).abs().max()


@pytest.mark.slow
def test_the_demo_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "isogloss.lab.demo"]
    result = subprocess.run(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout
    for equation in EQUATIONS:
        assert f"PeftModel.from_pretrained('{equation.name}')" in result.stdout
    assert "(exit code 6, as it should be)" in result.stdout
    assert "Warning" not in result.stdout
    assert list(tmp_path.iterdir()) == []

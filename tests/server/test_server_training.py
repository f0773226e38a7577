"""A base model that is an id at a hub, fetched by the real client over real HTTP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
def test_a_base_at_a_hub_is_trained_on_and_its_commit_recorded(
    api: HfApi, url: str, run_client: Run, tmp_path: Path
) -> None:
    from isogloss.lab.tiny import byte_tokenizer, tiny_llama

    tiny_llama().save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    api.create_repo("ann/tiny")
    commit = api.upload_folder(repo_id="ann/tiny", folder_path=tmp_path / "base").oid
    (tmp_path / "pt.txt").write_text("one line of text\nand another one\n")

    def isogloss(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        home = str(tmp_path / "mine")
        return run_client(url, "-m", "isogloss.cli", *words, ISOGLOSS_HOME=home, check=check)

    isogloss("init")
    data = ("--language", "pt", "--data", str(tmp_path / "pt.txt"))
    quick = ("--steps", "1", "--batch-size", "1", "--max-length", "16", "--json")
    done = isogloss("train", "lm", "--base", "ann/tiny", *data, *quick)
    record = json.loads(done.stdout)
    assert (record["base"], record["base_revision"]) == ("ann/tiny", commit)
    assert "base_digest" not in record["training"]
    other = ("--base", "ann/absent", "--name", "other")
    gone = isogloss("train", "lm", *other, *data, *quick, check=False)
    assert gone.returncode == 3
    assert "there is no model 'ann/absent', neither here nor at the Hub" in gone.stderr
    assert "Traceback" not in gone.stderr

"""publish, pull, add OWNER/REPO and verify --fetch, against a hub on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isogloss.hub import AdapterHub
from isogloss.hub.server import Account, Settings, serving

if TYPE_CHECKING:
    from .conftest import Invoke, WriteLora

TOKEN = "hf_ann-writes-here"
REPO = "acme/xlsum-pt"


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub on which ann writes, set in the environment as the usual one."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    accounts = (Account.of("ann", TOKEN, "write", ("ann", "acme")),)
    with (
        AdapterHub.init(tmp_path / "remote-home") as served,
        serving(served, Settings(accounts=accounts)) as url,
    ):
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield url


COMPOSE = (
    "compose",
    "0.6*task[en] + 0.4*(lm[pt] - lm[en])",
    "--name",
    "xlsum-pt",
    "--result-language",
    "pt",
)


@pytest.fixture
def composed(catalogue: None, invoke: Invoke) -> None:
    invoke(*COMPOSE)


def test_there_and_back(
    catalogue: None, endpoint: str, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("xlsum-en", "lm-en", "lm-pt"):
        invoke("publish", name, f"acme/{name}")
    invoke(*COMPOSE)
    said = invoke("publish", "xlsum-pt", REPO)
    assert re.search(rf"^Published xlsum-pt@v1 to {endpoint}/{REPO}, tag v1, commit", said.stdout)
    assert TOKEN not in said.output
    again = json.loads(invoke("publish", "xlsum-pt", REPO, "--json").stdout)
    assert (again["created"], again["tag"], again["version"]) == (False, "v1", "xlsum-pt@v1")
    assert "no new commit" in invoke("publish", "xlsum-pt", REPO).stdout
    assert "The card is the same" in invoke("publish", "xlsum-pt", REPO, "--card").stdout

    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "others-home"))
    invoke("init")
    assert invoke("pull", f"{REPO}@v1").stdout == f"Added {REPO}@v1\n"
    assert "nothing was added" in invoke("add", f"{REPO}@{again['commit']}").stdout
    shown = json.loads(invoke("show", REPO, "--json").stdout)
    assert shown["kind"] == "composed"
    invoke("verify", REPO, code=3)
    assert "ok  made again" in invoke("verify", REPO, "--fetch").stdout
    assert "lm-pt@v1" in invoke("lineage", REPO).stdout


def test_a_dry_run_shows_it_all(
    composed: None, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    shown = invoke("publish", "xlsum-pt", REPO, "--tag", "best", "--dry-run").stdout
    for part in ("adapter_model.safetensors", "isogloss.lock.json", "base_model: acme/tiny"):
        assert part in shown
    assert f"isogloss publish xlsum-pt@v1 {REPO} --tag best" in shown


def test_exit_codes(
    composed: None,
    endpoint: str,
    invoke: Invoke,
    write_lora: WriteLora,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "no such repository" in invoke("pull", "acme/nothing", code=5).stderr
    assert "OWNER/NAME" in invoke("pull", "nothing", code=1).stderr
    assert "leave --tag out" in invoke("publish", "x", REPO, "--card", "--tag", "a", code=2).stderr
    invoke("publish", "nothing", REPO, code=3)
    invoke("publish", "xlsum-en", REPO)
    assert "holds something else" in invoke("publish", "xlsum-pt", REPO, code=5).stderr
    assert "may not" in invoke("publish", "xlsum-pt", "eve/x", code=5).stderr
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in invoke("pull", REPO, code=5).stderr


def test_a_folder_is_no_repository(
    catalogue: None, endpoint: str, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "there is no folder 'acme/x'" in invoke("add", "acme/x", "--kind", "lm", code=1).stderr
    assert "there is no folder './z/x'" in invoke("add", "./z/x", "--kind", "lm", code=1).stderr
    assert "no such repository" in invoke("add", "zz/x", "--kind", "lm", code=5).stderr

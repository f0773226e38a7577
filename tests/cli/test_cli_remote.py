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
    assert f"isogloss publish xlsum-pt@v1 {REPO} --tag best\n" in shown
    given = ("--private", "--message", "at last")
    shown = invoke("publish", "xlsum-pt", REPO, "--dry-run", *given).stdout
    assert f"isogloss publish xlsum-pt@v1 {REPO} --tag v1 --private --message 'at last'\n" in shown
    shown = invoke("publish", "xlsum-pt", REPO, "--dry-run", "--card").stdout
    assert shown.startswith("Would renew the card of xlsum-pt@v1 at ")
    assert "adapter_config.json" not in shown.partition("Card")[0]
    assert shown.endswith(f"isogloss publish xlsum-pt@v1 {REPO} --card\n")


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
    assert "leave --private" in invoke("publish", "x", REPO, "--card", "--private", code=2).stderr
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


def test_importing(
    catalogue: None, endpoint: str, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("xlsum-en", "lm-pt"):
        invoke("publish", name, f"acme/{name}")
    shown = invoke("show", "lm-pt").stdout
    assert re.search(rf"Published\n.*\n{endpoint}/acme/lm-pt  v1 +[0-9a-f]{{40}}", shown)
    (place,) = json.loads(invoke("show", "lm-pt", "--json").stdout)["publications"]
    assert (place["endpoint"], place["repo"], place["tag"]) == (endpoint, "acme/lm-pt", "v1")

    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "others-home"))
    invoke("init")
    first = invoke("import", "--limit", "1")
    assert first.stdout.startswith("1 added, 0 updated, 0 known before, 0 skipped, of ")
    assert "goes on from here" in first.stderr
    again = json.loads(invoke("import", "--json").stdout)
    assert (again["added"], again["known"], again["skipped"], again["complete"]) == (1, 1, [], True)
    assert invoke("find", "not here").stdout.count("not here") == 2
    (found,) = json.loads(invoke("find", "--kind", "lm", "--json").stdout)
    assert (found["here"], found["digest"], found["size"]) == (False, None, None)
    assert "not here yet" in invoke("show", "acme/lm-pt").stdout
    told = invoke("explain", "task[en] + lm[pt]").stdout
    assert re.search(rf"acme/lm-pt@v1 .* kB +{endpoint}/acme/lm-pt", told)
    plain = json.loads(invoke("explain", "task[en] + lm[pt]", "--json").stdout)
    assert [one["adapter"] for one in plain["downloads"]] == ["acme/lm-pt@v1", "acme/xlsum-en@v1"]
    assert (plain["digest"], plain["terms"][0]["digest"]) == (None, None)
    assert "2 versions and 0 files checked\n2 versions of these" in invoke("fsck").stdout
    assert (
        json.loads(invoke("lineage", "acme/lm-pt", "--json").stdout)["nodes"][0]["digest"] is None
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "acme/lm-pt@v1 are not here yet" in invoke("compose", "lm[pt]", code=5).stderr
    assert "HF_HUB_OFFLINE" in invoke("import", code=5).stderr
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert "acme/lm-pt@v1 are not here yet" in invoke("verify", "acme/lm-pt", code=3).stderr
    invoke("compose", "lm[pt]", "--name", "mine")
    assert [one["name"] for one in json.loads(invoke("find", "here", "--json").stdout)] == [
        "acme/lm-pt",
        "mine",
    ]


def test_what_import_skips_is_counted(
    catalogue: None, endpoint: str, invoke: Invoke, write_lora: WriteLora
) -> None:
    from isogloss.hub.remote.client import HubClient

    client, folder = HubClient(), write_lora("plain")
    client.create("acme/silent", private=False)
    additions = client.additions([(path.name, path) for path in sorted(folder.iterdir())])
    client.upload("acme/silent", additions)
    client.commit("acme/silent", additions, "by hand", client.head("acme/silent"))
    said = invoke("import").stdout
    assert "0 added, 0 updated, 0 known before, 1 skipped, of 1 listed" in said
    assert re.search(r"1  nobody says what it was trained on; --kind would +acme/silent", said)
    assert invoke("import", "--kind", "lm", "--language", "yo").stdout.startswith("1 added")
    assert "klingonese" in invoke("import", "--language", "klingonese", code=1).stderr
    assert "no task" in invoke("import", "--kind", "lm", "--task", "qa", code=1).stderr

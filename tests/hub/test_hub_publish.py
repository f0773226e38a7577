"""Publishing to a real server with the real client: what arrives, and that a repeat is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isogloss.dsl.meaning.lock import LOCK_NAME
from isogloss.hub import (
    AdapterHub,
    OfflineError,
    RemoteConflictError,
    RemoteDeniedError,
    RemoteUnavailableError,
    SourceError,
)
from isogloss.hub.remote.client import HubClient
from isogloss.store import Score

if TYPE_CHECKING:
    from .conftest import FaultyHub

EXPRESSION = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"
REPO = "acme/xlsum-pt"


@pytest.fixture
def composed(stocked: AdapterHub) -> AdapterHub:
    stocked.compose(EXPRESSION, name="xlsum-pt", result_language="pt", result_task="xlsum")
    return stocked


def test_one_commit_with_a_tag_on_it(
    composed: AdapterHub, client: HubClient, remote: FaultyHub
) -> None:
    published = composed.publish("xlsum-pt", REPO, client=client)
    assert (published.tag, published.created) == ("v1", True)
    assert client.tags(REPO) == {"v1": published.commit}
    assert client.head(REPO) == published.commit
    tree = client.tree(REPO, published.commit or "")
    for file in published.files:
        assert tree[file.path].size_bytes == file.size_bytes
    assert tree["adapter_model.safetensors"].sha256 == composed.show("xlsum-pt").digest
    assert {LOCK_NAME, "README.md", "adapter_config.json"} < set(tree)
    assert remote.count("POST", "/commit/") == 1
    (noted,) = composed.catalog.publications.of("xlsum-pt", 1)
    assert (noted.endpoint, noted.repo, noted.tag, noted.commit) == (
        remote.url,
        REPO,
        "v1",
        published.commit,
    )


def test_the_same_again_sends_nothing(
    composed: AdapterHub, client: HubClient, remote: FaultyHub
) -> None:
    first = composed.publish("xlsum-pt", REPO, client=client)
    remote.forget()
    again = composed.publish("xlsum-pt", REPO, client=client)
    assert (again.commit, again.created) == (first.commit, False)
    assert {method for method, _ in remote.asked} == {"GET"}
    assert len(composed.catalog.publications.of("xlsum-pt", 1)) == 1


def test_equal_weights_travel_once(
    composed: AdapterHub, client: HubClient, remote: FaultyHub
) -> None:
    composed.publish("xlsum-pt", REPO, client=client)
    remote.forget()
    second = composed.publish("xlsum-pt", "acme/another", client=client)
    assert second.created
    assert remote.count("POST", "/commit/") == 1
    again = composed.publish("xlsum-en", REPO, tag="en", client=client)
    assert again.created
    tree = client.tree(REPO, again.commit or "")
    assert LOCK_NAME not in tree


def test_versions_follow_each_other(composed: AdapterHub, client: HubClient) -> None:
    first = composed.publish("xlsum-pt", REPO, client=client)
    composed.compose("0.8*task[en] + 0.2*lm[pt]", name="xlsum-pt", result_language="pt")
    second = composed.publish("xlsum-pt", REPO, client=client)
    assert second.created
    assert client.tags(REPO) == {"v1": first.commit, "v2": second.commit}
    assert client.commits(REPO)[:2] == [second.commit, first.commit]


def test_a_tag_on_other_content_is_left_alone(composed: AdapterHub, client: HubClient) -> None:
    first = composed.publish("xlsum-en", REPO, client=client)
    with pytest.raises(RemoteConflictError, match="holds something else"):
        composed.publish("xlsum-pt", REPO, client=client)
    assert client.head(REPO) == first.commit
    assert client.tags(REPO) == {"v1": first.commit}


def test_a_lost_tag_is_put_back_without_a_commit(composed: AdapterHub, client: HubClient) -> None:
    first = composed.publish("xlsum-pt", REPO, tag="one", client=client)
    again = composed.publish("xlsum-pt", REPO, client=client)
    assert (again.commit, again.created) == (first.commit, False)
    assert client.tags(REPO) == {"one": first.commit, "v1": first.commit}


def test_a_card_alone_moves_no_tag(composed: AdapterHub, client: HubClient) -> None:
    first = composed.publish("xlsum-pt", REPO, client=client)
    unchanged = composed.publish("xlsum-pt", REPO, card=True, client=client)
    assert (unchanged.created, unchanged.commit) == (False, first.commit)
    score = Score(
        dataset="csebuetnlp/xlsum", language="pt", split="test", metric="rouge2", value=0.11
    )
    composed.catalog.evaluations.record("xlsum-pt", 1, score)
    renewed = composed.publish("xlsum-pt", REPO, card=True, client=client)
    assert renewed.created
    assert "0.11" in renewed.card
    assert client.head(REPO) == renewed.commit
    assert client.tags(REPO) == {"v1": first.commit}
    tree = client.tree(REPO, renewed.commit or "")
    assert ".eval_results/isogloss.yaml" in tree
    again = composed.publish("xlsum-pt", REPO, client=client)
    assert (again.created, again.commit) == (False, first.commit)


def test_a_card_needs_its_version_there(composed: AdapterHub, client: HubClient) -> None:
    composed.publish("xlsum-en", REPO, client=client)
    with pytest.raises(RemoteConflictError, match="does not hold xlsum-pt@v1"):
        composed.publish("xlsum-pt", REPO, card=True, client=client)


def test_a_dry_run_asks_nobody(composed: AdapterHub, client: HubClient, remote: FaultyHub) -> None:
    planned = composed.publish("xlsum-pt", REPO, dry_run=True, client=client)
    assert (planned.commit, planned.created, remote.asked) == (None, False, [])
    done = composed.publish("xlsum-pt", REPO, client=client)
    assert planned.files == done.files
    assert planned.card == done.card


def test_private_stays_private(composed: AdapterHub, client: HubClient) -> None:
    composed.publish("xlsum-pt", REPO, private=True, client=client)
    assert client.is_private(REPO)
    composed.publish("xlsum-pt", "acme/open", client=client)
    with pytest.raises(RemoteConflictError, match="is public"):
        composed.publish("xlsum-en", "acme/open", tag="x", private=True, client=client)


def test_who_may_not_write_is_told(composed: AdapterHub, remote: FaultyHub) -> None:
    for token in (remote.read_token, "hf_nobody-knows-this", False):
        with pytest.raises(RemoteDeniedError) as told:
            stranger = HubClient(remote.url, token, pause=lambda seconds: None)
            composed.publish("xlsum-pt", REPO, client=stranger)
        assert str(token) not in str(told.value)
    assert remote.count("POST", "/commit/") == 0


def test_names_that_cannot_be(composed: AdapterHub, client: HubClient, remote: FaultyHub) -> None:
    repos = [(repo, None) for repo in ("acme", "acme/a--b", "../etc", "a/b/c", "a/b\n")]
    tags = [(REPO, tag) for tag in ("a b", "x/../y", "-x", "a" * 40, "x\ny", "v1.lock")]
    for repo, tag in [*repos, *tags]:
        with pytest.raises(SourceError):
            composed.publish("xlsum-pt", repo, tag=tag, client=client)
    assert remote.asked == []


def test_offline_mode_is_kept_to(
    composed: AdapterHub, client: HubClient, remote: FaultyHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="HF_HUB_OFFLINE"):
        composed.publish("xlsum-pt", REPO, client=client)
    assert remote.asked == []


def test_the_configuration_is_what_the_lock_promises(
    composed: AdapterHub, client: HubClient
) -> None:
    published = composed.publish("xlsum-pt", REPO, client=client)
    lock = composed.show("xlsum-pt").composition
    assert lock is not None
    promised = json.loads(json.dumps(lock.lock))["files"]
    assert {one.path: one.sha256 for one in published.files}.items() >= promised.items()


def test_a_hub_without_xet_gets_its_files_by_lfs(
    composed: AdapterHub,
    client: HubClient,
    remote: FaultyHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    remote.fail("GET", "/xet-write-token/", "before", status=404, times=9)
    assert composed.publish("xlsum-pt", REPO, client=client).created
    assert remote.count("GET", "/xet-write-token/") == 1
    assert remote.count("PUT", "/uploads/") == 1


def test_secrets_are_kept(
    composed: AdapterHub,
    client: HubClient,
    remote: FaultyHub,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    remote.fail("PUT", "/uploads/", "before", times=50)
    with pytest.raises(RemoteUnavailableError) as told:
        composed.publish("xlsum-pt", REPO, client=client)
    shown = "".join((str(told.value), *capfd.readouterr(), caplog.text))
    assert remote.count("PUT", "/uploads/") > 1
    assert remote.token not in shown
    assert "/uploads/" not in shown


def test_the_card_says_what_was_warned_of(composed: AdapterHub, client: HubClient) -> None:
    said = composed.compose("0.5*lm[pt] + 0.5*lm[en]", name="blend").warnings
    assert said
    composition = composed.show("blend").composition
    assert composition is not None
    assert composition.warnings == said
    for parent in ("lm-pt", "lm-en"):
        composed.blobs.remove(composed.show(parent).digest)
    card = composed.publish("blend", "acme/blend", dry_run=True, client=client).card
    for warning in said:
        assert f"> `{warning}`" in card


LOADING = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
base_path, folder, repo, tag, commit = sys.argv[1:]
config = LlamaConfig(
    vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
    num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False,
)
torch.manual_seed(0)
LlamaForCausalLM(config).save_pretrained(base_path)

def logits(source, **options):
    base = AutoModelForCausalLM.from_pretrained(base_path, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, source, **options).eval()
    with torch.no_grad():
        adapted = model(torch.arange(12).reshape(1, 12)).logits
        with model.disable_adapter():
            assert not torch.equal(adapted, model(torch.arange(12).reshape(1, 12)).logits)
    return adapted

local = logits(folder)
assert torch.equal(local, logits(repo, revision=tag))
assert torch.equal(local, logits(repo, revision=commit))
"""


@pytest.mark.slow
def test_peft_loads_what_was_published(
    composed: AdapterHub, client: HubClient, remote: FaultyHub, tmp_path: Path
) -> None:
    composed.compose(EXPRESSION, output=tmp_path / "folder")
    published = composed.publish("xlsum-pt", REPO, client=client)
    # Another version comes after it, so that neither the tag nor the sha is the main branch.
    composed.publish("lm-yo", REPO, tag="other", client=client)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "ISOGLOSS_"))}
    places = [str(tmp_path / "base"), str(tmp_path / "folder"), REPO]
    ran = subprocess.run(
        [sys.executable, "-c", LOADING, *places, "v1", str(published.commit)],
        env=kept
        | {
            "HF_ENDPOINT": remote.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr

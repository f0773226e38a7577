"""Pulling from a real server: pinned, whole, checked, with the lineage rebuilt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isogloss.hub import (
    AdapterHub,
    IntegrityError,
    OfflineError,
    RefusedSourceError,
    RemoteNotFoundError,
    SourceError,
)
from isogloss.hub.remote.client import HubClient
from isogloss.hub.remote.names import check_paths, check_revision, is_repository, parse_remote
from isogloss.store import UnknownVersionError

if TYPE_CHECKING:
    from .conftest import FaultyHub

WriteLora = Callable[..., Path]
EXPRESSION = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"
REPO = "acme/xlsum-pt"
PARENTS = ("xlsum-en", "lm-pt", "lm-en")


@pytest.fixture
def published(stocked: AdapterHub, client: HubClient) -> AdapterHub:
    """A composition at the hub, and its parents."""
    for name in PARENTS:
        stocked.publish(name, f"acme/{name}", client=client)
    stocked.compose(EXPRESSION, name="xlsum-pt", result_language="pt", result_task="xlsum")
    stocked.publish("xlsum-pt", REPO, client=client)
    return stocked


def send(client: HubClient, repo: str, files: dict[str, bytes | Path]) -> None:
    client.create(repo, private=False)
    additions = client.additions(list(files.items()))
    client.upload(repo, additions)
    client.commit(repo, additions, "by hand", client.head(repo))


def test_a_composition_keeps_its_lineage(
    published: AdapterHub, other: AdapterHub, client: HubClient, remote: FaultyHub
) -> None:
    added = other.pull(f"{REPO}@v1", client=client)
    pulled, original = added.version, published.show("xlsum-pt")
    assert (pulled.name, pulled.kind, pulled.languages) == (REPO, "composed", ("pt",))
    assert (pulled.task, pulled.license) == ("xlsum", "apache-2.0")
    assert (pulled.digest, pulled.config_digest) == (original.digest, original.config_digest)
    assert (pulled.source, pulled.source_revision) == (f"{remote.url}/{REPO}", client.head(REPO))
    assert original.composition is not None
    assert pulled.composition == replace(original.composition, warnings=())
    lineage = other.lineage(REPO)
    assert {node.called for node in lineage.nodes if not node.versions} == {
        f"{name}@v1" for name in PARENTS
    }
    assert not other.pull(REPO, client=client).created


def test_parents_are_fetched_for_a_proof(
    published: AdapterHub, other: AdapterHub, client: HubClient
) -> None:
    other.pull(REPO, client=client)
    with pytest.raises(UnknownVersionError, match="--fetch"):
        other.verify(REPO)
    proof = other.verify(REPO, fetch=True, client=client)
    assert [check.subject for check in proof.checks].count("made again") == 1
    assert len([check for check in proof.checks if check.subject.startswith("fetched")]) == 3
    assert other.catalog.names() == [REPO]
    for name in PARENTS:
        other.pull(f"acme/{name}", client=client)
    assert other.verify(REPO).digest == proof.digest


def test_what_training_was_said_comes_back(
    hub: AdapterHub, other: AdapterHub, client: HubClient, tmp_path: Path, write_lora: WriteLora
) -> None:
    facts = {
        "kind": "task",
        "task": "xlsum",
        "language": "pt-BR",
        "dataset": "csebuetnlp/xlsum",
        "dataset_revision": "abc",
        "objective": "prefix-lm",
        "steps": 10,
        "batch_size": 4,
        "learning_rate": 2e-4,
        "seed": -3,
        "license": "ask Ann: `|` or --- # not",
    }
    original = hub.add(write_lora(tmp_path / "run"), name="mine", **facts).version
    hub.publish("mine", "acme/mine", client=client)
    pulled = other.pull("acme/mine", name="theirs", client=client).version
    for field in (
        *facts.keys() - {"language"},
        "languages",
        "digest",
        "config_digest",
        "base_model",
    ):
        assert getattr(pulled, field) == getattr(original, field), field
    assert pulled.name == "theirs"


def test_a_pull_is_pinned(published: AdapterHub, other: AdapterHub, client: HubClient) -> None:
    first = other.pull(f"{REPO}@v1", client=client).version
    published.compose("0.8*task[en] + 0.2*lm[pt]", name="xlsum-pt", result_language="pt")
    published.publish("xlsum-pt", REPO, client=client)
    assert other.show(REPO).digest == first.digest
    second = other.pull(REPO, client=client)
    assert (second.created, second.version.version) == (True, 2)
    assert second.version.digest == published.show("xlsum-pt@v2").digest


def test_what_is_here_needs_no_hub(
    published: AdapterHub,
    other: AdapterHub,
    client: HubClient,
    remote: FaultyHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sha = client.head(REPO)
    other.pull(REPO, client=client)
    remote.forget()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not other.pull(f"{REPO}@{sha}", client=client).created
    with pytest.raises(OfflineError):
        other.pull(REPO, client=client)
    assert remote.asked == []


def test_what_is_here_is_fetched_again_only_if_it_is_damaged(
    published: AdapterHub, other: AdapterHub, client: HubClient, remote: FaultyHub
) -> None:
    first = other.pull(REPO, client=client).version
    remote.forget()
    again = other.pull(f"{REPO}@v1", client=client)
    assert (again.created, again.version, remote.count("GET", "/resolve/")) == (False, first, 0)
    path = other.blobs.path(first.digest)
    for reference in (f"{REPO}@{first.source_revision}", REPO):
        path.chmod(0o644)
        path.write_bytes(b"damaged")
        mended = other.pull(reference, client=client)
        assert (mended.created, mended.version) == (False, first)
        assert "they are sound again" in mended.warnings[0]
        other.blobs.verify(first.digest)


def test_a_new_card_is_no_new_version(
    published: AdapterHub, other: AdapterHub, client: HubClient
) -> None:
    other.pull(REPO, client=client)
    send(client, REPO, {"notes.txt": b"a file that is nobody's business"})
    again = other.pull(REPO, client=client)
    assert (again.created, again.version.version) == (False, 1)


def test_an_adapter_of_somebody_else(
    hub: AdapterHub, client: HubClient, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(tmp_path / "run")
    files: dict[str, bytes | Path] = {path.name: path for path in folder.iterdir()}
    send(client, "acme/plain", files)
    with pytest.raises(SourceError, match="--kind"):
        hub.pull("acme/plain", client=client)
    with pytest.raises(SourceError, match="--language"):
        hub.pull("acme/plain", kind="lm", client=client)
    assert hub.find() == []
    assert hub.pull("acme/plain", kind="lm", language="yo", client=client).created


def test_what_is_no_adapter_is_told(
    hub: AdapterHub, client: HubClient, tmp_path: Path, write_lora: WriteLora
) -> None:
    config = write_lora(tmp_path / "run") / "adapter_config.json"
    send(client, "acme/pickled", {"adapter_config.json": config, "adapter_model.bin": b"\x80"})
    with pytest.raises(RefusedSourceError, match="pickle"):
        hub.pull("acme/pickled", kind="lm", language="yo", client=client)
    send(client, "acme/half", {"adapter_config.json": config})
    with pytest.raises(RemoteNotFoundError, match=r"adapter_model\.safetensors"):
        hub.pull("acme/half", kind="lm", language="yo", client=client)
    with pytest.raises(RemoteNotFoundError, match="no such repository"):
        hub.pull("acme/nothing", client=client)
    with pytest.raises(RemoteNotFoundError):
        hub.pull("acme/half@v9", client=client)
    assert (hub.find(), list(hub.blobs.digests())) == ([], [])


def test_a_foreign_lock_is_not_believed(
    published: AdapterHub, other: AdapterHub, client: HubClient, tmp_path: Path
) -> None:
    tree = client.tree(REPO, client.head(REPO) or "")
    files: dict[str, bytes | Path] = {
        path: client.download(REPO, client.head(REPO) or "", path, tmp_path / "copy")
        for path in tree
        if path != ".gitattributes"
    }
    weights = bytearray(Path(str(files["adapter_model.safetensors"])).read_bytes())
    weights[-1] ^= 1
    files["adapter_model.safetensors"] = bytes(weights)
    send(client, "acme/forged", files)
    with pytest.raises(IntegrityError, match="was changed after it was composed"):
        other.pull("acme/forged", client=client)
    assert other.find() == []


def test_a_composed_folder_keeps_its_lineage(
    stocked: AdapterHub, other: AdapterHub, tmp_path: Path
) -> None:
    stocked.compose(EXPRESSION, name="xlsum-pt", result_language="pt", output=tmp_path / "out")
    moved = shutil.copytree(tmp_path / "out", tmp_path / "elsewhere")
    added = other.add(moved, name="xlsum-pt").version
    original = stocked.show("xlsum-pt")
    assert (added.kind, added.languages) == ("composed", ("pt",))
    assert original.composition is not None
    assert added.composition == replace(original.composition, warnings=())
    assert not stocked.add(moved, name="xlsum-pt").created
    with pytest.raises(SourceError, match="--kind, --steps"):
        other.add(moved, kind="lm", steps=5)
    config = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(IntegrityError, match=r"adapter_config\.json was changed"):
        other.add(moved)


def test_repositories_and_revisions_are_checked() -> None:
    assert parse_remote("acme/x@feature/y").revision == "feature/y"
    assert all(map(is_repository, ("a/b", "Acme-1/x.y_z", "_a/b")))
    wrong = ("a", "a/", "/b", "a/b/c", "a//b", "a/..", "-a/b", "a/b.git", "a b/c", "a/b\n", "à/b")
    assert not any(map(is_repository, wrong))
    for revision in ("", "..", "a/../b", "a\x00", "a\nb", "x" * 241, "/a", "\u202ea"):
        with pytest.raises(SourceError):
            check_revision(revision)


def test_file_names_are_checked() -> None:
    taken = ("README.md",)
    check_paths(["README.md", "a/readme.md", ".gitattributes", "données/x y.txt"], taken)
    for path in (
        "../x",
        "/etc/passwd",
        "a/../../x",
        "a//b",
        "C:/x",
        "a\\b",
        "a\x1b[2J",
        "a/.git/config",
        "readme.MD",
        "./x",
    ):
        with pytest.raises(IntegrityError):
            check_paths(["README.md", path], taken)


def test_the_beginning_of_a_commit_is_none(
    published: AdapterHub, other: AdapterHub, client: HubClient
) -> None:
    with pytest.raises(RemoteNotFoundError, match="by their whole sha, of 40 digits"):
        other.pull(f"{REPO}@{str(client.head(REPO))[:7]}", client=client)

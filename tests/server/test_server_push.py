"""Pushing with the real client: repositories, commits, large files, branches and tags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from isogloss.hub import AdapterHub
from isogloss.hub.server import Limits

WEIGHTS = bytes(range(256)) * 4096


def test_a_repository_is_made_once(api: HfApi) -> None:
    assert api.create_repo("acme/one").repo_id == "acme/one"
    assert api.create_repo("acme/one", exist_ok=True).repo_id == "acme/one"
    assert api.create_repo("mine").repo_id == "ann/mine"
    with pytest.raises(HfHubHTTPError) as raised:
        api.create_repo("acme/one")
    assert raised.value.response.status_code == 409
    assert api.repo_exists("acme/one")
    assert not api.repo_exists("acme/two")
    info = api.model_info("acme/one")
    assert [file.rfilename for file in info.siblings or []] == [".gitattributes"]
    assert [c.title for c in api.list_repo_commits("acme/one")] == ["initial commit"]


def test_one_commit_with_small_and_large_files(api: HfApi, tmp_path: Path) -> None:
    api.create_repo("acme/one")
    head = api.model_info("acme/one").sha
    made = api.create_commit(
        "acme/one",
        [
            CommitOperationAdd("adapter_model.safetensors", WEIGHTS),
            CommitOperationAdd("notes/a b%2F\u00e9.txt", b"hello"),
            CommitOperationAdd("empty.txt", b""),
        ],
        commit_message="two files",
        commit_description="and why",
        parent_commit=head,
    )
    assert api.model_info("acme/one").sha == made.oid
    commits = api.list_repo_commits("acme/one")
    assert [(c.commit_id, c.title, c.message, c.authors) for c in commits] == [
        (made.oid, "two files", "and why", ["ann"]),
        (head, "initial commit", "", ["ann"]),
    ]
    for path, content in (
        ("adapter_model.safetensors", WEIGHTS),
        ("notes/a b%2F\u00e9.txt", b"hello"),
        ("empty.txt", b""),
    ):
        for revision in ("main", made.oid):
            got = api.hf_hub_download("acme/one", path, revision=revision)
            assert Path(got).read_bytes() == content


def test_what_is_there_is_not_sent_again(api: HfApi, hub: AdapterHub) -> None:
    api.create_repo("acme/one")
    operations = [
        CommitOperationAdd("w.safetensors", WEIGHTS),
        CommitOperationAdd("a.txt", b"text"),
    ]
    first = api.create_commit("acme/one", operations, commit_message="first")
    again = [
        CommitOperationAdd("w.safetensors", WEIGHTS),
        CommitOperationAdd("a.txt", b"text"),
    ]
    second = api.create_commit("acme/one", again, commit_message="second")
    assert second.oid == first.oid
    assert len(api.list_repo_commits("acme/one")) == 2


def test_files_are_copied_and_deleted(api: HfApi) -> None:
    api.create_repo("acme/one")
    api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="a/w.safetensors", repo_id="acme/one")
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a/x.txt", repo_id="acme/one")
    api.create_commit(
        "acme/one",
        [
            CommitOperationCopy("a/w.safetensors", "b/w.safetensors"),
            CommitOperationDelete("a/", is_folder=True),
        ],
        commit_message="move",
    )
    assert api.list_repo_files("acme/one") == [".gitattributes", "b/w.safetensors"]
    api.delete_file("b/w.safetensors", "acme/one")
    assert api.list_repo_files("acme/one") == [".gitattributes"]
    with pytest.raises(HfHubHTTPError, match="no such file"):
        api.delete_file("b/w.safetensors", "acme/one")


def test_a_folder_is_uploaded(api: HfApi, tmp_path: Path) -> None:
    api.create_repo("acme/one")
    folder = tmp_path / "folder"
    for number in range(12):
        place = folder / f"d{number % 3}" / f"{number}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(number))
    (folder / "w.safetensors").write_bytes(WEIGHTS)
    api.upload_folder(repo_id="acme/one", folder_path=folder)
    assert len(api.list_repo_files("acme/one")) == 14
    down = Path(api.snapshot_download("acme/one"))
    assert {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == {
        p.relative_to(down): p.read_bytes()
        for p in down.rglob("*")
        if p.is_file() and p.name != ".gitattributes"
    }


def test_large_files_come_in_parts(serve: Callable[..., str], client: Callable[..., HfApi]) -> None:
    url = serve(limits=Limits(part_bytes=300_000))
    api = client(url)
    api.create_repo("acme/one")
    api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="w.bin", repo_id="acme/one")
    assert Path(api.hf_hub_download("acme/one", "w.bin")).read_bytes() == WEIGHTS


def test_a_moved_head_is_told(api: HfApi) -> None:
    api.create_repo("acme/one")
    head = api.model_info("acme/one").sha
    add = [CommitOperationAdd("a.txt", b"1")]
    api.create_commit("acme/one", add, commit_message="1", parent_commit=head)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as raised:
        api.create_commit(
            "acme/one",
            [CommitOperationAdd("a.txt", b"2")],
            commit_message="2",
            parent_commit=head,
        )
    assert raised.value.response.status_code == 412


def test_branches_and_tags(api: HfApi) -> None:
    api.create_repo("acme/one")
    one = api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="acme/one")
    api.create_tag("acme/one", tag="v1", revision=one.oid)
    api.create_branch("acme/one", branch="feature/x", revision="v1")
    two = api.upload_file(
        path_or_fileobj=b"2", path_in_repo="a.txt", repo_id="acme/one", revision="feature/x"
    )
    refs = api.list_repo_refs("acme/one")
    assert {(ref.name, ref.ref, ref.target_commit) for ref in [*refs.branches, *refs.tags]} == {
        ("main", "refs/heads/main", one.oid),
        ("feature/x", "refs/heads/feature/x", two.oid),
        ("v1", "refs/tags/v1", one.oid),
    }
    assert Path(api.hf_hub_download("acme/one", "a.txt", revision="v1")).read_text() == "1"
    assert Path(api.hf_hub_download("acme/one", "a.txt", revision="feature/x")).read_text() == "2"
    assert api.list_repo_files("acme/one", revision="feature/x") == [".gitattributes", "a.txt"]
    assert api.revision_exists("acme/one", "feature/x")
    assert not api.revision_exists("acme/one", "feature/y")
    for repeat in (
        lambda: api.create_tag("acme/one", tag="v1"),
        lambda: api.create_branch("acme/one", branch="feature/x"),
    ):
        with pytest.raises(HfHubHTTPError) as raised:
            repeat()
        assert raised.value.response.status_code == 409
    api.delete_tag("acme/one", tag="v1")
    api.delete_branch("acme/one", branch="feature/x")
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag("acme/one", tag="v1")
    with pytest.raises(RevisionNotFoundError, match="no branch, tag or commit 'v1'"):
        api.model_info("acme/one", revision="v1")


def test_history_is_not_rewritten(api: HfApi) -> None:
    api.create_repo("acme/one")
    with pytest.raises(HfHubHTTPError, match="history is never rewritten"):
        api.super_squash_history("acme/one")


def test_repositories_are_moved_hidden_and_deleted(api: HfApi) -> None:
    api.create_repo("acme/one")
    api.move_repo("acme/one", "ann/two")
    assert not api.repo_exists("acme/one")
    api.update_repo_settings("ann/two", private=True)
    assert api.model_info("ann/two").private
    api.delete_repo("ann/two")
    assert not api.repo_exists("ann/two")
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("ann/two")
    api.delete_repo("ann/two", missing_ok=True)


def test_pull_requests_are_refused(api: HfApi) -> None:
    api.create_repo("acme/one")
    with pytest.raises(HfHubHTTPError, match="no pull requests"):
        api.create_commit(
            "acme/one", [CommitOperationAdd("a", b"1")], commit_message="x", create_pr=True
        )


def test_a_card_is_checked_before_it_is_pushed(api: HfApi) -> None:
    api.create_repo("acme/one")
    with pytest.raises(ValueError, match="Invalid metadata in README"):
        api.upload_file(
            path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md", repo_id="acme/one"
        )
    card = b"---\nlicense: mit\ntags: [x]\nlanguage: [en, pt]\n---\n# One\n"
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="acme/one")
    info = api.model_info("acme/one")
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    assert info.tags == ["x", "en", "pt", "license:mit"]

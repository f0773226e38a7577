"""Pushing, where our server has its own ways: parts, what it refuses, what it leaves alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from isogloss.hub.server import Limits


def test_large_files_come_in_parts(serve: Callable[..., str], client: Callable[..., HfApi]) -> None:
    api, weights = client(serve(limits=Limits(part_bytes=300_000))), os.urandom(1 << 20)
    api.create_repo("acme/one")
    api.upload_file(path_or_fileobj=weights, path_in_repo="w.bin", repo_id="acme/one")
    assert Path(api.hf_hub_download("acme/one", "w.bin")).read_bytes() == weights


def test_what_is_refused_in_words(api: HfApi) -> None:
    assert api.create_repo("mine").repo_id == "ann/mine"
    with pytest.raises(HfHubHTTPError, match="no such file"):
        api.delete_file("w.safetensors", "ann/mine")
    with pytest.raises(HfHubHTTPError, match="history is never rewritten"):
        api.super_squash_history("ann/mine")
    with pytest.raises(HfHubHTTPError, match="no pull requests"):
        api.create_commit(
            "ann/mine", [CommitOperationAdd("a", b"1")], commit_message="x", create_pr=True
        )
    assert [c.title for c in api.list_repo_commits("ann/mine")] == ["initial commit"]

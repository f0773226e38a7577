"""Pushing, where our server has its own ways: parts, what it refuses, what it leaves alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from isogloss.hub import AdapterHub
from isogloss.hub.server import Limits, Settings
from isogloss.hub.server.site import Site


def test_large_files_come_in_parts(serve: Callable[..., str], client: Callable[..., HfApi]) -> None:
    api, weights = client(serve(limits=Limits(part_bytes=300_000))), os.urandom(1 << 20)
    api.create_repo("acme/one")
    api.upload_file(path_or_fileobj=weights, path_in_repo="w.bin", repo_id="acme/one")
    assert Path(api.hf_hub_download("acme/one", "w.bin")).read_bytes() == weights


def test_what_is_left_over_is_swept_away(hub: AdapterHub) -> None:
    home, now = hub.home.path, time.time()
    places = {
        home / "uploads" / "new" / "1": 1,
        home / "uploads" / "old" / "1": 2,
        home / ".composing-new" / "w": 1,
        home / ".composing-old" / "w": 2,
        home / "xorbs" / "ann" / "new": 29,
        home / "xorbs" / "ann" / "old": 31,
    }
    for place, days in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"left over")
        for path in (place, place.parent):
            os.utime(path, (now, now - (days * 24 - 1) * 3600))
    Site(hub, Settings()).sweep()
    left = {place for place in places if place.exists()}
    assert left == {place for place in places if "new" in str(place.relative_to(home))}


def test_a_server_sweeps_by_itself(hub: AdapterHub, serve: Callable[..., str]) -> None:
    old = hub.home.path / "uploads" / "old"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    serve()
    for _ in range(1000):
        if not old.exists():
            return
        time.sleep(0.01)
    pytest.fail("it is still there")


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

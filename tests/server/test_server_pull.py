"""Reading with the real client, and what travels on the wire."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from hashlib import sha256
from threading import Event
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from isogloss.hub import AdapterHub
from isogloss.hub.server import Account, Limits, Settings, serving

WEIGHTS = bytes(range(256)) * 4096
CARD = b"---\nlibrary_name: peft\nbase_model: acme/tiny\nlanguage: pt\nlicense: mit\n---\n# One\n"
ANN, BOB, EVE = "hf_ann-writes", "hf_bob-reads", "hf_eve-elsewhere"
ACCOUNTS = (
    Account.of("ann", ANN, "write", ("ann", "acme")),
    Account.of("bob", BOB, "read", ("acme",)),
    Account.of("eve", EVE, "write"),
)


def fill(api: HfApi) -> str:
    """Make acme/one, of a card, weights, and a file in a folder, and return its head."""
    api.create_repo("acme/one", exist_ok=True)
    operations = [
        CommitOperationAdd("README.md", CARD),
        CommitOperationAdd("w.safetensors", WEIGHTS),
        CommitOperationAdd("a/b/c.txt", b"deep"),
    ]
    return api.create_commit("acme/one", operations, commit_message="fill").oid


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for all tests here that leave acme/one as it is."""
    with (
        AdapterHub.init(tmp_path_factory.mktemp("pull") / "home") as hub,
        serving(hub, Settings(accounts=ACCOUNTS)) as url,
    ):
        yield url


@pytest.fixture
def url(shared: str) -> str:
    return shared


@pytest.fixture
def filled(api: HfApi) -> str:
    return fill(api)


def test_info(api: HfApi, filled: str) -> None:
    info = api.model_info("acme/one", files_metadata=True)
    assert (info.id, info.sha, info.private, info.author) == ("acme/one", filled, False, "acme")
    assert info.library_name == "peft"
    assert {"peft", "pt", "license:mit", "base_model:acme/tiny"} <= set(info.tags or [])
    assert info.created_at is not None
    assert info.last_modified is not None
    assert info.created_at <= info.last_modified
    weights = next(f for f in info.siblings or [] if f.rfilename == "w.safetensors")
    assert weights.size == len(WEIGHTS)
    assert weights.lfs is not None
    assert weights.lfs.sha256 == sha256(WEIGHTS).hexdigest()
    assert api.model_info("acme/one", revision=filled).sha == filled
    few = api.model_info("acme/one", expand=["sha", "tags"])
    assert (few.sha, few.siblings) == (filled, None)


def test_trees_and_paths(api: HfApi, filled: str) -> None:
    top = {item.path: item for item in api.list_repo_tree("acme/one")}
    assert sorted(top) == [".gitattributes", "README.md", "a", "w.safetensors"]
    everything = [item.path for item in api.list_repo_tree("acme/one", recursive=True)]
    assert everything == sorted([*top, "a/b", "a/b/c.txt"])
    below = api.list_repo_tree("acme/one", "a", recursive=True, expand=True)
    file = list(below)[-1]
    assert file.path == "a/b/c.txt"
    assert file.last_commit.oid == filled  # type: ignore[union-attr]
    infos = api.get_paths_info("acme/one", ["a", "w.safetensors", "nothing"], expand=True)
    assert [info.path for info in infos] == ["a", "w.safetensors"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("acme/one", "nothing"))


def test_long_lists_come_in_pages(serve: Callable[..., str], client: Callable[..., HfApi]) -> None:
    api = client(serve(limits=Limits(page=3)))
    for number in range(7):
        api.create_repo(f"acme/r{number}")
    assert [m.id for m in api.list_models()] == [f"acme/r{number}" for number in range(7)]
    api.create_branch("acme/r0", branch="x/y")
    operations = [CommitOperationAdd(f"{number}.txt", b"1") for number in range(7)]
    api.create_commit("acme/r0", operations, commit_message="7", revision="x/y")
    assert len(api.list_repo_files("acme/r0", revision="x/y")) == 8
    for number in range(4):
        api.upload_file(
            path_or_fileobj=b"%d" % number,
            path_in_repo="n",
            repo_id="acme/r0",
            revision="x/y",
        )
    assert len(api.list_repo_commits("acme/r0", revision="x/y")) == 6


def test_lists_are_searched_filtered_and_sorted(
    serve: Callable[..., str], client: Callable[..., HfApi]
) -> None:
    api = client(serve())
    fill(api)
    for name in ("acme/two", "ann/One-more"):
        api.create_repo(name)
    api.upload_file(path_or_fileobj=CARD, path_in_repo="README.md", repo_id="acme/two")

    def names(**query: Any) -> list[str]:
        return [model.id for model in api.list_models(**query)]

    assert names() == ["acme/one", "acme/two", "ann/One-more"]
    assert names(search="one") == ["acme/one", "ann/One-more"]
    assert names(author="acme") == ["acme/one", "acme/two"]
    assert names(filter=["peft", "base_model:acme/tiny"]) == ["acme/one", "acme/two"]
    assert names(filter="base_model:acme/other") == []
    assert names(sort="last_modified") == ["acme/two", "ann/One-more", "acme/one"]
    assert names(limit=2) == ["acme/one", "acme/two"]
    (full,) = api.list_models(search="one", author="acme", full=True, cardData=True)
    assert full.card_data is not None
    assert full.card_data.license == "mit"
    assert len(full.siblings or []) == 4


def test_a_download_is_resumed(url: str, filled: str, ask: Callable[..., Any]) -> None:
    path = "/acme/one/resolve/main/w.safetensors"
    whole = ask(url, "GET", path)
    assert (whole.status, whole.body) == (200, WEIGHTS)
    assert whole.headers["X-Repo-Commit"] == filled
    assert whole.headers["ETag"] == whole.headers["X-Linked-Etag"]
    assert whole.headers["ETag"] == f'"{sha256(WEIGHTS).hexdigest()}"'
    assert whole.headers["X-Linked-Size"] == str(len(WEIGHTS))
    head = ask(url, "HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(WEIGHTS))
    rest = ask(url, "GET", path, Range="bytes=1000-")
    assert (rest.status, rest.body) == (206, WEIGHTS[1000:])
    assert rest.headers["Content-Range"] == f"bytes 1000-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"
    assert ask(url, "GET", path, Range="bytes=9999999-").status == 416
    other = ask(url, "GET", path, Range="bytes=5-", If_Range='"something else"')
    assert (other.status, other.body) == (200, WEIGHTS)


def test_what_is_not_there(api: HfApi, filled: str) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/none")
    with pytest.raises(RevisionNotFoundError, match="did you mean 'main'"):
        api.hf_hub_download("acme/one", "README.md", revision="mian")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("acme/one", "none.txt")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("gpt2")
    with pytest.raises(HfHubHTTPError):
        api.dataset_info("acme/one")


def test_private_repositories_are_seen_by_some(
    serve: Callable[..., str], client: Callable[..., HfApi]
) -> None:
    url = serve()
    api = client(url)
    fill(api)
    api.create_repo("acme/secret", private=True)
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="acme/secret")
    nobody, bob, eve = client(url, False), client(url, BOB), client(url, EVE)
    assert bob.model_info("acme/secret").private
    assert [m.id for m in bob.list_models()] == ["acme/one", "acme/secret"]
    for stranger in (nobody, eve):
        assert not stranger.repo_exists("acme/secret")
        assert [m.id for m in stranger.list_models()] == ["acme/one"]
        assert stranger.repo_exists("acme/one")
        with pytest.raises(RepositoryNotFoundError):
            stranger.snapshot_download("acme/secret")


def test_only_some_may_write(url: str, client: Callable[..., HfApi], filled: str) -> None:
    for token, status in ((False, 401), (BOB, 403), (EVE, 403)):
        stranger = client(url, token)
        tries: list[Callable[[], Any]] = [
            lambda api=stranger: api.create_repo("acme/new"),  # type: ignore[misc]
            lambda api=stranger: api.create_tag("acme/one", tag="v1"),  # type: ignore[misc]
            lambda api=stranger: api.delete_repo("acme/one"),  # type: ignore[misc]
            lambda api=stranger: api.move_repo("acme/one", "eve/one"),  # type: ignore[misc]
            lambda api=stranger: api.auth_check("acme/one", write=True),  # type: ignore[misc]
            lambda api=stranger: api.upload_file(  # type: ignore[misc]
                path_or_fileobj=b"1", path_in_repo="x", repo_id="acme/one"
            ),
        ]
        for attempt in tries:
            with pytest.raises(HfHubHTTPError) as raised:
                attempt()
            assert raised.value.response.status_code == status
        stranger.auth_check("acme/one")
    client(url, EVE).create_repo("eve/own")


def test_who_asks(url: str, client: Callable[..., HfApi]) -> None:
    found = client(url).whoami()
    assert (found["name"], [org["name"] for org in found["orgs"]]) == ("ann", ["acme"])
    with pytest.raises(HfHubHTTPError) as raised:
        client(url, "hf_nobodys-token").whoami()
    assert raised.value.response.status_code == 401


def test_a_digest_alone_gives_nobody_the_content(
    url: str, api: HfApi, ask: Callable[..., Any]
) -> None:
    secret = WEIGHTS[::-1]
    api.create_repo("acme/secret", private=True)
    api.upload_file(path_or_fileobj=secret, path_in_repo="w.bin", repo_id="acme/secret")
    ask(url, "POST", "/api/repos/create", b'{"name": "own"}', token=EVE)
    digest = sha256(secret).hexdigest()
    lines = [
        {"key": "header", "value": {"summary": "steal"}},
        {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": digest}},
    ]
    body = "\n".join(map(json.dumps, lines)).encode()
    reply = ask(url, "POST", "/api/models/eve/own/commit/main", body, token=EVE)
    assert (reply.status, "was not uploaded" in reply.json()["error"]) == (400, True)
    asked = {"operation": "upload", "objects": [{"oid": digest, "size": len(secret)}]}
    path = "/eve/own.git/info/lfs/objects/batch"
    reply = ask(url, "POST", path, json.dumps(asked).encode(), token=EVE)
    assert "upload" in reply.json()["objects"][0]["actions"]


@pytest.mark.parametrize(
    "path",
    [
        "/acme/one/resolve/main/../../../../etc/passwd",
        "/acme/one/resolve/main/..%2F..%2F..%2Fetc%2Fpasswd",
        "/acme/one/resolve/main//etc/passwd",
        "/acme/one/resolve/main/%2Fetc%2Fpasswd",
        "/acme/one/resolve/main/a%00b",
        "/acme/one/resolve/..%2F..%2Fmain/README.md",
        "/../../etc/passwd",
        "/api/models/..%2F../one",
        "/uploads/../../etc/passwd",
        "/api/models/acme/one/tree/main/..%2F..",
        "/%ff/%fe/resolve/%fd/%fc",
    ],
)
def test_no_address_leads_outside(
    url: str, filled: str, ask: Callable[..., Any], path: str
) -> None:
    for method in ("GET", "HEAD"):
        reply = ask(url, method, path)
        assert reply.status in (403, 404, 405)
        assert b"root:" not in reply.body


def test_the_log_names_requests_but_no_secret(
    url: str, api: HfApi, filled: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "isogloss.access"):
        api.create_repo("acme/logged")
        api.upload_file(path_or_fileobj=WEIGHTS[1:], path_in_repo="x.bin", repo_id="acme/logged")
        # A request is noted when its answer is on its way.
        for _ in range(1000):
            if "/commit/main" in caplog.text:
                break
            Event().wait(0.01)  # The client's pauses, and with them `sleep`, are switched off.
    lines = [json.loads(r.message) for r in caplog.records if r.name == "isogloss.access"]
    paths = [(line["method"], line["path"], line["status"], line["user"]) for line in lines]
    assert ("PUT", "/uploads/...", 200, None) in paths
    assert ("POST", "/api/models/acme/logged/commit/main", 200, "ann") in paths
    assert ANN not in caplog.text
    assert len({line["id"] for line in lines}) == len(lines)


def test_health_and_unknown_addresses(url: str, ask: Callable[..., Any]) -> None:
    assert ask(url, "GET", "/healthz", token=None).json() == {"status": "ok"}
    assert ask(url, "GET", "/nothing").status == 404
    reply = ask(url, "DELETE", "/healthz")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    assert ask(url, "POST", "/api/repos/create", b"{}", Origin="http://evil.test").status == 403


def test_everybody_may_write_where_there_are_no_accounts(
    serve: Callable[..., str], client: Callable[..., HfApi], hub: AdapterHub
) -> None:
    api = client(serve(accounts=None), "hf_any-token-will-do")
    assert api.create_repo("one").repo_id == "local/one"
    assert api.whoami()["name"] == "local"


def test_a_read_only_server_changes_nothing(
    serve: Callable[..., str], client: Callable[..., HfApi]
) -> None:
    filled = fill(client(serve()))
    api = client(serve(read_only=True))
    assert api.model_info("acme/one").sha == filled
    for attempt in (
        lambda: api.create_repo("acme/new"),
        lambda: api.create_tag("acme/one", tag="v1"),
        lambda: api.delete_repo("acme/one"),
    ):
        with pytest.raises(HfHubHTTPError, match="read-only"):
            attempt()

"""Whatever goes wrong between client and server, a repeat ends in the one right state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from isogloss.hub import (
    AdapterHub,
    IntegrityError,
    RemoteConflictError,
    RemoteDeniedError,
    RemoteError,
    RemoteUnavailableError,
)
from isogloss.hub.remote.client import HubClient

if TYPE_CHECKING:
    from .conftest import FaultyHub

# Every request that publishing makes; the weights are only sent to a hub that lacks them.
PUBLISHING = (
    ("PUT", "/uploads/"),
    ("GET", "/api/models/acme/[^/]+$"),
    ("POST", "/api/repos/create"),
    ("GET", "/auth-check/write"),
    ("GET", "/refs"),
    ("GET", "/tree/"),
    ("POST", "/preupload/"),
    ("POST", "/objects/batch"),
    ("POST", "/validate-yaml"),
    ("POST", "/commit/main"),
    ("HEAD", "/resolve/"),
    ("GET", "/resolve/"),
    ("POST", "/tag/"),
)
PULLING = (
    ("GET", "/api/models/acme/[^/]+$"),
    ("GET", "/tree/"),
    ("HEAD", "/resolve/"),
    ("GET", "/resolve/.*safetensors"),
    ("GET", "/resolve/.*README.md"),
)
WRITES = ("/api/repos/create", "/commit/main", "/tag/")


def publish_again(hub: AdapterHub, repo: str, client: HubClient) -> None:
    """As a person does: the same command until it works, and not often."""
    for _ in range(3):
        try:
            hub.publish("xlsum-en", repo, client=client)
        except (RemoteError, IntegrityError):
            continue
        return
    pytest.fail(f"{repo} could not be published")


def assert_published(hub: AdapterHub, repo: str, client: HubClient, commits: int = 1) -> None:
    head = client.head(repo)
    assert client.tags(repo) == {"v1": head}
    assert len(client.commits(repo)) == commits + 1
    tree = client.tree(repo, head or "")
    files = hub.publish("xlsum-en", repo, dry_run=True, client=client).files
    assert {one.path for one in files} <= set(tree)
    assert tree["adapter_model.safetensors"].sha256 == hub.show("xlsum-en").digest
    places = hub.catalog.publications.of("xlsum-en", 1)
    assert [(one.tag, one.commit) for one in places if one.repo == repo] == [("v1", head)]


@pytest.mark.parametrize("kind", ["before", "after", pytest.param("slow", marks=pytest.mark.slow)])
def test_one_fault_is_no_failure(
    stocked: AdapterHub, client: HubClient, remote: FaultyHub, kind: str
) -> None:
    for number, (method, path) in enumerate(PUBLISHING):
        repo = f"acme/{kind}-{number}"
        remote.forget()
        remote.fail(method, path, kind)
        stocked.publish("xlsum-en", repo, client=client)
        assert remote.faults[0].times == 0, (method, path)
        assert_published(stocked, repo, client)


def test_a_cut_connection(stocked: AdapterHub, client: HubClient, remote: FaultyHub) -> None:
    for number, (method, path) in enumerate(PUBLISHING):
        if method == "HEAD":
            continue
        repo = f"acme/cut-{number}"
        remote.forget()
        remote.fail(method, path, "cut")
        publish_again(stocked, repo, client)
        assert remote.faults[0].times == 0, (method, path)
        assert_published(stocked, repo, client)


@pytest.mark.slow
def test_an_outage_ends_in_words_and_a_repeat_in_success(
    stocked: AdapterHub, client: HubClient, remote: FaultyHub
) -> None:
    for number, (method, path) in enumerate(PUBLISHING):
        repo = f"acme/outage-{number}"
        remote.forget()
        kind = "after" if path in WRITES else "before"
        remote.fail(method, path, kind, times=50)
        try:
            stocked.publish("xlsum-en", repo, client=client)
        except RemoteUnavailableError as error:
            assert "503" in str(error)
        else:
            # The lost reply was recognised as the success that it was.
            assert kind == "after"
        remote.forget()
        stocked.publish("xlsum-en", repo, client=client)
        assert_published(stocked, repo, client)


def test_a_lost_reply_is_no_second_commit(
    stocked: AdapterHub, client: HubClient, remote: FaultyHub
) -> None:
    remote.fail("POST", "/commit/main", "after")
    published = stocked.publish("xlsum-en", "acme/lost", client=client)
    assert (published.created, published.commit) == (True, client.head("acme/lost"))
    assert remote.count("POST", "/commit/main") == 1
    assert remote.count("PUT", "/uploads/") == 1


def test_a_bit_that_turns_around_on_the_way_up(
    stocked: AdapterHub, client: HubClient, remote: FaultyHub
) -> None:
    remote.fail("PUT", "/uploads/", "spoil")
    publish_again(stocked, "acme/weights", client)
    assert_published(stocked, "acme/weights", client)
    remote.forget()
    remote.fail("GET", "/resolve/.*README.md", "flip")
    with pytest.raises(IntegrityError, match=r"README\.md"):
        stocked.publish("xlsum-en", "acme/card", client=client)
    assert client.tags("acme/card") == {}
    stocked.publish("xlsum-en", "acme/card", client=client)
    assert_published(stocked, "acme/card", client)


def test_somebody_else_publishes_at_the_same_time(
    stocked: AdapterHub, client: HubClient, remote: FaultyHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocked.publish("xlsum-en", "acme/raced", client=client)
    send = HubClient.commit

    def late(self: HubClient, repo: str, operations: object, *rest: object) -> str:
        monkeypatch.setattr(HubClient, "commit", send)
        (addition,) = self.additions([(touched, b"by somebody else")])
        send(self, repo, [addition], "theirs", self.head(repo))
        return send(self, repo, operations, *rest)  # type: ignore[arg-type]

    touched = "notes.txt"
    monkeypatch.setattr(HubClient, "commit", late)
    published = stocked.publish("xlsum-ar", "acme/raced", tag="ar", client=client)
    assert len(client.commits("acme/raced")) == 4
    assert "notes.txt" in client.tree("acme/raced", published.commit or "")

    touched = "adapter_config.json"
    monkeypatch.setattr(HubClient, "commit", late)
    with pytest.raises(RemoteConflictError, match=r"somebody else changed adapter_config\.json"):
        stocked.publish("lm-yo", "acme/raced", tag="yo", client=client)
    assert "yo" not in client.tags("acme/raced")


def test_answers_in_words(stocked: AdapterHub, client: HubClient, remote: FaultyHub) -> None:
    said = {401: RemoteDeniedError, 403: RemoteDeniedError, 409: RemoteConflictError}
    for status, expected in said.items():
        remote.fail("GET", "/refs", "before", status=status)
        with pytest.raises(expected, match=f"listing the tags of acme/x at .*{status}"):
            stocked.publish("xlsum-en", "acme/x", client=client)
    waits: list[float] = []
    patient = HubClient(remote.url, remote.token, pause=waits.append)
    remote.fail("GET", "/refs", "before", status=429, headers={"Retry-After": "7"})
    stocked.publish("xlsum-en", "acme/x", client=patient)
    assert waits == [8.0]
    remote.fail("GET", "/refs", "before", status=429, headers={"Retry-After": "9999"})
    with pytest.raises(RemoteUnavailableError, match="429"):
        stocked.publish("xlsum-en", "acme/x", client=patient)
    assert waits == [8.0]
    with pytest.raises(RemoteUnavailableError, match="no answer"):
        HubClient("http://127.0.0.1:9", pause=waits.append).head("acme/x")


@pytest.mark.parametrize("kind", [pytest.param("slow", marks=pytest.mark.slow), "cut", "flip"])
def test_a_pull_is_whole_or_nothing(
    stocked: AdapterHub, other: AdapterHub, client: HubClient, remote: FaultyHub, kind: str
) -> None:
    stocked.publish("xlsum-en", "acme/x", client=client)
    for number, (method, path) in enumerate(PULLING):
        if (kind in ("cut", "flip") and method == "HEAD") or (
            kind == "flip" and "resolve" not in path
        ):
            continue
        remote.forget()
        remote.fail(method, path, kind)
        name = f"got-{number}"
        try:
            other.pull("acme/x", name=name, client=client)
        except (RemoteError, IntegrityError):
            assert kind in ("cut", "flip")
            assert name not in other.catalog.names()
            other.pull("acme/x", name=name, client=client)
        assert remote.faults[0].times == 0, (method, path)
        assert other.show(name).digest == stocked.show("xlsum-en").digest
    assert other.fsck().problems == ()

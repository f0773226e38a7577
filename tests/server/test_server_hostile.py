"""Bodies that no client sends: each is answered at once, with a mistake of the client's."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isogloss.hub import AdapterHub
from isogloss.hub.server import Limits, Settings, serving

# fmt: off
FIELDS = (
    "name", "organization", "type", "files", "path", "size", "sample", "oid", "objects",
    "operation", "key", "value", "summary", "content", "encoding", "algo", "parentCommit",
    "fromRepo", "toRepo", "tag", "startingPoint", "paths", "visibility", "transfers",
    "description",
)
# fmt: on
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True)
    | st.text(max_size=12)
    | st.sampled_from(
        ["main", "acme/one", "acme", "one", "a" * 64, "../x", "sha256", "upload", "\ud800", "\0"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(FIELDS) | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
BODY = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(
        st.fixed_dictionaries(
            {
                "key": st.sampled_from(
                    ["header", "file", "lfsFile", "deletedFile", "deletedFolder", "x"]
                ),
                "value": JSON,
            }
        ),
        max_size=4,
    ).map(lambda lines: "\n".join(map(json.dumps, lines)).encode()),
)
ADDRESSES = (
    ("POST", "/api/repos/create"),
    ("DELETE", "/api/repos/delete"),
    ("POST", "/api/repos/move"),
    ("POST", "/api/validate-yaml"),
    ("PUT", "/api/models/acme/one/settings"),
    ("POST", "/api/models/acme/one/preupload/main"),
    ("POST", "/api/models/acme/one/commit/main"),
    ("POST", "/api/models/acme/one/paths-info/main"),
    ("POST", "/api/models/acme/one/branch/b%2Fc"),
    ("POST", "/api/models/acme/one/tag/main"),
    ("POST", "/acme/one.git/info/lfs/objects/batch"),
    ("PUT", "/uploads/abc"),
    ("POST", "/uploads/abc.def/complete"),
)
PART = st.text(max_size=20) | st.sampled_from(["main", "..", "a/b", "\0", "acme", "one", "0" * 40])
KNOWN = {200, 400, 401, 403, 404, 405, 408, 409, 412, 413, 416, 422}
QUIET = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AdapterHub]:
    database = None
    if request.param == "postgresql":
        database = request.getfixturevalue("postgresql").new_database()
    with AdapterHub.init(tmp_path_factory.mktemp("hostile") / "home", database) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(hub: AdapterHub) -> Iterator[str]:
    with serving(hub, Settings(compose={"tiny": "acme/tiny"})) as url:
        yield url


@pytest.fixture
def url(shared: str, ask: Callable[..., Any]) -> str:
    """A server of a hub that has a repository acme/one, whatever was asked before."""
    return with_one(shared, ask)


def with_one(url: str, ask: Callable[..., Any]) -> str:
    assert ask(url, "POST", "/api/repos/create", b'{"name": "acme/one"}').status in (200, 409)
    return url


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_bodies(url: str, ask: Callable[..., Any], method: str, path: str) -> None:
    @QUIET
    @given(BODY)
    def check(body: bytes) -> None:
        assert ask(url, method, path, body).status in KNOWN

    check()


@pytest.mark.parametrize(
    "template",
    [
        "/api/models/{}/{}/revision/{}",
        "/api/models/acme/one/tree/{}/{}/{}",
        "/api/models/compose/tiny/revision/{}{}{}",
        "/acme/one/resolve/{}/{}/{}",
        "/api/models?limit={}&cursor={}&sort={}",
        "/api/models/acme/one/commits/main?limit={}&cursor={}{}",
        "/uploads/{}/{}/{}",
    ],
)
def test_addresses(url: str, ask: Callable[..., Any], template: str) -> None:
    @QUIET
    @given(st.tuples(PART, PART, PART))
    def check(parts: tuple[str, ...]) -> None:
        quoted = (quote(part, safe="", errors="surrogatepass") for part in parts)
        reply = ask(url, "GET", template.format(*quoted))
        assert reply.status in KNOWN

    check()


def test_limits_on_sizes(
    serve: Callable[..., str], ask: Callable[..., Any], hub: AdapterHub
) -> None:
    limits = Limits(
        json_bytes=2000, line_bytes=3000, commit_bytes=9000, file_bytes=500, regular_bytes=600
    )
    url = with_one(serve(accounts=None, limits=limits), ask)
    assert ask(url, "POST", "/api/validate-yaml", b" " * 2001).status == 413
    commit = "/api/models/acme/one/commit/main"
    assert ask(url, "POST", commit, b"x" * 3001).status == 413
    assert ask(url, "POST", commit, b"\n" * 9001).status == 413
    large = {"path": "a", "encoding": "base64", "content": b64encode(b"x" * 601).decode()}
    lines = [{"key": "header", "value": {"summary": "s"}}, {"key": "file", "value": large}]
    body = "\n".join(map(json.dumps, lines)).encode()
    assert ask(url, "POST", commit, body).status == 413
    asked = {"operation": "upload", "objects": [{"oid": "a" * 64, "size": 501}]}
    path = "/acme/one.git/info/lfs/objects/batch"
    found = ask(url, "POST", path, json.dumps(asked).encode()).json()["objects"][0]
    assert found["error"]["code"] == 413
    assert hub.blobs.temporaries() == []


def test_uploads_that_are_not_what_was_announced(
    url: str, ask: Callable[..., Any], hub: AdapterHub
) -> None:
    content = b"what was announced"
    digest = sha256(content).hexdigest()
    asked = {"operation": "upload", "objects": [{"oid": digest, "size": len(content)}]}
    batch = "/acme/one.git/info/lfs/objects/batch"
    found = ask(url, "POST", batch, json.dumps(asked).encode()).json()["objects"][0]
    path = found["actions"]["upload"]["href"].removeprefix(url)
    for body in (b"", content[:-1], content + b"!", b"What was announced"):
        assert ask(url, "PUT", path, body).status in (400, 413)
    assert hub.blobs.temporaries() == []
    assert not hub.blobs.contains(digest)
    ticket, _, signature = path.rpartition(".")
    for forged in (f"{ticket}.{signature[::-1]}", f"{ticket}x.{signature}", f"{ticket}."):
        assert ask(url, "PUT", forged, content).status == 403
    assert ask(url, "PUT", path, content).status == 200
    assert ask(url, "POST", path + "/verify", b"{}").status == 200
    assert hub.blobs.contains(digest)


def test_an_upload_address_is_good_for_a_time(
    serve: Callable[..., str], ask: Callable[..., Any]
) -> None:
    url = with_one(serve(accounts=None, limits=Limits(signature_seconds=-1)), ask)
    asked = {"operation": "upload", "objects": [{"oid": "a" * 64, "size": 1}]}
    batch = "/acme/one.git/info/lfs/objects/batch"
    found = ask(url, "POST", batch, json.dumps(asked).encode()).json()["objects"][0]
    reply = ask(url, "PUT", found["actions"]["upload"]["href"].removeprefix(url), b"1")
    assert (reply.status, "time" in reply.json()["error"]) == (403, True)


def test_a_body_that_stops_is_given_up(serve: Callable[..., str], hub: AdapterHub) -> None:
    url = serve(accounts=None, limits=Limits(idle_seconds=0.2))
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = "POST /api/repos/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_headers_beyond_the_limit_are_refused(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000)
        with suppress(ConnectionResetError):
            assert b" 400 " in connection.recv(1000)


@pytest.mark.parametrize(
    "block",
    ["a: &x [1]\nb: *x", "[" * 2000, "a: " + "x" * 300_000, "- a", "\0", "!!python/object:os.x {}"],
)
def test_cards_that_would_do_harm(url: str, ask: Callable[..., Any], block: str) -> None:
    content = json.dumps({"content": f"---\n{block}\n---\n", "repoType": "model"}).encode()
    reply = ask(url, "POST", "/api/validate-yaml", content)
    assert reply.status == 400
    assert reply.json()["errors"]

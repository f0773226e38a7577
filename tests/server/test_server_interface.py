"""The description of the HTTP surface, and requests made of it: no 500, no hang."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from isogloss.hub import AdapterHub
from isogloss.hub.server import Settings, serving
from isogloss.hub.server.bodies import LFS_JSON, LINES
from isogloss.hub.server.interface import describe_interface
from isogloss.hub.server.routes import ROUTES
from schemathesis import checks

# Words that lead somewhere are tried beside made-up ones.
KNOWN = {
    "owner": ["acme", "ACME", "local", "compose"],
    "name": ["one", "One", "tiny", "lm-pt"],
    "revision": ["main", "v1", "lm[pt]", "2*lm[pt]", "0" * 40],
    "ref": ["main", "v1", "a/b"],
    "path": ["README.md", "a/b.txt", "a", ".gitattributes"],
    "part": ["1", "2", "0"],
    "hash": ["ab" * 32],
}
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def described() -> dict[str, Any]:
    """The description, where half of all names are known to lead somewhere."""
    found = json.loads(json.dumps(describe_interface(ROUTES)))
    for name, values in KNOWN.items():
        parameter = found["components"]["parameters"][name]
        parameter["schema"] = {"anyOf": [{"enum": values}, parameter["schema"]]}
    return found


@schemathesis.serializer(LINES)
def lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    items = value if isinstance(value, list) else [value]
    return "\n".join(map(json.dumps, items)).encode("utf-8", "surrogatepass")


@schemathesis.serializer(LFS_JSON)
def lfs(context: schemathesis.SerializationContext, value: Any) -> bytes:
    return json.dumps(value).encode()


def load(*, systematic: bool) -> Any:
    """The description as tests; `systematic` adds every border of every value to the random."""
    loaded = schemathesis.openapi.from_dict(described())
    loaded.config.phases.coverage.enabled = systematic
    return loaded


SOME, MANY = load(systematic=False), load(systematic=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, write_lora_into: Any) -> Iterator[str]:
    """A server of a hub with an adapter and a repository."""
    folder = tmp_path_factory.mktemp("interface")
    with AdapterHub.init(folder / "home") as hub:
        hub.add(write_lora_into(folder, "pt", 1), kind="lm", language="pt", license="mit")
        with serving(hub, Settings(compose={"tiny": "acme/tiny"})) as url:
            yield url


@pytest.fixture
def permissions(place: str, ask: Any) -> dict[str, str]:
    """What the addresses that need one take: a ticket and a token."""
    ask(place, "POST", "/api/repos/create", b'{"name": "acme/one"}')
    ask(place, "POST", "/api/models/acme/one/tag/main", b'{"tag": "v1"}')
    asked = {"operation": "upload", "objects": [{"oid": "a" * 64, "size": 3}]}
    path = "/acme/one.git/info/lfs/objects/batch"
    (found,) = ask(place, "POST", path, json.dumps(asked).encode()).json()["objects"]
    ticket = found["actions"]["upload"]["href"].rpartition("/")[2]
    token = ask(place, "GET", "/api/models/acme/one/xet-write-token/main").json()["accessToken"]
    return {"ticket": ticket, "token": token}


def check(case: schemathesis.Case, place: str, permissions: dict[str, str]) -> None:
    if "ticket" in (case.path_parameters or {}):
        case.path_parameters["ticket"] = permissions["ticket"]
    case.call_and_validate(
        base_url=place,
        checks=CHECKS,
        headers={"Authorization": f"Bearer {permissions['token']}"},
        timeout=20,
    )


QUIET = settings(
    max_examples=8,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@SOME.exclude(method="HEAD").parametrize()
@QUIET
def test_what_the_description_allows(
    case: schemathesis.Case, place: str, permissions: dict[str, str]
) -> None:
    check(case, place, permissions)


@pytest.mark.slow
@MANY.parametrize()
@settings(QUIET, max_examples=30)
def test_much_of_what_the_description_allows(
    case: schemathesis.Case, place: str, permissions: dict[str, str]
) -> None:
    check(case, place, permissions)


def test_the_description_is_served(place: str, ask: Any) -> None:
    reply = ask(place, "GET", "/openapi.json", token=None)
    assert reply.json() == json.loads(json.dumps(describe_interface(ROUTES)))


def test_every_address_is_described() -> None:
    paths = describe_interface(ROUTES)["paths"]
    described = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    assert described == {
        (route.pattern.replace("*}", "}"), method) for route in ROUTES for method in route.methods
    }
    shapes = [re.sub(r"\{\w+\}", "{}", path) for path in paths]
    assert len(set(shapes)) == len(shapes)
    assert all(operation["summary"] for path in paths.values() for operation in path.values())

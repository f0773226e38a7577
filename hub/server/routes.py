"""Every address that the server answers, and who may ask for it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from starlette.responses import Response

from . import administration, bodies, commits, content, listing, reading, references, uploads, xet
from .bodies import ANY, BINARY, JSON, LFS_JSON, Body, Schema, listed
from .call import Call, answer
from .interface import describe_interface

_PART = re.compile(r"\{(\w+)(\*?)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """An address.

    Attributes:
        methods: of HTTP.
        pattern: of the quoted path; `{name}` is one part of it, `{name*}` all that is left.
        handle: answers it in a thread; or reads the body itself, in the event loop.
        need: what the visitor must be able to do with the repository that the address names:
            `read` or `write`; `nothing` where it names none; `ticket` where the address or the
            token in the header is itself the permission.
        body: what a request must bring.
        query: what it may say in its query.
        answer, answer_media: what a successful one gets; None where only the status counts.
    """

    methods: tuple[str, ...]
    pattern: str
    handle: Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]
    need: str = "nothing"
    body: Body | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)
    answer: Schema | None = field(default_factory=lambda: ANY)
    answer_media: str = JSON
    matcher: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = _PART.sub(lambda m: f"(?P<{m[1]}>{'.+' if m[2] else '[^/]+'})", self.pattern)
        object.__setattr__(self, "matcher", re.compile(pattern))

    @property
    def reads_itself(self) -> bool:
        """Whether the answering function reads the body as it comes."""
        return inspect.iscoroutinefunction(self.handle)

    def match(self, path: str) -> dict[str, str] | None:
        """The variable parts of a quoted path, unquoted, if it is one of this route."""
        found = self.matcher.fullmatch(path)
        if found is None:
            return None
        # What is no UTF-8 becomes a replacement character, which names nothing.
        return {name: unquote(value) for name, value in found.groupdict().items()}


def _interface(call: Call) -> Response:
    """All that the server answers, as an OpenAPI description."""
    return answer(describe_interface(ROUTES))


_GET = ("GET", "HEAD")
_PUT, _POST, _DELETE = ("PUT",), ("POST",), ("DELETE",)
_REPO = "/api/models/{owner}/{name}"

ROUTES = (
    Route(_GET, "/healthz", reading.health),
    Route(_GET, "/openapi.json", _interface),
    Route(_GET, "/api/whoami-v2", reading.whoami),
    Route(_POST, "/api/validate-yaml", reading.validate_yaml, body=bodies.CARD),
    Route(_POST, "/api/repos/create", administration.create, body=bodies.NEW_REPOSITORY),
    Route(_DELETE, "/api/repos/delete", administration.delete, body=bodies.OLD_REPOSITORY),
    Route(_POST, "/api/repos/move", administration.move, body=bodies.MOVE),
    Route(_GET, "/api/models", listing.list_models, query=bodies.LIST, answer=listed(ANY)),
    Route(_GET, _REPO, reading.model_info, "read", query=bodies.INFO),
    Route(_GET, _REPO + "/revision/{revision}", reading.model_info, "read", query=bodies.INFO),
    Route(_GET, _REPO + "/refs", reading.refs, "read", query={"include_prs": bodies.FLAG}),
    Route(
        _GET,
        _REPO + "/commits/{revision}",
        reading.history,
        "read",
        query=bodies.PAGE,
        answer=listed(ANY),
    ),
    Route(
        _GET,
        _REPO + "/tree/{revision}",
        reading.tree,
        "read",
        query=bodies.TREE,
        answer=listed(ANY),
    ),
    Route(
        _GET,
        _REPO + "/tree/{revision}/{path*}",
        reading.tree,
        "read",
        query=bodies.TREE,
        answer=listed(ANY),
    ),
    Route(
        _POST,
        _REPO + "/paths-info/{revision}",
        reading.paths_info,
        "read",
        body=bodies.PATHS,
        answer=listed(ANY),
    ),
    Route(_GET, _REPO + "/auth-check", reading.auth_check, "read"),
    Route(_GET, _REPO + "/auth-check/write", reading.auth_check, "write"),
    Route(_PUT, _REPO + "/settings", administration.settings, "write", bodies.SETTINGS),
    Route(_POST, _REPO + "/branch/{ref}", references.create_branch, "write", bodies.BRANCH),
    Route(_DELETE, _REPO + "/branch/{ref}", references.delete_branch, "write"),
    Route(_POST, _REPO + "/tag/{ref}", references.create_tag, "write", bodies.TAG),
    Route(_DELETE, _REPO + "/tag/{ref}", references.delete_tag, "write"),
    Route(_POST, _REPO + "/super-squash/{ref}", references.squash, "write", bodies.SQUASH),
    Route(_POST, _REPO + "/preupload/{revision}", uploads.preupload, "write", bodies.PREUPLOAD),
    Route(_POST, _REPO + "/commit/{revision}", commits.commit, "write", bodies.COMMIT),
    Route(
        _POST,
        "/{owner}/{name}.git/info/lfs/objects/batch",
        uploads.batch,
        "write",
        bodies.BATCH,
        answer_media=LFS_JSON,
    ),
    Route(
        _GET,
        "/{owner}/{name}/resolve/{revision}/{path*}",
        content.resolve,
        "read",
        answer=bodies.CONTENT.schema,
        answer_media=BINARY,
    ),
    Route(_PUT, "/uploads/{ticket}", uploads.receive_file, "ticket", bodies.CONTENT),
    Route(
        _PUT,
        "/uploads/{ticket}/{part}",
        uploads.receive_part,
        "ticket",
        bodies.CONTENT,
        answer=None,
    ),
    Route(_POST, "/uploads/{ticket}/complete", uploads.complete, "ticket", bodies.PARTS),
    Route(_POST, "/uploads/{ticket}/verify", uploads.verify, "ticket", bodies.SENT),
    Route(("GET",), _REPO + "/xet-write-token/{revision}", xet.write_token, "write"),
    Route(_POST, "/xet/v1/xorbs/default/{hash}", xet.receive_xorb, "ticket", bodies.CONTENT),
    Route(_POST, "/xet/v1/shards", xet.receive_shard, "ticket", bodies.CONTENT),
)

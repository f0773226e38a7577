"""Every address that the server answers, and who may ask for it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from starlette.responses import Response

from . import administration, commits, content, listing, reading, references, uploads, xet
from .call import Call

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
        body: whether a body is read before.
    """

    methods: tuple[str, ...]
    pattern: str
    handle: Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]
    need: str = "nothing"
    body: bool = False
    matcher: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = _PART.sub(lambda m: f"(?P<{m[1]}>{'.+' if m[2] else '[^/]+'})", self.pattern)
        object.__setattr__(self, "matcher", re.compile(pattern))

    def match(self, path: str) -> dict[str, str] | None:
        """The variable parts of a quoted path, unquoted, if it is one of this route."""
        found = self.matcher.fullmatch(path)
        if found is None:
            return None
        # What is no UTF-8 becomes a replacement character, which names nothing.
        return {name: unquote(value) for name, value in found.groupdict().items()}


_GET = ("GET", "HEAD")
_REPO = "/api/models/{owner}/{name}"

ROUTES = (
    Route(_GET, "/healthz", reading.health),
    Route(_GET, "/api/whoami-v2", reading.whoami),
    Route(("POST",), "/api/validate-yaml", reading.validate_yaml, body=True),
    Route(("POST",), "/api/repos/create", administration.create, body=True),
    Route(("DELETE",), "/api/repos/delete", administration.delete, body=True),
    Route(("POST",), "/api/repos/move", administration.move, body=True),
    Route(_GET, "/api/models", listing.list_models),
    Route(_GET, _REPO, reading.model_info, "read"),
    Route(_GET, _REPO + "/revision/{revision}", reading.model_info, "read"),
    Route(_GET, _REPO + "/refs", reading.refs, "read"),
    Route(_GET, _REPO + "/commits/{revision}", reading.history, "read"),
    Route(_GET, _REPO + "/tree/{revision}", reading.tree, "read"),
    Route(_GET, _REPO + "/tree/{revision}/{path*}", reading.tree, "read"),
    Route(("POST",), _REPO + "/paths-info/{revision}", reading.paths_info, "read", body=True),
    Route(_GET, _REPO + "/auth-check", reading.auth_check, "read"),
    Route(_GET, _REPO + "/auth-check/write", reading.auth_check, "write"),
    Route(("PUT",), _REPO + "/settings", administration.settings, "write", body=True),
    Route(("POST",), _REPO + "/branch/{ref}", references.create_branch, "write", body=True),
    Route(("DELETE",), _REPO + "/branch/{ref}", references.delete_branch, "write", body=True),
    Route(("POST",), _REPO + "/tag/{revision}", references.create_tag, "write", body=True),
    Route(("DELETE",), _REPO + "/tag/{ref}", references.delete_tag, "write", body=True),
    Route(("POST",), _REPO + "/super-squash/{ref}", references.squash, "write", body=True),
    Route(("POST",), _REPO + "/preupload/{revision}", uploads.preupload, "write", body=True),
    Route(("POST",), _REPO + "/commit/{revision}", commits.commit, "write"),
    Route(
        ("POST",),
        "/{owner}/{name}.git/info/lfs/objects/batch",
        uploads.batch,
        "write",
        body=True,
    ),
    Route(_GET, "/{owner}/{name}/resolve/{revision}/{path*}", content.resolve, "read"),
    Route(("PUT",), "/uploads/{ticket}", uploads.receive_file, "ticket"),
    Route(("PUT",), "/uploads/{ticket}/{part}", uploads.receive_part, "ticket"),
    Route(("POST",), "/uploads/{ticket}/complete", uploads.complete, "ticket", body=True),
    Route(("POST",), "/uploads/{ticket}/verify", uploads.verify, "ticket", body=True),
    Route(("GET",), _REPO + "/xet-write-token/{revision}", xet.write_token, "write"),
    Route(("POST",), "/xet/v1/xorbs/default/{hash}", xet.receive_xorb, "ticket"),
    Route(("POST",), "/xet/v1/shards", xet.receive_shard, "ticket"),
)

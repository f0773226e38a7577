"""Branches and tags: made and deleted, never moved but by a commit."""

from __future__ import annotations

from starlette.responses import Response

from ...store.repositories.records import MAIN
from .call import Call, answer, text_field
from .errors import Refusal


def create_branch(call: Call) -> Response:
    """Make a branch where another revision is."""
    start = text_field(call.json(), "startingPoint", MAIN)
    return _create(call, "branch", call.values["ref"], start)


def create_tag(call: Call) -> Response:
    """Make a tag at a revision."""
    return _create(call, "tag", text_field(call.json(), "tag"), call.values["ref"])


def delete_branch(call: Call) -> Response:
    """Delete a branch; its commits stay."""
    return _delete(call, "branch")


def delete_tag(call: Call) -> Response:
    """Delete a tag; its commit stays."""
    return _delete(call, "tag")


def squash(call: Call) -> Response:
    """Refuse: commits are what others have pinned."""
    raise Refusal(
        403,
        f"history is never rewritten here: {call.source.owner}/{call.source.name} keeps its "
        "commits, which others may have pinned; make a new repository to begin anew",
    )


def _create(call: Call, kind: str, name: str, revision: str) -> Response:
    repositories = call.site.catalog.repositories
    ref = repositories.add_ref(call.stored.record, kind, name, revision)
    return answer({"name": ref.name, "targetCommit": ref.sha})


def _delete(call: Call, kind: str) -> Response:
    call.site.catalog.repositories.delete_ref(call.stored.record, kind, call.values["ref"])
    return answer({"ok": True})

"""Answers about one repository: what it is, its branches and tags, its commits and files."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from starlette.responses import Response

from ...store import FileRecord
from ...store.repositories.git_objects import tree_oids
from ...store.repositories.records import MAIN
from .call import Call, answer, instant, page, text_field
from .card import card_problem
from .description import describe, entry
from .errors import ENTRY_NOT_FOUND, Refusal
from .sources import Edition

_MOST_PATHS = 10_000


def health(call: Call) -> Response:
    """Whether the database answers."""
    call.site.catalog.tasks()
    return answer({"status": "ok"})


def whoami(call: Call) -> Response:
    """Who asks."""
    user = call.visitor.user
    if user is None:
        raise Refusal(401, "Invalid username or password.")
    token = {"displayName": user, "role": call.visitor.role}
    orgs = [{"name": name} for name in call.visitor.owners if name not in (user, "*")]
    return answer(
        {
            "type": "user",
            "id": user,
            "name": user,
            "fullname": user,
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def validate_yaml(call: Call) -> Response:
    """What is wrong with the metadata of a card."""
    content = text_field(call.json(), "content")
    problem = card_problem(content)
    if problem is None:
        return answer({"errors": [], "warnings": []})
    return answer({"error": problem, "errors": [{"message": problem}], "warnings": []}, status=400)


def model_info(call: Call) -> Response:
    """What a repository is at a revision."""
    edition = call.source.edition(call.values.get("revision", MAIN))
    found = describe(call.site, call.source, edition, blobs=call.flag("blobs"))
    return answer({name: value for name, value in found.items() if call.wants(name)})


def refs(call: Call) -> Response:
    """The branches and tags of a repository."""
    found: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": []}
    if call.flag("include_prs"):
        found["pullRequests"] = []
    for ref in call.source.refs():
        group, folder = ("tags", "tags") if ref.kind == "tag" else ("branches", "heads")
        found[group].append(
            {"name": ref.name, "ref": f"refs/{folder}/{ref.name}", "targetCommit": ref.sha}
        )
    return answer(found)


def history(call: Call) -> Response:
    """The commits of a revision, the newest first."""
    commits = call.source.history(call.values["revision"])
    items, headers = page(call, commits)
    found = [
        {
            "id": commit.sha,
            "title": commit.title,
            "message": commit.message,
            "date": instant(commit.created_at),
            "authors": [{"user": commit.author}],
        }
        for commit in items
    ]
    return answer(found, headers=headers | {"X-Total-Count": str(len(commits))})


def tree(call: Call) -> Response:
    """The files and folders of a revision, below a folder of it."""
    edition = call.source.edition(call.values["revision"])
    below = call.values.get("path", "").strip("/")
    entries = _entries(call, edition)
    if below and entries.get(below, {}).get("type") != "directory":
        raise _no_entry(below, edition)
    prefix = below + "/" if below else ""
    found = [
        item
        for path, item in entries.items()
        if path.startswith(prefix) and (call.flag("recursive") or "/" not in path[len(prefix) :])
    ]
    items, headers = page(call, found)
    return answer(list(items), headers=headers | _at(edition))


def paths_info(call: Call) -> Response:
    """The files and folders among some paths; what is not there is left out."""
    edition = call.source.edition(call.values["revision"])
    if "json" in call.request.headers.get("content-type", ""):
        paths = call.json().get("paths")
    else:
        paths = parse_qs(
            call.body.decode("utf-8", "replace"),
            max_num_fields=_MOST_PATHS,
            keep_blank_values=True,
        ).get("paths", [])
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise Refusal(400, "the field 'paths' is not a list of paths")
    entries = _entries(call, edition)
    found = [entries[path] for path in dict.fromkeys(paths) if path in entries]
    return answer(found, headers=_at(edition))


def auth_check(call: Call) -> Response:
    """That the visitor came this far is the answer."""
    return answer({"ok": True})


def _entries(call: Call, edition: Edition) -> dict[str, dict[str, Any]]:
    """Every file and folder of a commit by its path, sorted."""
    files = edition.snapshot.files
    oids = tree_oids((file.path, file.oid) for file in files)
    found: dict[str, dict[str, Any]] = {
        folder: {"type": "directory", "oid": oid, "size": 0, "path": folder}
        for folder, oid in oids.items()
        if folder
    }
    found |= {file.path: entry(file) for file in files}
    if call.flag("expand") or b"expand=true" in call.body.lower():
        _add_last_commits(call, edition, found, files)
    return dict(sorted(found.items()))


def _add_last_commits(
    call: Call,
    edition: Edition,
    found: dict[str, dict[str, Any]],
    files: tuple[FileRecord, ...],
) -> None:
    commits = {c.sha: c for c in call.source.history(edition.snapshot.commit.sha)}
    for file in files:
        commit = commits.get(file.changed_in, edition.snapshot.commit)
        found[file.path]["lastCommit"] = {
            "id": commit.sha,
            "title": commit.title,
            "date": instant(commit.created_at),
        }


def _no_entry(path: str, edition: Edition) -> Refusal:
    return Refusal(
        404, f"there is no folder {path[:200]!r} here", code=ENTRY_NOT_FOUND, headers=_at(edition)
    )


def _at(edition: Edition) -> dict[str, str]:
    return {"X-Repo-Commit": edition.snapshot.commit.sha}

"""Making, moving and deleting repositories, and saying who sees them."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from ...store import Change, NameUsedError, UnknownRepositoryError
from .access import Visitor
from .call import Call, answer, text_field
from .errors import Refusal
from .files import keep_small
from .intake import withdraw
from .rights import require_write
from .settings import COMPOSE_OWNER
from .site import Site
from .sources import StoredSource

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


def create(call: Call) -> Response:
    """Make a repository, with a first commit as the Hub makes one."""
    data = call.json()
    _only_models(data)
    owner, name = _names(call, data)
    require_write(call.site, call.visitor, owner)
    url = f"{call.url}/{owner}/{name}"
    try:
        _refuse_shown(call.site, owner, name)
        attributes = keep_small(call.site.blobs, ".gitattributes", _ATTRIBUTES)
        record = call.site.catalog.repositories.create(
            owner,
            name,
            author=str(call.visitor.user),
            first=Change("initial commit", put=(attributes,)),
            stored=call.site.blobs.contains,
            private=bool(_private(data)),
        )
    except NameUsedError as error:
        raise Refusal(409, str(error), fields={"url": url}) from error
    return answer({"url": url, "name": record.full_name, "id": str(record.id)})


def delete(call: Call) -> Response:
    """Delete a repository with all its commits."""
    data = call.json()
    _only_models(data)
    source = _writable(call, *_names(call, data))
    call.site.catalog.repositories.delete(source.owner, source.name)
    withdraw(call.site, source, "its repository was deleted")
    return answer({"ok": True})


def move(call: Call) -> Response:
    """Give a repository another name, perhaps of another owner."""
    data = call.json()
    _only_models(data)
    source = _writable(call, *_split(text_field(data, "fromRepo")))
    owner, name = _split(text_field(data, "toRepo"))
    _check_names(owner, name)
    require_write(call.site, call.visitor, owner)
    _refuse_shown(call.site, owner, name)
    call.site.catalog.repositories.move(source.owner, source.name, owner, name)
    if f"{source.owner}/{source.name}" != f"{owner}/{name}":
        withdraw(call.site, source, f"its repository is {owner}/{name} now")
    return answer({"url": f"{call.url}/{owner}/{name}"})


def settings(call: Call) -> Response:
    """Say whether only some may see a repository."""
    data = call.json()
    if data.get("gated"):
        raise Refusal(400, "access on request ('gated') is not offered here: make it private")
    private = _private(data)
    if private is not None:
        source = call.stored
        call.site.catalog.repositories.set_private(source.owner, source.name, private)
        if private:
            withdraw(call.site, source, "its repository was made private")
    return answer({"private": call.source.private if private is None else private, "gated": False})


def _writable(call: Call, owner: str, name: str) -> StoredSource:
    source = call.site.find(owner, name, call.visitor)
    require_write(call.site, call.visitor, source.owner)
    if not isinstance(source, StoredSource):
        raise Refusal(403, f"{owner}/{name} is made of the catalogue and is read-only")
    return source


def _refuse_shown(site: Site, owner: str, name: str) -> None:
    """No repository may hide one that is made of the catalogue."""
    if owner.lower() == COMPOSE_OWNER:
        raise Refusal(403, f"the owner {owner!r} is for repositories of compositions")
    everybody = Visitor(None, None, ("*",))
    try:
        found = site.find(owner, name, everybody)
    except UnknownRepositoryError:
        return
    if not isinstance(found, StoredSource):
        raise NameUsedError(f"the catalogue has an adapter {owner}/{name} already")


def _names(call: Call, data: dict[str, Any]) -> tuple[str, str]:
    name = text_field(data, "name")
    owner = data.get("organization")
    if "/" in name and owner is None:
        owner, name = _split(name)
    elif owner is None:
        require_write(call.site, call.visitor, str(call.visitor.user))
        owner = call.visitor.user
    if not isinstance(owner, str):
        raise Refusal(400, f"the field 'organization' is {owner!r:.80}, not a text")
    _check_names(owner, name)
    return owner, name


def _split(full_name: str) -> tuple[str, str]:
    owner, slash, name = full_name.partition("/")
    if not slash:
        raise Refusal(400, f"{full_name[:100]!r} is not owner/name")
    return owner, name


def _check_names(*names: str) -> None:
    for name in names:
        bad = ".." in name or "--" in name or name.endswith(".git")
        if bad or not _NAME.fullmatch(name):
            raise Refusal(
                400,
                f"{name[:100]!r} cannot name a repository or its owner: use at most 96 letters, "
                "digits, '.', '_' and '-', none of '--' and '..', and no '.git' at the end",
            )


def _only_models(data: dict[str, Any]) -> None:
    kind = data.get("type") or "model"
    if kind != "model":
        raise Refusal(400, f"only models are kept here, no {kind!r:.40}")


def _private(data: dict[str, Any]) -> bool | None:
    visibility = data.get("visibility")
    if visibility is not None:
        if visibility not in ("private", "public"):
            raise Refusal(400, f"the visibility is {visibility!r:.40}: give private or public")
        return bool(visibility == "private")
    private = data.get("private")
    if private is not None and not isinstance(private, bool):
        raise Refusal(400, f"the field 'private' is {private!r:.40}, neither true nor false")
    return private

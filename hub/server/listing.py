"""The list of repositories: searched, filtered, sorted, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from starlette.responses import Response

from ...store import StoreError
from ...store.repositories.records import MAIN
from .call import Call, answer, page
from .description import describe
from .errors import Refusal
from .sources import Source

_MOMENTS: dict[str, Callable[[Source], datetime]] = {
    "lastModified": lambda source: source.updated_at,
    "createdAt": lambda source: source.created_at,
}
_SORTS = (*_MOMENTS, "downloads", "likes", "trendingScore")


def list_models(call: Call) -> Response:
    """The repositories that the visitor may see and that fit the query."""
    named, tags = _sorted(call, _named(call)), _tags(call)
    if tags:
        described = _described(call, named)
        items, headers = page(call, (item for item in described if tags <= set(item["tags"])))
    else:
        # Only those are read that are shown.
        sources, headers = page(call, named)
        items = list(_described(call, sources))
    return answer([_trimmed(call, item) for item in items], headers=headers)


def _named(call: Call) -> list[Source]:
    query = call.request.query_params
    if query.get("gated", "").lower() in ("true", "auto", "manual"):
        return []
    search, author = query.get("search", "").lower(), query.get("author", "").lower()
    return [
        source
        for source in call.site.all(call.visitor)
        if search in _name(source).lower() and author in ("", source.owner.lower())
    ]


def _tags(call: Call) -> set[str]:
    """What a repository must have among its tags."""
    query = call.request.query_params
    tags = {tag for given in query.getlist("filter") for tag in given.split(",") if tag}
    pipeline = query.get("pipeline_tag")
    return tags | {pipeline} if pipeline else tags


def _sorted(call: Call, found: list[Source]) -> list[Source]:
    field = call.request.query_params.get("sort")
    by_name = sorted(found, key=_name)
    if field is not None and field not in _SORTS:
        raise Refusal(
            400, f"there is no sorting by {field[:40]!r}: take one of {', '.join(_SORTS)}"
        )
    moment = _MOMENTS.get(field or "")
    if moment is None:
        return by_name  # Nothing is counted here, so all counts are the same.
    upwards = call.request.query_params.get("direction") == "1"
    return sorted(by_name, key=moment, reverse=not upwards)


def _described(call: Call, sources: Iterable[Source]) -> Iterator[dict[str, Any]]:
    for source in sources:
        try:
            yield describe(call.site, source, source.edition(MAIN))
        except StoreError:
            continue  # Deleted meanwhile, or without its content: not to be offered.


def _name(source: Source) -> str:
    return f"{source.owner}/{source.name}"


def _trimmed(call: Call, item: dict[str, Any]) -> dict[str, Any]:
    dropped: set[str] = set()
    if not call.expanded:
        dropped |= set() if call.flag("full") else {"siblings", "usedStorage"}
        dropped |= set() if call.flag("cardData") else {"cardData"}
    return {name: value for name, value in item.items() if call.wants(name) and name not in dropped}

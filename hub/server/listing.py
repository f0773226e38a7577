"""The list of repositories: searched, filtered, sorted, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from ...store import StoreError
from ...store.repositories.records import MAIN
from .call import Call, answer, page
from .description import describe
from .errors import Refusal

_SORTS = ("lastModified", "createdAt", "downloads", "likes", "trendingScore")


def list_models(call: Call) -> Response:
    """The repositories that the visitor may see and that fit the query."""
    fits = _condition(call)
    found = [item for item in _described(call) if fits(item)]
    items, headers = page(call, _sorted(call, found))
    return answer([_trimmed(call, item) for item in items], headers=headers)


def _described(call: Call) -> list[dict[str, Any]]:
    query = call.request.query_params
    search, author = query.get("search", "").lower(), query.get("author", "").lower()
    found = []
    for source in call.site.all(call.visitor):
        name = f"{source.owner}/{source.name}"
        if search in name.lower() and author in ("", source.owner.lower()):
            try:
                found.append(describe(call.site, source, source.edition(MAIN)))
            except StoreError:
                continue  # Deleted meanwhile, or without its content: not to be offered.
    return found


def _condition(call: Call) -> Callable[[dict[str, Any]], bool]:
    query = call.request.query_params
    tags = {tag for given in query.getlist("filter") for tag in given.split(",") if tag}
    if pipeline := query.get("pipeline_tag"):
        tags.add(pipeline)
    gated = query.get("gated", "").lower() in ("true", "auto", "manual")

    def fits(item: dict[str, Any]) -> bool:
        return tags <= set(item["tags"]) and not gated

    return fits


def _sorted(call: Call, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    field = call.request.query_params.get("sort")
    by_name = sorted(found, key=lambda item: str(item["id"]))
    if field is None:
        return by_name
    if field not in _SORTS:
        raise Refusal(
            400, f"there is no sorting by {field[:40]!r}: take one of {', '.join(_SORTS)}"
        )
    if field == "trendingScore":
        return by_name
    upwards = call.request.query_params.get("direction") == "1"
    return sorted(by_name, key=lambda item: str(item[field]), reverse=not upwards)


def _trimmed(call: Call, item: dict[str, Any]) -> dict[str, Any]:
    query = call.request.query_params
    wanted = [*query.getlist("expand"), *query.getlist("expand[]")]
    if wanted:
        return {name: value for name, value in item.items() if name in {"_id", "id", *wanted}}
    dropped = set()
    if not call.flag("full"):
        dropped |= {"siblings", "usedStorage"}
    if not call.flag("cardData"):
        dropped.add("cardData")
    return {name: value for name, value in item.items() if name not in dropped}

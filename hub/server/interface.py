"""The server's addresses as an OpenAPI description, made of the table that it answers by."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .bodies import BINARY, JSON, LINES, TEXT, fields

if TYPE_CHECKING:
    from .routes import Route

_PARAMETERS = {
    "owner": "A user or an organisation.",
    "name": "A repository's name, after the slash.",
    "revision": "A branch, a tag or the sha of a commit; of compositions, an expression.",
    "ref": "A branch or a tag.",
    "path": "The path of a file or a folder.",
    "ticket": "A signed permission to upload, as an answer gave it.",
    "part": "The number of a part, from 1 on.",
    "hash": "The name of a xorb.",
}
_REFUSALS = (400, 401, 403, 404, 405, 408, 409, 412, 413, 416, 422, 500, 503, 507)
_PARAMETER = re.compile(r"\{(\w+)\*?\}")


def describe_interface(routes: Iterable[Route]) -> dict[str, Any]:
    """An OpenAPI 3.1 document of some routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = route.pattern.replace("*}", "}")
        for method in route.methods:
            paths.setdefault(path, {})[method.lower()] = _operation(route, method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "isogloss serve",
            "version": version("isogloss"),
            "description": "The Hugging Face Hub's protocol over a catalogue of adapters.",
        },
        "paths": paths,
        "components": {
            "parameters": {
                name: {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "description": said,
                    "schema": {"type": "string", "minLength": 1},
                }
                for name, said in _PARAMETERS.items()
            },
            "responses": {
                "Refusal": {
                    "description": "What is wrong, in words.",
                    "content": {JSON: {"schema": fields({"error": TEXT})}},
                }
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, method: str) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"$ref": f"#/components/parameters/{name}"} for name in _PARAMETER.findall(route.pattern)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in route.query.items()
    ]
    refusals: dict[str, Any] = {
        str(status): {"$ref": "#/components/responses/Refusal"} for status in _REFUSALS
    }
    said = (inspect.getdoc(route.handle) or "").partition("\n")[0]
    operation = {
        "summary": said,
        "parameters": parameters,
        "responses": {"200": _answer(route, method), **_partial(route, method), **refusals},
        # With a token or without: what is public, or open to all, needs none.
        "security": [] if route.need == "ticket" else [{"token": []}, {}],
    }
    if route.body is not None:
        lines = "One line of JSON for each item. " if LINES in route.body.media else ""
        operation["requestBody"] = {
            "description": f"{lines}Read as it comes." if route.reads_itself else "",
            "content": {media: {"schema": route.body.schema} for media in route.body.media},
        }
    return operation


def _answer(route: Route, method: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "As asked."}
    if method != "HEAD" and route.answer is not None:
        answer["content"] = {route.answer_media: {"schema": route.answer}}
    return answer


def _partial(route: Route, method: str) -> dict[str, Any]:
    """A part of a file, where the request has a range."""
    if route.answer_media != BINARY:
        return {}
    return {"206": _answer(route, method) | {"description": "The part that was asked for."}}

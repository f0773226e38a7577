"""What requests bring: the queries and bodies of the Hub's protocol, as JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
LFS_JSON = "application/vnd.git-lfs+json"
LINES = "application/x-ndjson"
BINARY = "application/octet-stream"

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ANY: Schema = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body: by which media types it may come, and what it must be."""

    schema: Schema
    media: tuple[str, ...] = (JSON,)


def listed(items: Schema) -> Schema:
    """A list of `items`."""
    return {"type": "array", "items": items}


def fields(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object that must have some fields and may have others, or more."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def _line(key: str, value: Schema) -> Schema:
    return fields({"key": {"const": key}, "value": value})


_KIND: Schema = {"enum": ["model", None]}
_VISIBILITY: Schema = {"enum": ["public", "private"]}
_OBJECT = fields({"oid": DIGEST, "size": COUNT})
_PART = fields({"partNumber": COUNT, "etag": TEXT})
_FILE = fields({"path": TEXT, "content": {**TEXT, "format": "byte"}}, {"encoding": TEXT})
_LARGE = fields({"path": TEXT, "algo": {"const": "sha256"}, "oid": DIGEST}, {"size": COUNT})
_HEADER = fields({"summary": TEXT}, {"description": TEXT, "parentCommit": TEXT})

CARD = Body(fields({"content": TEXT}, {"repoType": TEXT}))
NEW_REPOSITORY = Body(
    fields(
        {"name": TEXT},
        {"organization": TEXT, "type": _KIND, "visibility": _VISIBILITY, "private": FLAG},
    )
)
OLD_REPOSITORY = Body(fields({"name": TEXT}, {"organization": TEXT, "type": _KIND}))
MOVE = Body(fields({"fromRepo": TEXT, "toRepo": TEXT}, {"type": _KIND}))
SETTINGS = Body(fields({}, {"visibility": _VISIBILITY, "private": FLAG, "gated": FLAG}))
PATHS = Body(fields({"paths": listed(TEXT)}, {"expand": FLAG}), (JSON, FORM))
BRANCH = Body(fields({}, {"startingPoint": TEXT}))
TAG = Body(fields({"tag": TEXT}, {"message": TEXT}))
SQUASH = Body(fields({}, {"message": TEXT}))
PREUPLOAD = Body(fields({"files": listed(fields({"path": TEXT, "size": COUNT}, {"sample": TEXT}))}))
COMMIT = Body(
    listed(
        {
            "anyOf": [
                _line("header", _HEADER),
                _line("file", _FILE),
                _line("lfsFile", _LARGE),
                _line("deletedFile", fields({"path": TEXT})),
                _line("deletedFolder", fields({"path": TEXT})),
            ]
        }
    ),
    (LINES,),
)
BATCH = Body(
    fields(
        {"operation": {"const": "upload"}, "objects": listed(_OBJECT)},
        {"transfers": listed(TEXT), "hash_algo": TEXT, "ref": ANY},
    ),
    (LFS_JSON,),
)
PARTS = Body(fields({}, {"oid": DIGEST, "parts": listed(_PART)}), (LFS_JSON, JSON))
SENT = Body(fields({}, {"oid": DIGEST, "size": COUNT}), (LFS_JSON, JSON))
CONTENT = Body({"type": "string", "format": "binary"}, (BINARY,))

PAGE: Mapping[str, Schema] = {"limit": COUNT, "cursor": COUNT}
INFO: Mapping[str, Schema] = {"expand": listed(TEXT), "blobs": FLAG}
TREE: Mapping[str, Schema] = {**PAGE, "recursive": FLAG, "expand": FLAG}
LIST: Mapping[str, Schema] = {
    **PAGE,
    "search": TEXT,
    "author": TEXT,
    "filter": listed(TEXT),
    "pipeline_tag": TEXT,
    "gated": TEXT,
    "sort": TEXT,
    "direction": TEXT,
    "full": FLAG,
    "cardData": FLAG,
    "expand": listed(TEXT),
}

"""When two versions are the same: one digest over content and provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any

from .errors import RecordError
from .records import NewVersion

# The name is what is compared under, a source is where a folder happened to lie, the size follows
# from the digest, and weights that arrive later change nothing of what they are. A lock restates
# the rest, the versions of the tools that composed and what was said of it do not change what was
# composed, and a parent is its content, whatever it was called.
_LEFT_OUT = ("name", "source", "size_bytes", "here")
_COMPOSITION_LEFT_OUT = ("lock", "tool_versions", "warnings")
_PARENT_LEFT_OUT = ("name", "version")


def provenance_digest(version: NewVersion) -> str:
    """Return the sha256 of the canonical JSON of a version's content digests and provenance.

    Not in it: the name, the path it was added from, times, what follows from the rest, and what is
    not known (so that a field which a later release brings changes no digest of today). Two
    versions of one name with equal digests are one version.

    Raises RecordError when a value of the version cannot be written as JSON.
    """
    what = f"{version.name!r}"
    canonical_json(version, what)
    document = _known(version, _LEFT_OUT)
    for name in ("alpha", "learning_rate"):
        if name in document:
            document[name] = float(document[name])
    if version.composition is not None:
        composition = _known(version.composition, _COMPOSITION_LEFT_OUT)
        parents = version.composition.parents
        composition["parents"] = [_known(parent, _PARENT_LEFT_OUT) for parent in parents]
        document["composition"] = composition
    return sha256(canonical_json(document, what).encode("ascii")).hexdigest()


def _known(record: object, left_out: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: value
        for name, value in _plain(record).items()
        if name not in left_out and value not in (None, (), [], {})
    }


def canonical_json(document: Any, what: str) -> str:
    """Write `document` as JSON in one form: keys sorted, no blanks, ASCII; records as objects.

    Raises RecordError, in which the document is called `what`, for a value that JSON cannot hold.
    """
    try:
        plain = json.loads(json.dumps(document, allow_nan=False, default=_plain))
        return json.dumps(plain, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise RecordError(f"{what} cannot be recorded: {error}") from error


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value):
        return {item.name: getattr(value, item.name) for item in fields(value)}
    raise TypeError(f"{value!r} is not a JSON value")

"""A repository as the Hub describes it: fields, files and tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...store import FileRecord
from ...store.repositories.git_objects import pointer
from ..peft_folder import CARD_NAME, CONFIG_NAME
from .call import instant
from .card import card_data
from .site import Site
from .sources import Edition, Source

_MOST_CARD_BYTES = 4 << 20
_LISTED = ("language", "license", "datasets", "base_model")


def describe(
    site: Site, source: Source, edition: Edition, *, blobs: bool = False
) -> dict[str, Any]:
    """All that is told of a repository at a commit; with `blobs`, of its files too."""
    card = card_of(site, edition)
    library = _library(card, edition)
    name = f"{source.owner}/{source.name}"
    return {
        "_id": edition.snapshot.commit.sha[:24],
        "id": name,
        "modelId": name,
        "author": source.owner,
        "sha": edition.snapshot.commit.sha,
        "lastModified": instant(source.updated_at),
        "createdAt": instant(source.created_at),
        "private": source.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags_of(card, library),
        "library_name": library,
        "pipeline_tag": _text(card.get("pipeline_tag")),
        "cardData": card,
        "usedStorage": sum(file.size_bytes for file in edition.snapshot.files),
        "siblings": [sibling(file, blobs=blobs) for file in edition.snapshot.files],
    }


def card_of(site: Site, edition: Edition) -> dict[str, Any]:
    """The metadata of the card at a commit; empty without one."""
    file = edition.file(CARD_NAME)
    if file is None or file.size_bytes > _MOST_CARD_BYTES:
        return {}
    content = edition.content(file, site.blobs)
    data = content.read_bytes() if isinstance(content, Path) else content
    return card_data(data.decode("utf-8", "replace"))


def tags_of(card: Mapping[str, Any], library: str | None) -> list[str]:
    """The tags by which a repository is found: those of the card, and its fields as tags."""
    tags = [library] if library else []
    tags += _texts(card.get("tags"))
    for field in _LISTED:
        singular = "dataset" if field == "datasets" else field
        values = _texts(card.get(field))
        tags += values if field == "language" else [f"{singular}:{value}" for value in values]
    relation = _text(card.get("base_model_relation")) or ("adapter" if library == "peft" else None)
    if relation:
        tags += [f"base_model:{relation}:{base}" for base in _texts(card.get("base_model"))]
    if pipeline := _text(card.get("pipeline_tag")):
        tags.append(pipeline)
    return list(dict.fromkeys(tags))


def sibling(file: FileRecord, *, blobs: bool) -> dict[str, Any]:
    """A file as the list of a repository's files has it."""
    if not blobs:
        return {"rfilename": file.path}
    plain = {"rfilename": file.path, "size": file.size_bytes, "blobId": file.oid}
    return plain | ({"lfs": {"sha256": file.digest, **_lfs(file)}} if file.lfs else {})


def entry(file: FileRecord) -> dict[str, Any]:
    """A file as a tree has it."""
    plain = {"type": "file", "oid": file.oid, "size": file.size_bytes, "path": file.path}
    return plain | ({"lfs": {"oid": file.digest, **_lfs(file)}} if file.lfs else {})


def _lfs(file: FileRecord) -> dict[str, int]:
    return {
        "size": file.size_bytes,
        "pointerSize": len(pointer(file.digest, file.size_bytes)),
    }


def _library(card: Mapping[str, Any], edition: Edition) -> str | None:
    if named := _text(card.get("library_name")):
        return named
    return "peft" if edition.file(CONFIG_NAME) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> list[str]:
    values: Iterable[object] = value if isinstance(value, list) else [value]
    return [text for text in map(_text, values) if text]

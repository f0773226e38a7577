"""The metadata block of a card, read as somebody else's text: bounded in size, depth and growth."""

from __future__ import annotations

from typing import Any

import yaml

from ..errors import SourceError

_MOST_BLOCK_BYTES = 256 << 10
_MOST_DEPTH = 40


def metadata_of(text: str) -> dict[str, Any]:
    """The metadata of a card's text; empty where it has none.

    Raises:
        SourceError: as `read_metadata`.
    """
    block = metadata_block(text)
    return {} if block is None else read_metadata(block)


def metadata_block(text: str) -> str | None:
    """The YAML between the first two lines of three dashes, if the text begins so."""
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    if not text.startswith("---\n"):
        return None
    block, found, _ = text.removeprefix("---").partition("\n---")
    return block if found else None


def read_metadata(block: str) -> dict[str, Any]:
    """Read a metadata block.

    Raises:
        SourceError: it is too large, no YAML, or no mapping; or it uses anchors, by which a few
            lines can stand for more than fits anywhere.
    """
    if len(block) > _MOST_BLOCK_BYTES:
        raise SourceError(f"the metadata block has more than {_MOST_BLOCK_BYTES} characters")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(yaml.parse(block, Loader=loader))
        data = yaml.load(block, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SourceError(f"the metadata block is not YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SourceError("the metadata block is no mapping of fields")
    return {str(key): value for key, value in data.items()}


def _check_events(events: Any) -> None:
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise SourceError("the metadata block uses anchors ('*name'): write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MOST_DEPTH:
            raise SourceError(f"the metadata block is nested more than {_MOST_DEPTH} deep")

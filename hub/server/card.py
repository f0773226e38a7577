"""What the card of a repository says in its metadata block, or what is wrong with that."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..cards.metadata import metadata_of
from ..errors import SourceError


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[dict[str, Any], str | None]:
    try:
        return metadata_of(text), None
    except SourceError as error:
        return {}, str(error)


def card_data(text: str) -> dict[str, Any]:
    """The metadata of a card; empty where it has none that can be read."""
    return _parsed(text)[0]


def card_problem(text: str) -> str | None:
    """What is wrong with the metadata of a card, or nothing."""
    return _parsed(text)[1]

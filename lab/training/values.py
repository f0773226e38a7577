"""Values of a plan's TOML, each refused in words where it is of another kind than it must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SettingsError


def text_at(table: Mapping[str, Any], key: str, place: str) -> str | None:
    """Return the text that a table has under a key; None where it says nothing.

    Raises:
        SettingsError: it is no text; place: where the table stands.
    """
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{key} in {place} must be a text, not {value!r}")
    return value


def texts(value: object, what: str) -> tuple[str, ...]:
    """Return texts, of which one may stand alone.

    Raises:
        SettingsError: something else, or none; what: what it is and where it stands.
    """
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) for one in found):
        raise SettingsError(f"{what} must be a text or a list of texts, not {value!r}")
    if not found:
        raise SettingsError(f"{what} is empty")
    return tuple(found)


def numbers(value: object, what: str) -> tuple[int, ...]:
    """Return whole numbers.

    Raises:
        SettingsError: something else, or none; what: what it is and where it stands.
    """
    if not isinstance(value, list) or not value or not all(type(one) is int for one in value):
        raise SettingsError(f"{what} must be a list of whole numbers, not {value!r}")
    return tuple(value)


def number(value: object, what: str, *, low: int) -> int:
    """Return a whole number.

    Raises:
        SettingsError: something else, or less than the least.
    """
    if type(value) is not int or value < low:
        raise SettingsError(f"{what} must be a whole number, at least {low}, not {value!r}")
    return value

"""Reads training data from JSON lines: texts for language vectors, pairs for task vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from .errors import DataError


@dataclass(frozen=True, slots=True)
class Pair:
    """One labelled example: what goes in and what should come out."""

    source: str
    target: str


def shipped(language: str) -> Traversable:
    """Return the demo's texts of a language (en, es, pt, sw or yo); see texts/README.md."""
    folder = files(__package__).joinpath("texts")
    path = folder.joinpath(f"{language}.jsonl")
    if not path.is_file():
        known = sorted(item.name.removesuffix(".jsonl") for item in folder.iterdir())
        there = ", ".join(name for name in known if "." not in name)
        raise DataError(f"no texts are shipped for {language!r}; there are texts for {there}")
    return path


def read_texts(path: Path | Traversable, *, field: str = "text") -> tuple[str, ...]:
    """Return one field of every line.

    Raises DataError, naming the line, where the file is not JSON lines or the field is not a text.
    """
    return tuple(_text(path, number, row, field) for number, row in _rows(path))


def read_pairs(
    path: Path | Traversable, *, source_field: str = "text", target_field: str = "summary"
) -> tuple[Pair, ...]:
    """Return two fields of every line as labelled pairs.

    Raises DataError, naming the line, where the file is not JSON lines or a field is not a text.
    """
    return tuple(
        Pair(_text(path, number, row, source_field), _text(path, number, row, target_field))
        for number, row in _rows(path)
    )


def _rows(path: Path | Traversable) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    # Not splitlines: JSON text may hold U+2028 and the like as they are.
    lines = [(number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path} holds no texts")
    for number, line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a JSON object was expected, not {line[:40]!r}")
        yield number, row


def _text(path: Path | Traversable, number: int, row: dict[str, object], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        fields = ", ".join(sorted(row))
        what = "is missing" if field not in row else f"is {value!r}, not a text"
        raise DataError(f"{path}, line {number}: field {field!r} {what}; its fields are: {fields}")
    return value

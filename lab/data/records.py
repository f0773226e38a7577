"""Texts and labelled pairs, streamed from a source with known or named fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from ...dsl.languages import normalize
from ..errors import DataError
from .fields import Fields, PairFields, find_pair_fields, find_text_field, is_in_languages
from .rows import Row, read_rows
from .source import Source, parse_source

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Text:
    """An unlabelled text; id is the row's own, or its number."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A labelled example: what goes in, what should come out, and all answers that are right."""

    id: str
    source: str
    target: str
    targets: tuple[str, ...]


def read_texts(
    given: str | Path | Source, fields: Fields | None = None, *, limit: int | None = None
) -> Iterator[Text]:
    """Stream the texts of a source.

    Args:
        given: a file or a data set, as `parse_source` takes it.
        fields: which field holds the text; default `text`.
        limit: at most so many, from the beginning.

    Raises:
        DataError: naming the place, where a row lacks the field or holds no text in it.
    """
    return islice(_texts(parse_source(given), fields or Fields()), limit)


def _texts(source: Source, fields: Fields) -> Iterator[Text]:
    name = None
    for row in read_rows(source):
        name = name or find_text_field(row, fields)
        yield Text(_identifier(row), _text(row, name))


def read_pairs(
    given: str | Path | Source,
    fields: Fields | None = None,
    *,
    language: str | Sequence[str] | None = None,
    limit: int | None = None,
) -> Iterator[Pair]:
    """Stream the labelled pairs of a source.

    Args:
        given: a file or a data set, as `parse_source` takes it.
        fields: which fields hold source and target; default by the rows' own, where they are known.
        language: of a set that mixes languages and names them in each row's id (TyDi QA): which
            one, or which ones.
        limit: at most so many, from the beginning.

    Raises:
        DataError: naming the place, where a row lacks a field, or its source or target is empty.
    """
    wanted = (language,) if isinstance(language, str) else tuple(language or ())
    return islice(_pairs(parse_source(given), fields or Fields(), wanted), limit)


def _pairs(source: Source, fields: Fields, languages: Sequence[str]) -> Iterator[Pair]:
    wanted = {normalize(one) for one in languages}
    found: PairFields | None = None
    taken = 0
    for row in read_rows(source):
        found = found or find_pair_fields(row, fields)
        if wanted and not is_in_languages(row, found, wanted):
            continue
        taken += 1
        targets = _targets(row, found.target)
        read = "\n".join(_text(row, name) for name in found.sources)
        yield Pair(_identifier(row), read, targets[0], targets)
    if not taken:
        named = " or ".join(map(repr, languages))
        raise DataError(f"'{source.text}' holds no rows in the language {named}")


def _identifier(row: Row) -> str:
    value = row.fields.get("id")
    return str(value) if isinstance(value, (str, int)) and value != "" else str(row.number)


def _text(row: Row, name: str) -> str:
    return _filled(row, name, _value(row, name))


def _targets(row: Row, name: str) -> tuple[str, ...]:
    """All right answers: of a text, of a list of them, or of SQuAD's {"text": [...]}."""
    value = _value(row, name)
    if isinstance(value, dict) and "text" in value:
        value = value["text"]
    if isinstance(value, (list, tuple)):
        if not value:
            raise DataError(f"{row.place}: field {name!r} holds no answer: leave such rows out")
        return tuple(dict.fromkeys(_filled(row, name, one) for one in value))
    return (_filled(row, name, value),)


def _value(row: Row, name: str) -> object:
    if name not in row.fields:
        there = ", ".join(sorted(row.fields))
        raise DataError(f"{row.place}: field {name!r} is missing; its fields are: {there}")
    return row.fields[name]


def _filled(row: Row, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise DataError(f"{row.place}: field {name!r} is {value!r:.60}, not a text")
    if not value.strip():
        raise DataError(f"{row.place}: field {name!r} is empty: leave such rows out")
    return value

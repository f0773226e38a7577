"""Which fields of a row hold the text, the source and the target: as named, or as known sets do.

Known by their fields, not by their names, so that a copy of a set in a file needs no flags either.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from ..errors import DataError
from .rows import Row


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields that a person names; None where the row's own are to be recognised."""

    source: str | None = None
    target: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class PairFields:
    """Where pairs are found in a row.

    Attributes:
        sources: the fields that the source is made of, joined by a line break.
        target: the field of the target: a text, a list of right ones, or SQuAD's answers.
        language_in_id: whether a row's id begins with its language, as in TyDi QA.
    """

    sources: tuple[str, ...]
    target: str
    language_in_id: bool = False


KNOWN: Final = (
    # TyDi QA's secondary task (google-research-datasets/tydiqa:secondary_task), and SQuAD.
    PairFields(("context", "question"), "answers", language_in_id=True),
    # XL-Sum (csebuetnlp/xlsum).
    PairFields(("text",), "summary"),
    PairFields(("document",), "summary"),
    PairFields(("source",), "target"),
)
TEXT_FIELD: Final = "text"
# How the ids of TyDi QA's secondary task name languages: "swahili-3215-0".
TYDI_LANGUAGES: Final = {
    "arabic": "ar",
    "bengali": "bn",
    "english": "en",
    "finnish": "fi",
    "indonesian": "id",
    "japanese": "ja",
    "korean": "ko",
    "russian": "ru",
    "swahili": "sw",
    "telugu": "te",
    "thai": "th",
}


def find_pair_fields(row: Row, named: Fields) -> PairFields:
    """Return where a source's pairs are, judged by its first row.

    Raises:
        DataError: a named field is not there, or no known pair of fields is.
    """
    if named.source is not None or named.target is not None:
        known = _known(row)
        source = named.source or (known.sources[0] if known else None)
        target = named.target or (known.target if known else None)
        if source is None or target is None:
            missing = "--source-field" if source is None else "--target-field"
            raise DataError(f"{row.place}: name the other field too, with {missing}; {_there(row)}")
        for name in (source, target):
            if name not in row.fields:
                raise DataError(f"{row.place}: there is no field {name!r}; {_there(row)}")
        if named.source is None and known is not None:
            return PairFields(known.sources, target, known.language_in_id)
        return PairFields((source,), target)
    known = _known(row)
    if known is None:
        raise DataError(
            f"{row.place}: which fields are source and target? Name them with --source-field and "
            f"--target-field; {_there(row)}"
        )
    return known


def find_text_field(row: Row, named: Fields) -> str:
    """Return which field holds the text, judged by a source's first row.

    Raises:
        DataError: the named field is not there, or none is named and there is no `text`.
    """
    name = named.text or TEXT_FIELD
    if name not in row.fields:
        hint = "" if named.text else " Name the one to read with --text-field;"
        raise DataError(f"{row.place}: there is no field {name!r}.{hint} {_there(row)}")
    return name


def is_in_languages(row: Row, fields: PairFields, languages: Container[str]) -> bool:
    """Return whether a row is in one of some languages, as far as its id says; what is silent is.

    languages: in their normal form.
    """
    if not fields.language_in_id:
        return True
    name = str(row.fields.get("id", "")).partition("-")[0]
    return name not in TYDI_LANGUAGES or TYDI_LANGUAGES[name] in languages


def _known(row: Row) -> PairFields | None:
    there = row.fields.keys()
    return next((one for one in KNOWN if {*one.sources, one.target} <= there), None)


def _there(row: Row) -> str:
    return f"its fields are: {', '.join(sorted(row.fields))}"

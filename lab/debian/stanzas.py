"""Reads Debian's Translation files: a package's name, its synopsis and its long description."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError


@dataclass(frozen=True, slots=True)
class Description:
    """One package in one language; the paragraphs of its long description without line breaks."""

    package: str
    synopsis: str
    paragraphs: tuple[str, ...]


def read_descriptions(path: Path) -> Iterator[Description]:
    """Yield the file's descriptions, in its order, those without a long description left out.

    Stanzas of RFC 822 form (Debian Policy 5.6.13): lines of the long description begin with a
    blank, those that begin with two stand alone (lists), and a lone "." parts paragraphs.
    Raises DataError, naming the line, where a stanza has no package or no description.
    """
    stanza: list[str] = []
    first = 1
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            # Blanks alone are a line of the description, in which they stand for ".".
            if line != "\n":
                stanza.append(line.rstrip("\n"))
                continue
            yield from _description(path, first, stanza)
            stanza, first = [], number + 1
    yield from _description(path, first, stanza)


def _description(path: Path, first: int, stanza: list[str]) -> Iterator[Description]:
    if not stanza:
        return
    package = synopsis = ""
    body: list[str] = []
    for line in stanza:
        field, _, value = line.partition(":")
        if line.startswith(" "):
            body.append(line[1:])
        elif field == "Package":
            package = value.strip()
        elif field.startswith("Description-") and field != "Description-md5":
            synopsis = value.strip()
    if not package:
        raise DataError(
            f"{path}, line {first}: a stanza without 'Package:': is this a Translation file of apt?"
        )
    paragraphs = _paragraphs(body)
    if synopsis and paragraphs:
        yield Description(package, synopsis, paragraphs)


def _paragraphs(body: list[str]) -> tuple[str, ...]:
    paragraphs: list[str] = []
    joined: list[str] = []
    for line in [*body, "."]:
        alone = line.startswith(" ")
        if (alone or line.strip() == ".") and joined:
            paragraphs.append(" ".join(joined))
            joined = []
        if alone and line.strip():
            paragraphs.append(" ".join(line.split()))
        elif line.strip() not in ("", "."):
            joined.append(" ".join(line.split()))
    return tuple(paragraphs)

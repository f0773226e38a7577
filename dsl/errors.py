"""Errors of the composition language: each knows its place and can show it.

DslError
├── ParseError          ValueError    the text is not a program (or query)
├── LimitError          ValueError    the text is too long or too deeply nested
├── LanguageError       ValueError    not a language code
├── CheckError          TypeError     a program that cannot mean anything
├── NotFoundError       LookupError   no adapter of the catalogue fits
├── AmbiguousError      LookupError   more than one adapter fits
├── IncompatibleError   ValueError    adapters that cannot be composed with each other
├── UnsupportedError    ValueError    a valid program that cannot be carried out (yet)
└── WeightsError        ValueError    damaged or ill-formed weights
"""

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_WINDOW = 100
_INDENT = "    "
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of character offsets into the source text."""

    start: int
    end: int


class DslError(Exception):
    """Base of every error of this room; also of the mistakes of the people who write programs.

    Args:
        message: what is wrong, with the value, then what would be right; one line.
        span: the place in the source, where there is one.
        source: the whole text that `span` refers to.
        hint: one more line that helps, for example a "did you mean".
    """

    def __init__(
        self,
        message: str,
        *,
        span: Span | None = None,
        source: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.source = source
        self.hint = hint

    @property
    def line(self) -> int | None:
        """The line of the first character of the span, counted from 1."""
        if self.span is None or self.source is None:
            return None
        return self.source.count("\n", 0, self.span.start) + 1

    @property
    def column(self) -> int | None:
        """The column of the first character of the span, in characters, counted from 1."""
        if self.span is None or self.source is None:
            return None
        start = min(self.span.start, len(self.source))
        return start - _line_start(self.source, start) + 1

    def located(self, source: str) -> Self:
        """Set the source text where it is not known yet, and return this same error."""
        if self.source is None:
            self.source = source
        return self

    def __str__(self) -> str:
        lines = [self.message]
        if self.span is not None and self.source is not None:
            lines[0] = f"line {self.line}, column {self.column}: {self.message}"
            lines += _marked(self.source, self.span)
        if self.hint is not None:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class ParseError(DslError, ValueError):
    """The text does not follow the grammar."""


class LimitError(DslError, ValueError):
    """The text is longer, deeper or has more operands than the limits allow."""


class LanguageError(DslError, ValueError):
    """A language code that is no ISO 639 or BCP 47 tag."""


class CheckError(DslError, TypeError):
    """A program whose types, names or parameters do not fit together."""


class NotFoundError(DslError, LookupError):
    """Nothing in the catalogue fits a selector or reference."""


class AmbiguousError(DslError, LookupError):
    """More than one adapter fits where exactly one is meant."""


class IncompatibleError(DslError, ValueError):
    """Adapters that cannot be composed with each other, with the reason."""


class UnsupportedError(DslError, ValueError):
    """A valid program that cannot be carried out, with the reason."""


class WeightsError(DslError, ValueError):
    """Weights that are damaged, ill-formed or not finite."""


def quoted(value: str, limit: int = 60) -> str:
    """Return a value in quotes for a message: printable, on one line, and not too long.

    >>> quoted("maen")
    "'maen'"
    """
    shown = "".join(_printable(character) for character in value[: limit + 1])
    if len(value) > limit:
        shown = shown[: limit - 1] + _ELLIPSIS
    return f"'{shown}'"


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """Return a hint that names the candidates closest to a misspelt word, or None.

    >>> did_you_mean("maen", ["mean", "sum"])
    "did you mean 'mean'?"
    """
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word[:80].casefold(), by_folded, n=2, cutoff=0.6)
    if not close:
        return None
    return f"did you mean {' or '.join(repr(by_folded[match]) for match in close)}?"


def _line_start(source: str, offset: int) -> int:
    return source.rfind("\n", 0, offset) + 1


def _marked(source: str, span: Span) -> list[str]:
    """Return the source line of a span and the line of carets below it."""
    start = min(span.start, len(source))
    begin = _line_start(source, start)
    found = source.find("\n", start)
    line = source[begin : found if found >= 0 else len(source)].rstrip("\r")
    first = min(start - begin, len(line))
    last = max(first + 1, min(span.end - begin, len(line)))
    line, first, last = _windowed(line, first, last)
    shown = "".join(_printable(character) for character in line)
    before = " " * _width(shown[:first])
    carets = "^" * max(1, _width(shown[first:last]))
    return [(_INDENT + shown).rstrip(), _INDENT + before + carets]


def _windowed(line: str, first: int, last: int) -> tuple[str, int, int]:
    """Cut a long line to a window around its mark and move the mark along."""
    if len(line) <= _WINDOW:
        return line, first, last
    marked = min(last - first, _WINDOW - 20)
    begin = max(0, min(first - (_WINDOW - marked) // 2, len(line) - _WINDOW))
    end = min(len(line), begin + _WINDOW)
    left = _ELLIPSIS if begin else ""
    right = _ELLIPSIS if end < len(line) else ""
    moved = first - begin + len(left)
    return left + line[begin:end] + right, moved, moved + marked


def _printable(character: str) -> str:
    if character == "\t":
        return " "
    # Control, format (also right-to-left overrides), surrogate, unassigned and line separators.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp"):
        return "\N{REPLACEMENT CHARACTER}"
    return character


def _width(text: str) -> int:
    """Return how many terminal columns a text takes."""
    columns = 0
    for character in text:
        if unicodedata.combining(character):
            continue
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return columns

"""Printing: JSON, tables and lists of fields, for a terminal or for a pipe.

A terminal gets rich tables that fit its width. A pipe gets plain columns as wide as their content,
the same on every machine, and does not wait for rich to be imported.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from .errors import OutputError, quiet_streams

# Whatever moves a terminal's cursor or changes its state has no place in a cell.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column: its title, whether it holds numbers, and whether its cells may wrap."""

    title: str
    number: bool = False
    wrap: bool = False


def print_json(value: Any) -> None:
    """Print a value as JSON, with characters as they are where the output can hold them."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    _write(text if can_print(text) else json.dumps(value, indent=2))


def print_text(text: str = "") -> None:
    """Print a line or more; what the output cannot encode is printed as an escape."""
    encoding = _encoding()
    _write(text.encode(encoding, "backslashreplace").decode(encoding))


def _write(text: str) -> None:
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        quiet_streams(sys.stdout)
        raise OutputError(f"cannot write the output: {error.strerror or error}") from error


def print_title(text: str) -> None:
    """Print the title of a section, after an empty line."""
    print_text()
    print_text(click.style(text, bold=True))


def print_fields(pairs: Iterable[tuple[str, object]], indent: str = "") -> None:
    """Print names and values below each other; a value of None or an empty one is left out."""
    shown = [(name, cell(value)) for name, value in pairs if value is not None and value != ""]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print_text(f"{indent}{name:<{width}}  {value}")


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with a line of titles."""
    cells = [[cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells)
    else:
        _print_plain(columns, cells)


def cell(value: object) -> str:
    """Return a value on one line: nothing for None, control characters as blanks."""
    return "" if value is None else _CONTROL.sub(" ", str(value))


def size(size_bytes: int) -> str:
    """Return a size for people.

    >>> size(512), size(33_554_432)
    ('512 bytes', '33.6 MB')
    """
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    amount = float(size_bytes)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def can_print(text: str) -> bool:
    """Return whether the output can hold all characters of a text."""
    try:
        text.encode(_encoding())
    except UnicodeEncodeError:
        return False
    return True


def _encoding() -> str:
    return sys.stdout.encoding or "utf-8"


def _print_rich(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.number else "left",
            no_wrap=not column.wrap,
            overflow="fold" if column.wrap else "ellipsis",
        )
    for row in cells:
        table.add_row(*(Text(value) for value in row))
    Console(file=sys.stdout).print(table)


def _print_plain(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    lines = [[column.title for column in columns], *cells]
    widths = [max(_width(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        padded = (
            _pad(value, width, column.number)
            for value, width, column in zip(line, widths, columns, strict=True)
        )
        print_text("  ".join(padded).rstrip())


def _pad(value: str, width: int, number: bool) -> str:
    blanks = " " * (width - _width(value))
    return blanks + value if number else value + blanks


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)

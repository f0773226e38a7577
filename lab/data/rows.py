"""Rows of a source, one after the other, each with the place that an error message names."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import DataError
from .datasets_library import dataset_rows
from .source import Source


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one row, and where it stands: `pairs.jsonl, line 3`."""

    place: str
    number: int
    fields: dict[str, Any]


def read_rows(source: Source) -> Iterator[Row]:
    """Stream the rows of a source.

    Raises:
        DataError: naming the line, where the source is not what its ending says, or holds no rows.
    """
    empty = True
    for row in _rows(source):
        empty = False
        yield row
    if empty:
        raise DataError(f"'{source.text}' holds no rows")


def _rows(source: Source) -> Iterator[Row]:
    if source.path is None:
        if source.dataset is not None:
            for number, fields in enumerate(dataset_rows(source.dataset), 1):
                yield Row(f"{source.text}, row {number}", number, dict(fields))
        return
    try:
        if source.format == "parquet":
            yield from _parquet(source, source.path)
            return
        with _opened(source.path) as file:
            if source.format == "jsonl":
                yield from _json_lines(source, file)
            elif source.format == "text":
                yield from _text_lines(source, file)
            else:
                yield from _csv(source, file, "\t" if source.format == "tsv" else ",")
    except UnicodeDecodeError as error:
        raise DataError(f"'{source.text}' is not UTF-8 text: {error}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"'{source.text}' is not whole gzip data: {error}") from error
    except OSError as error:
        raise DataError(f"'{source.text}' cannot be read: {error.strerror or error}") from error


def _opened(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _json_lines(source: Source, file: IO[str]) -> Iterator[Row]:
    # Read by the file's own lines, not by splitlines: JSON text may hold U+2028 as it is.
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        place = f"{source.text}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{place}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{place}: a JSON object was expected, not {line.strip()[:40]!r}")
        yield Row(place, number, row)


def _text_lines(source: Source, file: IO[str]) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield Row(f"{source.text}, line {number}", number, {"text": line.rstrip("\r\n")})


def _csv(source: Source, file: IO[str], delimiter: str) -> Iterator[Row]:
    # A field may be a whole article; the module's own limit is 128 kB.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            place = f"{source.text}, line {reader.line_num}"
            if None in fields or None in fields.values():
                raise DataError(f"{place}: not as many fields as the first line names")
            yield Row(place, reader.line_num, dict(fields))
    except csv.Error as error:
        raise DataError(f"{source.text}, line {reader.line_num}: not CSV: {error}") from error


def _parquet(source: Source, path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(f"{source.text}, row {number}", number, fields)
    except pyarrow.ArrowException as error:
        raise DataError(f"'{source.text}' is not Parquet: {error}") from error

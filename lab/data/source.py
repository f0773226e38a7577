"""Where data come from: a file, or a data set by name; both are read as a stream of rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ..errors import DataError, NoDataError
from .datasets_library import DatasetName, dataset_fingerprint

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
}
_ROOM = __package__.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows are read from.

    Attributes:
        text: as it was given.
        path: the file, or None for a data set.
        format: of the file: jsonl, parquet, csv, tsv or text.
        dataset: what the library `datasets` is to load, or None for a file.
    """

    text: str
    path: Path | None = None
    format: str | None = None
    dataset: DatasetName | None = None


def parse_source(given: str | Path | Source) -> Source:
    """Return what a text such as `pairs.jsonl.gz` or `csebuetnlp/xlsum:english:test@main` names.

    A file is known by its ending: .jsonl (also .json and .ndjson), .parquet, .csv, .tsv or .txt (a
    text a line), each also with .gz, but for Parquet. Everything else is a data set, or a folder of
    one: NAME[:CONFIGURATION[:SPLIT]][@REVISION], of which the split is `train` if nothing is said.

    Raises:
        NoDataError: there is no such file. DataError: neither.
    """
    if isinstance(given, Source):
        return given
    text = str(given).strip()
    if not text:
        raise DataError("the data's name is empty: give a file, or a data set's NAME:CONFIGURATION")
    path = Path(text).expanduser()
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    zipped = suffixes[-1:] == [".gz"]
    ending = suffixes[-2 if zipped else -1] if len(suffixes) > zipped else ""
    if ending in FORMATS and (path.exists() or ":" not in text):
        if not path.is_file():
            raise NoDataError(f"there is no file '{text}'")
        if zipped and FORMATS[ending] == "parquet":
            raise DataError(f"'{text}' is Parquet inside gzip: unpack it, Parquet is compressed")
        return Source(text, path=path, format=FORMATS[ending])
    if path.is_file():
        raise DataError(f"'{text}' has none of the endings {', '.join(FORMATS)} (and .gz): name it")
    return Source(text, dataset=DatasetName.parse(text))


def fingerprint(given: str | Path | Source) -> str:
    """Return a text that changes when the rows that a source gives change.

    That is `sha256:` and the digest of the bytes for a file and for a local folder; for a data set
    at a host a digest of its files' addresses, which hold their commit.

    Raises:
        DataError: the source cannot be read.
    """
    source = parse_source(given)
    if source.path is None:
        return dataset_fingerprint(_dataset(source))
    try:
        with source.path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise DataError(f"'{source.text}' cannot be read: {error.strerror}") from error


def shipped(language: str) -> Path:
    """Return the demo's texts in a language (en, es, pt, sw or yo): see texts/README.md.

    Raises:
        NoDataError: none are shipped in that language.
    """
    folder = Path(str(files(_ROOM).joinpath("texts")))
    path = folder / f"{language}.jsonl"
    if not path.is_file():
        there = ", ".join(sorted(item.stem for item in folder.glob("*.jsonl")))
        raise NoDataError(f"no texts are shipped for {language!r}; there are texts for {there}")
    return path


def _dataset(source: Source) -> DatasetName:
    if source.dataset is None:
        raise DataError(f"'{source.text}' is neither a file nor a data set")
    return source.dataset

"""The only home of the library `datasets`: data sets by name, or local folders of one, streamed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingExtraError, NoDataError, RemoteDataError

_NAME = re.compile(
    r"(?P<name>[^:@]+)(:(?P<configuration>[^:@]*))?(:(?P<split>[^:@]+))?(@(?P<revision>\S+))?"
)
_COMMIT = re.compile(r"hf://datasets/[^@]+@([^/]+)/")
PARQUET_REVISION = "refs/convert/parquet"


@dataclass(frozen=True, slots=True)
class DatasetName:
    """What to load: a name or folder, its configuration, split and revision."""

    name: str
    configuration: str | None = None
    split: str = "train"
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> DatasetName:
        """Read NAME[:CONFIGURATION[:SPLIT]][@REVISION].

        Raises:
            DataError: not of that form.
        """
        match = _NAME.fullmatch(text)
        if match is None or "[" in text:
            raise DataError(
                f"'{text}' names no data: give a file, or NAME[:CONFIGURATION[:SPLIT]][@REVISION] "
                "of a data set (a part of a split has no name: use a limit instead)"
            )
        said = match.groupdict()
        name = said["name"].strip()
        # What only looks like a Hub id would be searched for on the Hub, with a worse message.
        if (name.startswith((".", "/", "~")) or "\\" in name) and not Path(
            name
        ).expanduser().exists():
            raise NoDataError(f"there is no folder '{name}'")
        return cls(name, said["configuration"] or None, said["split"] or "train", said["revision"])


def dataset_rows(dataset: DatasetName) -> Iterator[dict[str, Any]]:
    """Stream the rows of a data set.

    Raises:
        NoDataError: no such data set, configuration or split. RemoteDataError: its host fails.
        DataError: it cannot be streamed.
    """
    library = _library()
    try:
        yield from library.load_dataset(
            _place(dataset),
            dataset.configuration,
            split=dataset.split,
            revision=dataset.revision,
            streaming=True,
        )
    except Exception as error:
        raise _in_words(dataset, error) from error


def dataset_fingerprint(dataset: DatasetName) -> str:
    """Return `sha256:` and a digest of the files that a split is made of, by content or by commit.

    Raises:
        As `dataset_rows`.
    """
    digest = hashlib.sha256(f"{dataset.configuration} {dataset.split}".encode())
    for address in sorted(_files(dataset)):
        if Path(address).is_file():
            with Path(address).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        else:
            digest.update(address.encode())
    return f"sha256:{digest.hexdigest()}"


def dataset_commit(dataset: DatasetName) -> str | None:
    """Return the commit that a data set is read at, or None for a local folder.

    Raises:
        As `dataset_rows`.
    """
    commits = {match[1] for address in _files(dataset) if (match := _COMMIT.match(address))}
    return commits.pop() if len(commits) == 1 else dataset.revision


def _files(dataset: DatasetName) -> list[str]:
    """The addresses of a split's files; those at a hub hold the commit."""
    library = _library()
    try:
        builder = library.load_dataset_builder(
            _place(dataset), dataset.configuration, revision=dataset.revision
        )
        by_split = builder.config.data_files or {}
        if dataset.split not in by_split:
            raise NoDataError(
                f"data set '{dataset.name}' has no split {dataset.split!r}; "
                f"it has {', '.join(map(str, by_split)) or 'none'}"
            )
        return [str(address) for address in by_split[dataset.split]]
    except Exception as error:
        raise _in_words(dataset, error) from error


def _place(dataset: DatasetName) -> str:
    local = Path(dataset.name).expanduser()
    return str(local.resolve()) if local.exists() else dataset.name


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"data sets by name need {error.name}, which is not installed: "
            "pip install 'isogloss[lab]'"
        ) from error
    return datasets


def _in_words(dataset: DatasetName, error: Exception) -> DataError:
    from datasets.exceptions import DatasetNotFoundError

    if isinstance(error, DataError):
        return error
    reason = " ".join(str(error).split())
    what = f"data set '{dataset.name}'"
    if "scripts are no longer supported" in reason:
        return DataError(
            f"{what} is loaded by a script, which `datasets` no longer runs; the Hub keeps a copy "
            f"in Parquet of most: write '{dataset.name}:{dataset.configuration or 'CONFIGURATION'}"
            f":{dataset.split}@{PARQUET_REVISION}'"
        )
    if isinstance(error, (ConnectionError, TimeoutError)) or "offline" in reason.lower():
        return RemoteDataError(f"{what} cannot be reached: {reason}")
    if isinstance(error, (DatasetNotFoundError, FileNotFoundError, ValueError)):
        return NoDataError(f"{what} cannot be loaded: {reason}")
    return DataError(f"{what} cannot be read: {type(error).__name__}: {reason}")

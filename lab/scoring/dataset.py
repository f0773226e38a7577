"""What a score is of: data by name, split and fingerprint, as the catalogue records it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..data.datasets_library import dataset_commit
from ..data.source import Source, fingerprint, parse_source

UNSTATED: Final = "unstated"
_SPLITS: Final = {
    "test": "test",
    "train": "train",
    "training": "train",
    "dev": "validation",
    "eval": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data that adapters are scored on.

    Attributes:
        name: of the data set with its configuration, or of the file without its folder.
        split: `test`, `validation`, ...; `unstated` where nothing says it.
        revision: the commit of a data set at a hub; of a file its fingerprint.
        fingerprint: changes when the rows change.
        limit: only so many rows were used, from the beginning; None for all.
    """

    name: str
    split: str
    revision: str | None
    fingerprint: str
    limit: int | None = None


def describe_dataset(
    given: str | Path | Source, *, split: str | None = None, limit: int | None = None
) -> Dataset:
    """Say what a source is.

    Args:
        given: a file or a data set, as `parse_source` takes it.
        split: what the data are; default the data set's split, or what the file's name says.
        limit: how many rows will be used.

    Raises:
        DataError: it cannot be read.
    """
    source = parse_source(given)
    mark = fingerprint(source)
    if source.dataset is None:
        name = source.path.name if source.path else source.text
        return Dataset(name, normal_split(split) or _split_of(name), mark, mark, limit)
    parts = (source.dataset.name, source.dataset.configuration)
    return Dataset(
        name=":".join(part for part in parts if part),
        split=normal_split(split) or normal_split(source.dataset.split) or UNSTATED,
        revision=dataset_commit(source.dataset) or mark,
        fingerprint=mark,
        limit=limit,
    )


def normal_split(split: str | None) -> str | None:
    """One word for the splits that have several: dev and valid are `validation`."""
    return None if split is None else _SPLITS.get(split.lower(), split)


def _split_of(name: str) -> str:
    """What a file's name says: `uk.dev.jsonl` and `xlsum-test.parquet` say it."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((_SPLITS[word] for word in reversed(words) if word in _SPLITS), UNSTATED)

"""Errors of the store, under one base.

::

    StoreError
    ├── NoCatalogError        there is no catalogue at the address
    ├── DatabaseUrlError      an address that cannot be one (also a ValueError)
    ├── SchemaError           the catalogue was made by an older or a newer isogloss
    ├── UnknownVersionError   no such name, version or digest (also a LookupError)
    ├── UnknownRepositoryError, UnknownRevisionError  no such repository, branch, tag or commit
    │                         (also LookupErrors)
    ├── NameUsedError         a repository, branch or tag that is there already (also a ValueError)
    ├── MovedHeadError        a branch that another commit has moved (also a ValueError)
    ├── QueryError            a condition that cannot be asked (also a ValueError)
    ├── RecordError           a value that cannot be recorded (also a ValueError)
    ├── BlobError             weights that are missing or damaged (also an OSError)
    ├── DamagedCatalogError   a database file that is not one, or no longer
    └── StorageError          disk full, read-only, busy, unreachable (also an OSError)
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class StoreError(Exception):
    """Base of everything that the store raises for a reason outside its own code."""


class NoCatalogError(StoreError):
    """There is no catalogue where one was expected."""


class DatabaseUrlError(StoreError, ValueError):
    """The address of a database cannot be understood, or names a database that is not supported."""


class SchemaError(StoreError):
    """The catalogue's tables belong to another release than this code."""


class UnknownVersionError(StoreError, LookupError):
    """The catalogue has no adapter, version, digest or recipe of that name."""


class UnknownRepositoryError(StoreError, LookupError):
    """There is no repository of that name."""


class UnknownRevisionError(StoreError, LookupError):
    """A repository has no branch, tag or commit of that name."""


class NameUsedError(StoreError, ValueError):
    """A repository, a branch or a tag of that name is there already."""


class MovedHeadError(StoreError, ValueError):
    """A branch is no longer where a commit was to be put on it."""


class QueryError(StoreError, ValueError):
    """A condition names an unknown field, or compares a field with what it cannot be."""


class RecordError(StoreError, ValueError):
    """A value cannot be recorded: ill-formed, or not storable on every supported database."""


class BlobError(StoreError, OSError):
    """Stored weights are missing, or no longer what their digest says."""


class DamagedCatalogError(StoreError):
    """The database file is not a database, or a damaged one."""


class StorageError(StoreError, OSError):
    """The disk or the database server does not do what it must: full, read-only, busy, gone."""


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x' or 'y'?"`` for near misses among `known`, or nothing."""
    close = get_close_matches(value, list(known), n=3, cutoff=0.6)
    if not close:
        return ""
    return "; did you mean " + " or ".join(repr(name) for name in close) + "?"

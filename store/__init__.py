"""The store: a catalogue of adapters, and their weights by content."""

from .blobs import Blob, BlobStore, BlobWriter
from .catalog import Catalog
from .conditions import COLUMNS, EVERYTHING, Condition
from .errors import (
    BlobError,
    DamagedCatalogError,
    DatabaseUrlError,
    NoCatalogError,
    QueryError,
    RecordError,
    SchemaError,
    StorageError,
    StoreError,
    UnknownVersionError,
)
from .records import (
    Added,
    CompositionRecord,
    NewVersion,
    ParentRecord,
    VersionRecord,
)
from .revisions import SCHEMA_REVISION

__all__ = [
    "COLUMNS",
    "EVERYTHING",
    "SCHEMA_REVISION",
    "Added",
    "Blob",
    "BlobError",
    "BlobStore",
    "BlobWriter",
    "Catalog",
    "CompositionRecord",
    "Condition",
    "DamagedCatalogError",
    "DatabaseUrlError",
    "NewVersion",
    "NoCatalogError",
    "ParentRecord",
    "QueryError",
    "RecordError",
    "SchemaError",
    "StorageError",
    "StoreError",
    "UnknownVersionError",
    "VersionRecord",
]

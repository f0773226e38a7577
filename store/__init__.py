"""The store: a catalogue of adapters, and their weights by content."""

from .blobs import Blob, BlobStore, BlobWriter
from .catalog import Catalog
from .collection import GRACE, Collected, collect
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
from .examination import Examination, examine
from .lineage import ContentKey, Lineage, LineageEdge, LineageNode
from .recipes import RecipeParameter, RecipeRecord, Recipes, SavedRecipe
from .records import (
    Added,
    CompositionRecord,
    NewVersion,
    ParentRecord,
    VersionRecord,
    Withdrawn,
)
from .revisions import SCHEMA_REVISION

__all__ = [
    "COLUMNS",
    "EVERYTHING",
    "GRACE",
    "SCHEMA_REVISION",
    "Added",
    "Blob",
    "BlobError",
    "BlobStore",
    "BlobWriter",
    "Catalog",
    "Collected",
    "CompositionRecord",
    "Condition",
    "ContentKey",
    "DamagedCatalogError",
    "DatabaseUrlError",
    "Examination",
    "Lineage",
    "LineageEdge",
    "LineageNode",
    "NewVersion",
    "NoCatalogError",
    "ParentRecord",
    "QueryError",
    "RecipeParameter",
    "RecipeRecord",
    "Recipes",
    "RecordError",
    "SavedRecipe",
    "SchemaError",
    "StorageError",
    "StoreError",
    "UnknownVersionError",
    "VersionRecord",
    "Withdrawn",
    "collect",
    "examine",
]

"""The store: a catalogue of adapters, and their weights by content."""

from .blobs import Blob, BlobStore, BlobWriter
from .catalog import Catalog
from .collection import GRACE, Collected, collect
from .errors import (
    BlobError,
    DamagedCatalogError,
    DatabaseUrlError,
    MovedHeadError,
    NameUsedError,
    NoCatalogError,
    QueryError,
    RecordError,
    SchemaError,
    StorageError,
    StoreError,
    UnknownRepositoryError,
    UnknownRevisionError,
    UnknownVersionError,
)
from .evaluations import Evaluations, Score
from .examination import Examination, examine
from .lineage import ContentKey, Lineage, LineageEdge, LineageNode
from .listings import Listed, Listing, Listings
from .provenance import provenance_digest
from .publications import PublicationRecord, Publications
from .recipes import RecipeParameter, RecipeRecord, Recipes, SavedRecipe
from .records import (
    Added,
    CompositionRecord,
    NewVersion,
    ParentRecord,
    VersionRecord,
    Withdrawn,
    awaited_digest,
)
from .repositories.records import (
    Change,
    CommitRecord,
    FileRecord,
    RefRecord,
    RepositoryRecord,
    Snapshot,
)
from .repositories.repository import Repositories
from .sql.conditions import COLUMNS, EVERYTHING, Condition
from .sql.revisions import SCHEMA_REVISION

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
    "Change",
    "Collected",
    "CommitRecord",
    "CompositionRecord",
    "Condition",
    "ContentKey",
    "DamagedCatalogError",
    "DatabaseUrlError",
    "Evaluations",
    "Examination",
    "FileRecord",
    "Lineage",
    "LineageEdge",
    "LineageNode",
    "Listed",
    "Listing",
    "Listings",
    "MovedHeadError",
    "NameUsedError",
    "NewVersion",
    "NoCatalogError",
    "ParentRecord",
    "PublicationRecord",
    "Publications",
    "QueryError",
    "RecipeParameter",
    "RecipeRecord",
    "Recipes",
    "RecordError",
    "RefRecord",
    "Repositories",
    "RepositoryRecord",
    "SavedRecipe",
    "SchemaError",
    "Score",
    "Snapshot",
    "StorageError",
    "StoreError",
    "UnknownRepositoryError",
    "UnknownRevisionError",
    "UnknownVersionError",
    "VersionRecord",
    "Withdrawn",
    "awaited_digest",
    "collect",
    "examine",
    "provenance_digest",
]

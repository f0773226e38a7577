"""The catalogue's tables.

Digests tie a composition to its parents, not row numbers: a parent may live in another catalogue.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from .columns import JsonList, JsonObject, JsonTexts, UtcDateTime


class Base(DeclarativeBase):
    """Base of every table; its names for constraints are those of the revisions."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - the attribute is SQLAlchemy's
        str: Text(),
        float: Double(),
        datetime: UtcDateTime(),
    }


class Adapter(Base):
    """A name, under which versions are counted."""

    __tablename__ = "adapters"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]


class Version(Base):
    """A version of an adapter; a row is never changed once it and its weights are here."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("adapter_id", "number"),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("kind IN ('task', 'lm', 'composed')", name="kind"),
        Index(None, "digest", "config_digest"),
        Index(None, "language", "task"),
        Index(None, "base_model"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"))
    number: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    language: Mapped[str]
    languages: Mapped[tuple[str, ...]] = mapped_column(JsonTexts())
    languages_given: Mapped[tuple[str, ...]] = mapped_column(JsonTexts())
    task: Mapped[str | None]
    dataset: Mapped[str | None]
    dataset_revision: Mapped[str | None]
    objective: Mapped[str | None]
    base_model: Mapped[str | None]
    base_revision: Mapped[str | None]
    tokenizer_digest: Mapped[str | None]
    peft_type: Mapped[str]
    rank: Mapped[int | None] = mapped_column(BigInteger)
    alpha: Mapped[float | None]
    target_modules: Mapped[tuple[str, ...]] = mapped_column(JsonTexts())
    config: Mapped[dict[str, Any]] = mapped_column(JsonObject())
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    dtype: Mapped[str | None]
    steps: Mapped[int | None] = mapped_column(BigInteger)
    batch_size: Mapped[int | None] = mapped_column(BigInteger)
    learning_rate: Mapped[float | None]
    seed: Mapped[int | None] = mapped_column(BigInteger)
    library_versions: Mapped[dict[str, Any]] = mapped_column(JsonObject())
    training: Mapped[dict[str, Any]] = mapped_column(JsonObject(), server_default="{}")
    license: Mapped[str | None]
    note: Mapped[str | None]
    source: Mapped[str | None]
    source_revision: Mapped[str | None]
    digest: Mapped[str] = mapped_column(String(64))
    config_digest: Mapped[str] = mapped_column(String(64))
    original_digest: Mapped[str | None] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    here: Mapped[bool] = mapped_column(server_default=true())
    provenance_digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]

    adapter: Mapped[Adapter] = relationship()
    composition: Mapped[Composition | None] = relationship()
    withdrawal: Mapped[Withdrawal | None] = relationship()


class Composition(Base):
    """How a composed version was made."""

    __tablename__ = "compositions"
    __table_args__ = (Index(None, "plan_digest", "dtype"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    expression: Mapped[str]
    canonical: Mapped[str]
    semantics: Mapped[str]
    plan_digest: Mapped[str]
    dtype: Mapped[str] = mapped_column(String(32))
    lock: Mapped[dict[str, Any]] = mapped_column(JsonObject())
    tool_versions: Mapped[dict[str, Any]] = mapped_column(JsonObject())
    warnings: Mapped[tuple[str, ...]] = mapped_column(JsonTexts(), server_default="[]")

    parents: Mapped[list[Parent]] = relationship(order_by="Parent.position")


class Parent(Base):
    """One term of a composition, by digest; the name is what it was called at the time."""

    __tablename__ = "parents"
    __table_args__ = (Index(None, "digest", "config_digest"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("compositions.version_id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    coefficient: Mapped[str]
    digest: Mapped[str] = mapped_column(String(64))
    config_digest: Mapped[str] = mapped_column(String(64))
    filters: Mapped[list[Any]] = mapped_column(JsonList())
    name: Mapped[str | None]
    number: Mapped[int | None]


class Evaluation(Base):
    """One score of a version: data, split, metric with its settings, value, interval, n."""

    __tablename__ = "evaluations"
    __table_args__ = (Index(None, "version_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    dataset: Mapped[str]
    dataset_revision: Mapped[str | None]
    language: Mapped[str]
    split: Mapped[str]
    metric: Mapped[str]
    settings: Mapped[dict[str, Any]] = mapped_column(JsonObject())
    value: Mapped[float]
    low: Mapped[float | None]
    high: Mapped[float | None]
    examples: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class Publication(Base):
    """One place where a version was published: endpoint, repository, tag, commit."""

    __tablename__ = "publications"
    __table_args__ = (
        Index(None, "version_id"),
        UniqueConstraint("endpoint", "repo", "commit_sha", "version_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    endpoint: Mapped[str]
    repo: Mapped[str]
    tag: Mapped[str | None]
    commit_sha: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


class Withdrawal(Base):
    """The mark that a version should no longer be chosen, and why."""

    __tablename__ = "withdrawals"

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    reason: Mapped[str]
    created_at: Mapped[datetime]


class Listing(Base):
    """What a hub listed, as it was when its metadata was read: catalogued, or why it was not."""

    __tablename__ = "listings"
    __table_args__ = (UniqueConstraint("endpoint", "repo"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    endpoint: Mapped[str]
    repo: Mapped[str] = mapped_column(String(200))
    commit_sha: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str | None]
    read_at: Mapped[datetime]


class Recipe(Base):
    """A version of a recipe: a named expression with parameters."""

    __tablename__ = "recipes"
    __table_args__ = (
        UniqueConstraint("name", "number"),
        CheckConstraint("number >= 1", name="number"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    number: Mapped[int]
    expression: Mapped[str]
    parameters: Mapped[list[Any]] = mapped_column(JsonList())
    created_at: Mapped[datetime]
    removed: Mapped[bool]

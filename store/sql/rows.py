"""Between records and rows, both ways, and the query that reads whole versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import aliased, contains_eager, selectinload

from ..records import CompositionRecord, NewVersion, ParentRecord, VersionRecord
from .models import Adapter, Composition, Parent, Version, Withdrawal

_SAME_NAME = (
    "kind",
    "languages",
    "languages_given",
    "task",
    "dataset",
    "dataset_revision",
    "objective",
    "base_model",
    "base_revision",
    "tokenizer_digest",
    "peft_type",
    "rank",
    "alpha",
    "target_modules",
    "parameters",
    "dtype",
    "steps",
    "batch_size",
    "learning_rate",
    "seed",
    "license",
    "note",
    "source",
    "source_revision",
    "digest",
    "config_digest",
    "original_digest",
    "size_bytes",
    "here",
)


def select_versions() -> Select[Any]:
    """Return the query for versions joined with adapter and withdrawal, compositions loaded too."""
    return (
        select(Version)
        .join(Version.adapter)
        .outerjoin(Version.withdrawal)
        .options(
            contains_eager(Version.adapter),
            contains_eager(Version.withdrawal),
            selectinload(Version.composition).selectinload(Composition.parents),
        )
    )


def is_latest() -> ColumnElement[bool]:
    """Return the condition that a version is the latest of its name.

    That is the highest number that is not withdrawn; where all are, the highest.
    """
    other, withdrawal = aliased(Version), aliased(Withdrawal)
    latest = (
        select(other.id)
        .outerjoin(withdrawal, withdrawal.version_id == other.id)
        .where(other.adapter_id == Version.adapter_id)
        .order_by(withdrawal.version_id.is_not(None), other.number.desc())
        .limit(1)
        .correlate(Version)
        .scalar_subquery()
    )
    return Version.id == latest


def version_row(
    new: NewVersion, adapter: Adapter, number: int, now: datetime, provenance: str
) -> Version:
    """Return the rows that record `new`, of that provenance digest, as a version of `adapter`."""
    return Version(
        **_values(new, provenance),
        adapter=adapter,
        number=number,
        created_at=now,
        composition=_composition_row(new.composition) if new.composition else None,
        withdrawal=None,
    )


def fulfil(row: Version, new: NewVersion, provenance: str) -> None:
    """Let a version that waited for its weights be what came: `new`, of that provenance digest.

    How a composed one was made stays: the lock that says it was there before the weights.
    """
    for name, value in _values(new, provenance).items():
        setattr(row, name, value)


def _values(new: NewVersion, provenance: str) -> dict[str, Any]:
    return {name: getattr(new, name) for name in _SAME_NAME} | {
        "language": ",".join(new.languages),
        "config": dict(new.config),
        "library_versions": dict(new.library_versions),
        "training": dict(new.training),
        "provenance_digest": provenance,
    }


def version_record(row: Version) -> VersionRecord:
    """Return a version's rows as a record."""
    values: dict[str, Any] = {name: getattr(row, name) for name in _SAME_NAME}
    return VersionRecord(
        **values,
        name=row.adapter.name,
        version=row.number,
        config=row.config,
        library_versions=row.library_versions,
        training=row.training,
        created_at=row.created_at,
        withdrawn=row.withdrawal.reason if row.withdrawal else None,
        composition=_composition_record(row.composition) if row.composition else None,
    )


def _composition_row(record: CompositionRecord) -> Composition:
    return Composition(
        expression=record.expression,
        canonical=record.canonical,
        semantics=record.semantics,
        plan_digest=record.plan_digest,
        dtype=record.dtype,
        lock=dict(record.lock),
        tool_versions=dict(record.tool_versions),
        parents=[
            Parent(
                position=position,
                coefficient=parent.coefficient,
                digest=parent.digest,
                config_digest=parent.config_digest,
                filters=parent.filters,
                name=parent.name,
                number=parent.version,
            )
            for position, parent in enumerate(record.parents)
        ],
    )


def _composition_record(row: Composition) -> CompositionRecord:
    return CompositionRecord(
        expression=row.expression,
        canonical=row.canonical,
        semantics=row.semantics,
        plan_digest=row.plan_digest,
        dtype=row.dtype,
        lock=row.lock,
        tool_versions=row.tool_versions,
        parents=tuple(
            ParentRecord(
                coefficient=parent.coefficient,
                digest=parent.digest,
                config_digest=parent.config_digest,
                filters=parent.filters,
                name=parent.name,
                version=parent.number,
            )
            for parent in row.parents
        ),
    )

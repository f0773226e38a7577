"""Between records and rows, both ways, and the query that reads whole versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session, aliased, contains_eager, selectinload

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


_OBJECTS = ("config", "library_versions", "training")
_BATCH = 500


def select_records() -> Select[Any]:
    """Return the query for what `records_of` reads: columns, which come five times as fast."""
    return (
        select(
            *(getattr(Version, name) for name in (*_SAME_NAME, *_OBJECTS)),
            Version.number,
            Version.created_at,
            Version.id,
            Adapter.name,
            Withdrawal.reason,
        )
        .select_from(Version)
        .join(Version.adapter)
        .outerjoin(Version.withdrawal)
    )


def records_of(session: Session, query: Select[Any]) -> list[VersionRecord]:
    """Return the records that a query made of `select_records` finds, in its order."""
    rows = session.execute(query).all()
    names = (*_SAME_NAME, *_OBJECTS, "version", "created_at")
    made = _SAME_NAME.index("kind")
    compositions = _compositions(session, [row[-3] for row in rows if row[made] == "composed"])
    return [
        VersionRecord(
            **dict(zip(names, row, strict=False)),
            name=row[-2],
            withdrawn=row[-1],
            composition=compositions.get(row[-3]),
        )
        for row in rows
    ]


def _compositions(session: Session, ids: Sequence[int]) -> dict[int, CompositionRecord]:
    """Return the compositions of versions, by the id of the version."""
    found: dict[int, CompositionRecord] = {}
    for start in range(0, len(ids), _BATCH):
        query = select(Composition).options(selectinload(Composition.parents))
        query = query.where(Composition.version_id.in_(ids[start : start + _BATCH]))
        found |= {row.version_id: _composition_record(row) for row in session.scalars(query)}
    return found


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
        warnings=record.warnings,
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
        warnings=row.warnings,
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

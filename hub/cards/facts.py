"""What the catalogue knows of a version for good, as its card says it."""

from __future__ import annotations

from typing import Final

from ...dsl.meaning.lock import Lock
from ...store import VersionRecord
from .card import CardFacts
from .licenses import license_of

_PROVENANCE: Final = (
    "kind",
    "task",
    "dataset_revision",
    "objective",
    "base_revision",
    "steps",
    "batch_size",
    "learning_rate",
    "seed",
    "license",
)


def facts_of(record: VersionRecord, lock: Lock | None, repository: str, revision: str) -> CardFacts:
    """The facts of a version that never change: nothing of scores, places and other versions.

    Args:
        record: the version.
        lock: how it was composed; None for one that was trained.
        repository, revision: where it is, or will be, published.
    """
    shared = license_of([adapter.license for adapter in lock.adapters]) if lock else None
    said = {name: getattr(record, name) for name in _PROVENANCE}
    return CardFacts(
        title=record.name,
        base_model=str(record.base_model),
        peft_type=record.peft_type,
        task_type=record.config.get("task_type"),
        languages=record.languages,
        license=record.license or shared,
        datasets=datasets_of(record),
        provenance={name: value for name, value in said.items() if value is not None},
        warnings=record.composition.warnings if record.composition else (),
        repository=repository,
        revision=revision,
    )


def datasets_of(record: VersionRecord) -> list[str]:
    """The data sets that a version itself was trained on."""
    return [name for one in (record.dataset or "").split(",") if (name := one.strip())]

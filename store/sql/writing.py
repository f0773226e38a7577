"""Writing versions in a session: adding the next one, and withdrawing one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import false, func, select
from sqlalchemy.orm import Session

from ..errors import BlobError, RecordError
from ..lineage import read_descendants
from ..records import Added, NewVersion, VersionRecord, Withdrawn
from .models import Adapter, Version, Withdrawal
from .reading import read_version
from .rows import fulfil, is_latest, select_versions, version_record, version_row


def add_version(
    session: Session, new: NewVersion, provenance: str, stored: Callable[[str], bool] | None
) -> Added:
    """Record `new` as the next version of its name, unless it is there (see ``Catalog.add``).

    Raises BlobError when `stored` says that the weights are gone.
    """
    # The lock on the name makes PostgreSQL's writers count one after the other.
    adapter = session.scalar(select(Adapter).where(Adapter.name == new.name).with_for_update())
    now = datetime.now(UTC)
    fresh = adapter is None
    if adapter is None:
        adapter = Adapter(name=new.name, created_at=now)
        session.add(adapter)
        session.flush()
    awaited = None if fresh else _awaited(session, adapter, new)
    if awaited is not None:
        fulfil(awaited, new, provenance)
        session.flush()
        _refuse_lost(new, stored)
        return Added(version_record(awaited), created=True)
    rows = [] if fresh else _latest_and_highest(session, adapter)
    for row in rows:
        if row.provenance_digest == provenance:
            return Added(version_record(row), created=False)
    number = max((row.number for row in rows), default=0) + 1
    row = version_row(new, adapter, number, now, provenance)
    session.add(row)
    session.flush()
    _refuse_lost(new, stored)
    return Added(version_record(row), created=True)


def withdraw_version(session: Session, name: str, number: int, reason: str) -> Withdrawn:
    """Mark version `number` of `name` as withdrawn (see ``Catalog.withdraw``).

    Raises UnknownVersionError, and RecordError when it was withdrawn for another reason.
    """
    row = read_version(session, name, number)
    created = row.withdrawal is None
    if row.withdrawal is None:
        row.withdrawal = Withdrawal(reason=reason, created_at=datetime.now(UTC))
        session.flush()
    elif row.withdrawal.reason != reason:
        raise RecordError(
            f"{name}@v{number} is withdrawn already, because: {row.withdrawal.reason}"
        )
    version: VersionRecord = version_record(row)
    return Withdrawn(version, read_descendants(session, version), created)


def _awaited(session: Session, adapter: Adapter, new: NewVersion) -> Version | None:
    """The version that `new` brings the weights of: of the same source and said to be the same."""
    if not new.here or new.source_revision is None:
        return None
    query = select_versions().where(
        Version.adapter_id == adapter.id,
        Version.here == false(),
        Version.source == new.source,
        Version.source_revision == new.source_revision,
    )
    same = ("kind", "languages", "task", "base_model", "config_digest")
    found = (
        row
        for row in session.scalars(query.order_by(Version.number))
        if all(getattr(row, name) == getattr(new, name) for name in same)
    )
    return next(found, None)


def _refuse_lost(new: NewVersion, stored: Callable[[str], bool] | None) -> None:
    if stored is not None and new.here and not stored(new.digest):
        raise BlobError(
            f"the weights of {new.name!r} (sha256 {new.digest}) are not in the store: "
            "write them, then add again"
        )


def _latest_and_highest(session: Session, adapter: Adapter) -> list[Version]:
    of_adapter = Version.adapter_id == adapter.id
    highest = select(func.max(Version.number)).where(of_adapter).scalar_subquery()
    query = select_versions().where(of_adapter, is_latest() | (Version.number == highest))
    return list(session.scalars(query.order_by(Version.number)))

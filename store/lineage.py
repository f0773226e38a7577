"""What a version was made of, and what was made of it, by content.

A composition names its parents by digest, so a node of the lineage is content: all versions with
the same weights and configuration are one node. Content that comes to itself again (``1*a`` has the
weights of ``a``) is a circle in the graph, and walked once.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, ColumnElement, and_, select
from sqlalchemy.orm import Session

from .records import VersionRecord
from .sql.models import Parent, Version
from .sql.reading import read_version, read_versions
from .sql.rows import version_record


@dataclass(frozen=True, slots=True, order=True)
class ContentKey:
    """Content: the sha256 of the weights and that of the effective configuration."""

    digest: str
    config_digest: str


@dataclass(frozen=True, slots=True)
class LineageNode:
    """Content in a lineage, the versions that have it, and how far it is from the root.

    There are no versions where a parent is not in this catalogue; `called` is then what it was
    called when the composition was made, or None.
    """

    key: ContentKey
    versions: tuple[VersionRecord, ...]
    distance: int
    called: str | None = None

    @property
    def label(self) -> str:
        """The versions' references; without versions what it was called, or its digest."""
        if self.versions:
            return " = ".join(version.label for version in self.versions)
        return self.called or f"sha256:{self.key.digest[:12]}"


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """One term of a composition: how much of `parent` is in `child`, and what was kept of it."""

    child: ContentKey
    parent: ContentKey
    coefficient: str
    filters: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """A version, and the graph of what it was made of or of what was made of it.

    `nodes` begins with the version's own content and goes on by distance, then label. `edges` lead
    from child to parent either way; the graph can have circles.
    """

    version: VersionRecord
    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]


def read_lineage(session: Session, name: str, number: int | None, *, upwards: bool) -> Lineage:
    """Return the ancestors (`upwards`) or the descendants of a version.

    Raises UnknownVersionError, with near misses, when there is no such name or version.
    """
    return _lineage(session, version_record(read_version(session, name, number)), upwards)


def read_descendants(session: Session, version: VersionRecord) -> tuple[VersionRecord, ...]:
    """Return the versions that were made of this one, directly or not, by name and version."""
    own, *others = _lineage(session, version, upwards=False).nodes
    found = [other for node in others for other in node.versions]
    # What was composed into the very same content is no other node, but was made of it.
    found += [other for other in own.versions if other.composition and other != version]
    return tuple(sorted(found, key=lambda other: (other.name, other.version)))


def _lineage(session: Session, version: VersionRecord, upwards: bool) -> Lineage:
    root = ContentKey(version.digest, version.config_digest)
    reached = _reached(root, upwards)
    edges, called = _edges(session, reached, upwards)
    versions: defaultdict[ContentKey, list[VersionRecord]] = defaultdict(list)
    for record in read_versions(session, _is_in(Version, reached)):
        versions[ContentKey(record.digest, record.config_digest)].append(record)
    nodes = [
        LineageNode(key, tuple(versions[key]), distance, called.get(key))
        for key, distance in _distances(root, edges, upwards).items()
    ]
    nodes.sort(key=lambda node: (node.distance, node.label, node.key))
    return Lineage(version, tuple(nodes), tuple(edges))


def _reached(root: ContentKey, upwards: bool) -> CTE:
    own = (Version.digest == root.digest, Version.config_digest == root.config_digest)
    reached = select(Version.digest, Version.config_digest).where(*own).cte(recursive=True)
    near, far = (Version, Parent) if upwards else (Parent, Version)
    step = (
        select(far.digest, far.config_digest)
        .select_from(Parent)
        .join(Version, Version.id == Parent.version_id)
        .join(reached, _is_same(near, reached))
    )
    # UNION, not UNION ALL: what was reached before is not walked again.
    return reached.union(step)


def _is_same(table: type[Version] | type[Parent], reached: CTE) -> ColumnElement[bool]:
    return and_(table.digest == reached.c.digest, table.config_digest == reached.c.config_digest)


def _is_in(table: type[Version] | type[Parent], reached: CTE) -> ColumnElement[bool]:
    return select(reached.c.digest).where(_is_same(table, reached)).correlate(table).exists()


def _edges(
    session: Session, reached: CTE, upwards: bool
) -> tuple[list[LineageEdge], dict[ContentKey, str]]:
    near = Version if upwards else Parent
    query = (
        select(Parent, Version.digest, Version.config_digest)
        .join(Version, Version.id == Parent.version_id)
        .where(_is_in(near, reached))
        .order_by(Version.id, Parent.position)
    )
    edges: dict[tuple[object, ...], LineageEdge] = {}
    called: dict[ContentKey, str] = {}
    for parent, digest, config_digest in session.execute(query):
        key = ContentKey(parent.digest, parent.config_digest)
        child = ContentKey(digest, config_digest)
        # Two versions with the same content and the same terms tell the same thing twice.
        edges.setdefault(
            (child, key, parent.coefficient, repr(parent.filters)),
            LineageEdge(child, key, parent.coefficient, tuple(parent.filters)),
        )
        if parent.name is not None:
            called.setdefault(key, f"{parent.name}@v{parent.number}")
    return list(edges.values()), called


def _distances(
    root: ContentKey, edges: Iterable[LineageEdge], upwards: bool
) -> dict[ContentKey, int]:
    neighbours: defaultdict[ContentKey, list[ContentKey]] = defaultdict(list)
    for edge in edges:
        near, far = (edge.child, edge.parent) if upwards else (edge.parent, edge.child)
        neighbours[near].append(far)
    distances = {root: 0}
    waiting = deque([root])
    while waiting:
        key = waiting.popleft()
        for neighbour in neighbours[key]:
            if neighbour not in distances:
                distances[neighbour] = distances[key] + 1
                waiting.append(neighbour)
    return distances

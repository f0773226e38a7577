"""The graph of a lineage as text: a tree of lines, Mermaid, Graphviz's DOT, and JSON.

Pure functions: lineage in, text out. The graph may have circles and content that is reached in
several ways; the tree shows such content in full once, and marks every other mention of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from .output import cell
from .records import filters_text

if TYPE_CHECKING:
    from ..store import ContentKey, Lineage, LineageEdge, LineageNode

Mark: TypeAlias = Literal["", "shown above", "circle"]

_GUIDES: Final = {False: ("│   ", "├── ", "└── "), True: ("|   ", "|-- ", "`-- ")}
_MERMAID: Final = str.maketrans(
    {character: f"#{ord(character)};" for character in '"#%&;<>\\`[]{}|'}
)
_DOT: Final = str.maketrans({'"': r"\"", "\\": r"\\", "&": "&amp;"})


@dataclass(frozen=True, slots=True)
class Twig:
    """A line of the tree.

    Attributes:
        depth: how far it is from the root, which has 0.
        label: how much of which adapter.
        facts: of what kind and for which languages it is, and whether it was withdrawn.
        mark: why nothing stands below it although something could.
    """

    depth: int
    label: str
    facts: str
    mark: Mark = ""


def grow(lineage: Lineage, *, descendants: bool) -> tuple[Twig, ...]:
    """Return a lineage as a tree, from its root down, every parent before its children."""
    below = _below(lineage, descendants)
    node_by_key = {node.key: node for node in lineage.nodes}
    root = lineage.nodes[0].key
    twigs: list[Twig] = []
    path: list[ContentKey] = []
    seen: set[ContentKey] = set()
    waiting: list[tuple[int, ContentKey, LineageEdge | None]] = [(0, root, None)]
    while waiting:
        depth, key, edge = waiting.pop()
        del path[depth:]
        mark: Mark = "circle" if key in path else "shown above" if key in seen else ""
        node = node_by_key[key]
        label = node.label if edge is None else _term(edge, node.label, descendants)
        twigs.append(Twig(depth, label, _facts(node), mark))
        if not mark:
            seen.add(key)
            path.append(key)
            waiting += [(depth + 1, far, edge) for far, edge in reversed(below[key])]
    return tuple(twigs)


def tree_text(twigs: Sequence[Twig], *, ascii_only: bool = False) -> str:
    """Return a tree as lines with guides before them."""
    bar, branch, end = _GUIDES[ascii_only]
    lines: list[str] = []
    # Read backwards: whether a guide goes on depends on what follows.
    following: set[int] = set()
    for twig in reversed(twigs):
        prefix = "".join(
            bar if depth in following else " " * len(bar) for depth in range(1, twig.depth)
        )
        if twig.depth:
            prefix += branch if twig.depth in following else end
        following = {depth for depth in following if depth < twig.depth} | {twig.depth}
        lines.append(prefix + twig_text(twig))
    return "\n".join(reversed(lines))


def twig_text(twig: Twig) -> str:
    """Return a line of the tree without its guides."""
    mark = f" [{twig.mark}]" if twig.mark else ""
    return f"{twig.label} ({twig.facts}){mark}"


def mermaid(lineage: Lineage) -> str:
    """Return a lineage as a Mermaid flowchart; arrows lead from a parent to what was made of it."""
    name_by_key = _names(lineage)
    lines = ["flowchart TD"]
    for node in lineage.nodes:
        label, facts = (_escaped(text, _MERMAID) for text in (node.label, _facts(node)))
        lines.append(f'    {name_by_key[node.key]}["{label}<br/>{facts}"]')
    for edge in lineage.edges:
        parent, child = name_by_key[edge.parent], name_by_key[edge.child]
        lines.append(f'    {parent} -->|"{_escaped(_amount(edge), _MERMAID)}"| {child}')
    lines.append("    style n0 stroke-width:3px")
    withdrawn = [name_by_key[node.key] for node in lineage.nodes if _withdrawn(node)]
    if withdrawn:
        lines.append("    classDef withdrawn stroke-dasharray:5 5")
        lines.append(f"    class {','.join(withdrawn)} withdrawn")
    return "\n".join(lines)


def dot(lineage: Lineage) -> str:
    """Return a lineage as a graph for Graphviz; its arrows lead where those of `mermaid` do."""
    name_by_key = _names(lineage)
    lines = ["digraph lineage {", "  node [shape=box];"]
    for node in lineage.nodes:
        label, facts = (_escaped(text, _DOT) for text in (node.label, _facts(node)))
        style = ", style=dashed" if _withdrawn(node) else ""
        width = ", penwidth=2" if name_by_key[node.key] == "n0" else ""
        lines.append(f'  {name_by_key[node.key]} [label="{label}\\n{facts}"{style}{width}];')
    for edge in lineage.edges:
        parent, child = name_by_key[edge.parent], name_by_key[edge.child]
        lines.append(f'  {parent} -> {child} [label="{_escaped(_amount(edge), _DOT)}"];')
    return "\n".join([*lines, "}"])


def _is_known(node: LineageNode) -> bool:
    """Whether the digest is one of weights; a name alone stands for those that are not here."""
    return not node.versions or any(version.here for version in node.versions)


def as_json(lineage: Lineage, *, descendants: bool) -> dict[str, Any]:
    """Return a lineage as plain data; edges name nodes by their `id`."""
    return {
        "version": lineage.version.label,
        "direction": "descendants" if descendants else "ancestors",
        "nodes": [
            {
                "id": _id(node.key),
                "label": node.label,
                "digest": node.key.digest if _is_known(node) else None,
                "config_digest": node.key.config_digest,
                "distance": node.distance,
                "versions": [
                    {
                        "name": version.name,
                        "version": version.version,
                        "kind": version.kind,
                        "language": ",".join(version.languages),
                        "task": version.task,
                        "withdrawn": version.withdrawn,
                    }
                    for version in node.versions
                ],
            }
            for node in lineage.nodes
        ],
        "edges": [
            {
                "parent": _id(edge.parent),
                "child": _id(edge.child),
                "coefficient": edge.coefficient,
                "filters": list(edge.filters),
            }
            for edge in lineage.edges
        ],
    }


def _below(
    lineage: Lineage, descendants: bool
) -> Mapping[ContentKey, list[tuple[ContentKey, LineageEdge]]]:
    """Return what stands below each node of the tree, in the order of the sums."""
    below: defaultdict[ContentKey, list[tuple[ContentKey, LineageEdge]]] = defaultdict(list)
    for edge in lineage.edges:
        near, far = (edge.parent, edge.child) if descendants else (edge.child, edge.parent)
        below[near].append((far, edge))
    return below


def _term(edge: LineageEdge, label: str, descendants: bool) -> str:
    if descendants:
        return f"{label} has {_amount(edge)} of it"
    return f"{_amount(edge)} * {label}"


def _amount(edge: LineageEdge) -> str:
    from ..dsl.meaning.plan import readable

    kept = cell(filters_text(edge.filters))
    return readable(Fraction(edge.coefficient)) + (f" [{kept}]" if kept else "")


def _facts(node: LineageNode) -> str:
    if not node.versions:
        return "not in this catalogue"
    version = node.versions[0]
    known = (version.kind, version.task, ",".join(version.languages), *_withdrawn(node))
    return cell(", ".join(one for one in known if one))


def _withdrawn(node: LineageNode) -> list[str]:
    return [
        f"{version.label} withdrawn: {version.withdrawn}"
        for version in node.versions
        if version.withdrawn is not None
    ]


def _names(lineage: Lineage) -> dict[ContentKey, str]:
    return {node.key: f"n{number}" for number, node in enumerate(lineage.nodes)}


def _escaped(text: str, escapes: Mapping[int, str]) -> str:
    return cell(text).translate(escapes)


def _id(key: ContentKey) -> str:
    return f"sha256:{key.digest}:{key.config_digest}"

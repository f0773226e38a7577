"""Lineages as text: what they look like is kept in tests/snapshots."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from isogloss.cli.graph import as_json, dot, grow, mermaid, tree_text
from isogloss.store import ContentKey, Lineage, LineageEdge, LineageNode, VersionRecord

REASON = 'trained on "test" data\n\\N <b>&amp;</b> `x` [1] {2} #3; 100%'


def key(digit: str) -> ContentKey:
    return ContentKey(digit * 64, "0" * 64)


def version(name: str, at: ContentKey, kind: str, number: int = 1, **more: str) -> VersionRecord:
    return VersionRecord(
        name=name,
        version=number,
        kind=kind,
        languages=(more["language"],) if "language" in more else (),
        task=more.get("task"),
        peft_type="LORA",
        config={},
        digest=at.digest,
        config_digest=at.config_digest,
        size_bytes=8,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        withdrawn=more.get("withdrawn"),
    )


TOP, MIDDLE, TASK, EN, YO, LOST = map(key, "abcdef")
NODES = (
    LineageNode(TOP, (version("acme/top", TOP, "composed", 2, task="xlsum", language="yo"),), 0),
    LineageNode(MIDDLE, (version("middle", MIDDLE, "composed"),), 1),
    LineageNode(
        EN,
        (
            version("lm-en", EN, "lm", language="en", withdrawn=REASON),
            version("lm-en", EN, "lm", 2, language="en"),
        ),
        1,
    ),
    LineageNode(TASK, (version("xlsum-en", TASK, "task", task="xlsum", language="en"),), 2),
    LineageNode(YO, (version("lm-yo", YO, "lm", language="yo"),), 2),
    LineageNode(LOST, (), 2, called="other/gone@v3"),
)
EDGES = (
    LineageEdge(TOP, MIDDLE, "1/2", ()),
    LineageEdge(TOP, EN, "-1/3", ({"modules": 'q_proj|"v"\\.'}, {"first": 0, "last": 3})),
    LineageEdge(TOP, MIDDLE, "1/4", ({"last": 0},)),
    LineageEdge(MIDDLE, TASK, "3/5", ()),
    LineageEdge(MIDDLE, YO, "2/5", ()),
    LineageEdge(MIDDLE, EN, "-2/5", ()),
    LineageEdge(MIDDLE, LOST, "1", ()),
    LineageEdge(YO, TOP, "1000000000001/1000000000000", ()),
)
UP = Lineage(NODES[0].versions[0], NODES, EDGES)
DOWN = Lineage(
    NODES[2].versions[1],
    tuple(NODES[index] for index in (2, 0, 1)),
    (EDGES[1], EDGES[5], EDGES[0], EDGES[2]),
)
SHOWN = {
    "lineage-ancestors.txt": lambda: tree_text(grow(UP, descendants=False)),
    "lineage-descendants.txt": lambda: tree_text(grow(DOWN, descendants=True)),
    "lineage-ascii.txt": lambda: tree_text(grow(UP, descendants=False), ascii_only=True),
    "lineage.mmd": lambda: mermaid(UP),
    "lineage.dot": lambda: dot(UP),
}


@pytest.mark.parametrize("name", SHOWN)
def test_it_looks_as_it_did(root: Path, name: str) -> None:
    kept = (root / "tests" / "snapshots" / name).read_text(encoding="utf-8")
    assert SHOWN[name]() + "\n" == kept


def test_every_edge_is_in_the_tree_once() -> None:
    twigs = grow(UP, descendants=False)
    assert len(twigs) == 1 + len(EDGES)
    in_full = [twig.label.rpartition(" * ")[2] for twig in twigs if not twig.mark]
    assert sorted(in_full) == sorted(node.label for node in NODES)
    assert [twig.mark for twig in twigs if twig.label.endswith("acme/top@v2")] == ["", "circle"]


def test_labels_end_where_they_should() -> None:
    for text in re.findall(r'\["(.*)"\]$', mermaid(UP), re.MULTILINE):
        assert not set('"[]{}|\\`&') & set(text)
        assert set(re.findall(r"<[^>]*>", text)) == {"<br/>"}
    for line in dot(UP).splitlines():
        assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) % 2 == 0


def test_a_version_that_is_made_of_itself() -> None:
    node = LineageNode(EN, (version("a", EN, "lm"), version("b", EN, "composed")), 0)
    lineage = Lineage(node.versions[1], (node,), (LineageEdge(EN, EN, "1", ()),))
    assert tree_text(grow(lineage, descendants=False)) == (
        "a@v1 = b@v1 (lm)\n└── 1 * a@v1 = b@v1 (lm) [circle]"
    )


def test_a_long_line_of_ancestors() -> None:
    keys = [ContentKey(f"{number:064x}", "0" * 64) for number in range(2000)]
    nodes = tuple(LineageNode(one, (), number, f"a@v{number}") for number, one in enumerate(keys))
    edges = tuple(LineageEdge(child, parent, "1", ()) for child, parent in pairwise(keys))
    lineage = Lineage(version("a", keys[0], "composed"), nodes, edges)
    twigs = grow(lineage, descendants=False)
    assert [twig.depth for twig in twigs] == list(range(2000))
    assert len(tree_text(twigs).splitlines()) == 2000


def test_json_names_nodes_by_content() -> None:
    data = as_json(DOWN, descendants=True)
    assert (data["version"], data["direction"]) == ("lm-en@v2", "descendants")
    ids = {node["id"] for node in data["nodes"]}
    assert ids == {f"sha256:{one.digest}:{one.config_digest}" for one in (EN, TOP, MIDDLE)}
    assert {edge[end] for edge in data["edges"] for end in ("parent", "child")} <= ids
    assert data["edges"][0]["coefficient"] == "-1/3"
    assert data["edges"][0]["filters"] == list(EDGES[1].filters)
    assert data["nodes"][0]["versions"][0]["withdrawn"] == REASON

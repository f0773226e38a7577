"""Ancestors, descendants and withdrawals, the same on every database."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isogloss.store import (
    Catalog,
    CompositionRecord,
    ContentKey,
    Lineage,
    NewVersion,
    ParentRecord,
    RecordError,
    UnknownVersionError,
    VersionRecord,
)

Make = Callable[..., NewVersion]
Grow = Callable[..., VersionRecord]


def digest_of(content: str) -> str:
    return sha256(content.encode()).hexdigest()


def key_of(content: str) -> ContentKey:
    return ContentKey(digest_of(content), digest_of("config"))


@pytest.fixture
def grow(catalog: Catalog, make_version: Make) -> Grow:
    """Add a version whose content is named, and made of the contents named after it."""

    def add(name: str, content: str, *parents: str, **changes: Any) -> VersionRecord:
        values = {"digest": digest_of(content), "config_digest": digest_of("config"), **changes}
        if not parents:
            return catalog.add(make_version(name=name, **values)).version
        composition = CompositionRecord(
            expression=" + ".join(parents),
            canonical=" + ".join(parents),
            semantics="exact",
            plan_digest=digest_of(" ".join(parents)),
            dtype="BF16",
            lock={},
            tool_versions={},
            parents=tuple(
                ParentRecord(
                    coefficient=f"{place}/7",
                    digest=digest_of(parent),
                    config_digest=digest_of("config"),
                    filters=[{"modules": parent}],
                    name=f"was-{parent}",
                    version=place,
                )
                for place, parent in enumerate(parents, start=1)
            ),
        )
        values = {"kind": "composed", "languages": (), "languages_given": (), **values}
        return catalog.add(make_version(name=name, composition=composition, **values)).version

    return add


def labels(lineage: Lineage) -> list[tuple[str, int]]:
    return [(node.label, node.distance) for node in lineage.nodes]


def edges(lineage: Lineage) -> set[tuple[ContentKey, ContentKey, str]]:
    return {(edge.child, edge.parent, edge.coefficient) for edge in lineage.edges}


def test_both_ways_through_a_family(catalog: Catalog, grow: Grow) -> None:
    for name in ("a", "b", "c", "stranger"):
        grow(name, name)
    grow("ab", "ab", "a", "b")
    grow("abc", "abc", "ab", "c")
    grow("all", "all", "abc", "a")
    up = catalog.ancestors("all")
    assert up.version == catalog.get("all")
    assert labels(up) == [
        ("all@v1", 0),
        ("a@v1", 1),
        ("abc@v1", 1),
        ("ab@v1", 2),
        ("c@v1", 2),
        ("b@v1", 3),
    ]
    assert edges(up) == {
        (key_of("all"), key_of("abc"), "1/7"),
        (key_of("all"), key_of("a"), "2/7"),
        (key_of("abc"), key_of("ab"), "1/7"),
        (key_of("abc"), key_of("c"), "2/7"),
        (key_of("ab"), key_of("a"), "1/7"),
        (key_of("ab"), key_of("b"), "2/7"),
    }
    (edge,) = (edge for edge in up.edges if edge.parent == key_of("b"))
    assert edge.filters == ({"modules": "b"},)
    down = catalog.descendants("b", 1)
    assert labels(down) == [("b@v1", 0), ("ab@v1", 1), ("abc@v1", 2), ("all@v1", 3)]
    assert edges(down) < edges(up)
    assert labels(catalog.ancestors("a")) == [("a@v1", 0)]
    assert labels(catalog.descendants("all")) == [("all@v1", 0)]
    assert catalog.descendants("stranger").edges == ()


def test_versions_with_one_content_are_one_node(catalog: Catalog, grow: Grow) -> None:
    grow("a", "a")
    grow("a", "a", note="a corrected note")
    grow("other", "a")
    grow("a", "newer a")
    grow("sum", "sum", "a")
    grow("same-sum", "sum", "a")
    up = catalog.ancestors("sum")
    assert labels(up) == [("same-sum@v1 = sum@v1", 0), ("a@v1 = a@v2 = other@v1", 1)]
    assert len(up.edges) == 1
    assert labels(catalog.descendants("a", 1)) == [
        ("a@v1 = a@v2 = other@v1", 0),
        ("same-sum@v1 = sum@v1", 1),
    ]
    assert labels(catalog.descendants("a")) == [("a@v3", 0)]


def test_the_configuration_is_part_of_the_content(catalog: Catalog, grow: Grow) -> None:
    grow("a", "a")
    grow("twin", "a", config_digest=digest_of("another"))
    grow("sum", "sum", "a")
    assert labels(catalog.descendants("twin")) == [("twin@v1", 0)]
    assert labels(catalog.ancestors("sum")) == [("sum@v1", 0), ("a@v1", 1)]


def test_parents_that_are_not_in_this_catalogue_are_named(catalog: Catalog, grow: Grow) -> None:
    grow("sum", "sum", "elsewhere")
    (_, parent) = catalog.ancestors("sum").nodes
    assert parent.versions == ()
    assert parent.label == parent.called == "was-elsewhere@v1"
    assert parent.key == key_of("elsewhere")


def test_circles_are_walked_once(catalog: Catalog, grow: Grow) -> None:
    grow("a", "a")
    grow("copy", "a", "a")
    grow("b", "b", "a")
    grow("back", "a", "b")
    for lineage in (catalog.ancestors("a"), catalog.descendants("a")):
        assert labels(lineage) == [("a@v1 = back@v1 = copy@v1", 0), ("b@v1", 1)]
        assert {(edge.child, edge.parent) for edge in lineage.edges} == {
            (key_of("a"), key_of("a")),
            (key_of("b"), key_of("a")),
            (key_of("a"), key_of("b")),
        }


def test_a_long_line_of_descent(catalog: Catalog, grow: Grow) -> None:
    grow("x0", "x0")
    for number in range(1, 121):
        grow(f"x{number}", f"x{number}", f"x{number - 1}")
    assert [node.distance for node in catalog.ancestors("x120").nodes] == list(range(121))
    assert len(catalog.descendants("x0").nodes) == 121


_GRAPHS = st.dictionaries(
    st.sampled_from("ABCDEF"), st.lists(st.sampled_from("ABCDEF"), max_size=3, unique=True)
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(graph=_GRAPHS)
def test_what_is_reached_is_what_a_walk_reaches(
    catalog: Catalog, grow: Grow, graph: dict[str, list[str]]
) -> None:
    # One catalogue serves all examples: every example has contents of its own.
    run = f"{len(catalog.names())}-"
    contents = [run + letter for letter in "ABCDEF"]
    for content in contents:
        grow(f"n{content}", content, *(run + parent for parent in graph.get(content[-1], ())))

    def walk(start: str, near: int, far: int) -> set[str]:
        pairs = [(run + child, run + parent) for child in graph for parent in graph[child]]
        found = {start}
        while more := {pair[far] for pair in pairs if pair[near] in found} - found:
            found |= more
        return found

    for content in contents:
        up, down = catalog.ancestors(f"n{content}"), catalog.descendants(f"n{content}")
        assert {node.key for node in up.nodes} == {key_of(c) for c in walk(content, 0, 1)}
        assert {node.key for node in down.nodes} == {key_of(c) for c in walk(content, 1, 0)}


def test_unknown_names_have_no_lineage(catalog: Catalog, grow: Grow) -> None:
    grow("adapter", "a")
    for ask in (catalog.ancestors, catalog.descendants):
        with pytest.raises(UnknownVersionError, match="did you mean 'adapter'"):
            ask("adaptor")
        with pytest.raises(UnknownVersionError, match="has no version 2"):
            ask("adapter", 2)


class TestWithdrawing:
    def test_it_is_kept_marked_and_no_longer_the_latest(self, catalog: Catalog, grow: Grow) -> None:
        first, second = grow("a", "one"), grow("a", "two")
        outcome = catalog.withdraw("a", 2, "trained on the test set")
        assert outcome.created
        assert outcome.version.withdrawn == "trained on the test set"
        assert catalog.get("a") == first
        assert catalog.get("a", 2) == outcome.version
        assert catalog.get("a", 2).digest == second.digest
        assert [v.withdrawn for v in catalog.versions("a")] == [None, "trained on the test set"]
        assert [v.version for v in catalog.find()] == [1]
        assert [v.version for v in catalog.find(("flag", "withdrawn"), latest=False)] == [2]
        assert digest_of("two") in catalog.referenced_digests()
        assert [v.version for v in catalog.by_digest(digest_of("two"))] == [2]

    def test_where_all_are_withdrawn_the_highest_stays(self, catalog: Catalog, grow: Grow) -> None:
        for content in ("one", "two", "three"):
            grow("a", content)
        for number in (3, 1, 2):
            catalog.withdraw("a", number, "bad")
        assert catalog.get("a").version == 3
        (found,) = catalog.find()
        assert (found.version, found.withdrawn) == (3, "bad")
        assert catalog.find(("not", ("flag", "withdrawn"))) == []
        assert grow("a", "four").version == 4
        assert catalog.get("a").version == 4

    def test_descendants_are_listed(self, catalog: Catalog, grow: Grow) -> None:
        grow("a", "a")
        grow("b", "b")
        grow("ab", "ab", "a", "b")
        grow("ab", "ab", "a", "b", note="corrected")
        grow("more", "more", "ab")
        grow("copy", "a", "a")
        grow("lone", "lone", "b")
        found = catalog.withdraw("a", 1, "bad").descendants
        assert [v.label for v in found] == ["ab@v1", "ab@v2", "copy@v1", "more@v1"]
        assert catalog.withdraw("more", 1, "bad").descendants == ()

    def test_saying_it_again(self, catalog: Catalog, grow: Grow) -> None:
        grow("a", "a")
        first = catalog.withdraw("a", 1, "bad")
        again = catalog.withdraw("a", 1, "bad")
        assert (first.created, again.created) == (True, False)
        assert again.version == first.version
        with pytest.raises(RecordError, match="a@v1 is withdrawn already, because: bad"):
            catalog.withdraw("a", 1, "worse")
        assert catalog.get("a", 1).withdrawn == "bad"

    def test_adding_what_was_withdrawn_does_not_bring_it_back(
        self, catalog: Catalog, grow: Grow
    ) -> None:
        grow("a", "one")
        grow("a", "two")
        catalog.withdraw("a", 2, "bad")
        again = grow("a", "two")
        assert (again.version, again.withdrawn) == (2, "bad")
        assert grow("a", "one").version == 1
        assert len(catalog.versions("a")) == 2

    def test_what_cannot_be_withdrawn(self, catalog: Catalog, grow: Grow) -> None:
        grow("adapter", "a")
        with pytest.raises(UnknownVersionError, match="did you mean 'adapter'"):
            catalog.withdraw("adaptr", 1, "bad")
        with pytest.raises(UnknownVersionError, match="has no version 7"):
            catalog.withdraw("adapter", 7, "bad")
        for reason in ("", "  \n"):
            with pytest.raises(RecordError, match="cannot be withdrawn without a reason"):
                catalog.withdraw("adapter", 1, reason)
        assert catalog.get("adapter").withdrawn is None

    def test_a_withdrawn_composition_is_composed_anew(self, catalog: Catalog, grow: Grow) -> None:
        grow("mix", "mix", "a", "b")
        plan = digest_of("a b")
        assert catalog.composed(plan, "BF16") == catalog.get("mix")
        catalog.withdraw("mix", 1, "bad")
        assert catalog.composed(plan, "BF16") is None

    def test_many_withdraw_at_once(self, catalog: Catalog, grow: Grow) -> None:
        grow("a", "a")
        barrier, outcomes = Barrier(8), []

        def work() -> None:
            barrier.wait()
            outcomes.append(catalog.withdraw("a", 1, "bad").created)

        threads = [Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == [False] * 7 + [True]

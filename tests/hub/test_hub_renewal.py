"""A catalogue that lives on: lineage, withdrawal, what is outdated, and composing again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from isogloss.dsl.errors import NotFoundError
from isogloss.hub import AdapterHub, SourceError

WriteLora = Callable[..., Path]
EXPRESSION = "l*task[en] + (1-l)*(lm[pt] - lm[en])"


@pytest.fixture
def composed(stocked: AdapterHub) -> AdapterHub:
    stocked.compose(
        EXPRESSION, name="xlsum-pt", parameters={"l": "0.6"}, result_language="pt", task="xlsum"
    )
    stocked.compose('"xlsum-pt" + lm[yo]', name="second")
    return stocked


def test_lineage_both_ways(composed: AdapterHub) -> None:
    up = composed.lineage("second")
    assert {node.label for node in up.nodes} == {
        "second@v1",
        "xlsum-pt@v1",
        "xlsum-en@v1",
        "lm-pt@v1",
        "lm-en@v1",
        "lm-yo@v1",
    }
    down = composed.lineage("lm-pt", descendants=True)
    assert [node.label for node in down.nodes] == ["lm-pt@v1", "xlsum-pt@v1", "second@v1"]


def test_nothing_is_outdated_at_first(composed: AdapterHub) -> None:
    assert composed.outdated() == []
    again, changes = composed.compose_again("xlsum-pt")
    assert (again.created, again.version, changes) == (False, 1, ())


def test_a_newer_parent_makes_outdated(
    composed: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    composed.add(write_lora(tmp_path / "newer", 50), kind="lm", language="pt")
    entries = {entry.version.label: entry for entry in composed.outdated()}
    assert entries["xlsum-pt@v1"].changes == ("- 0.4 * lm-pt@v1", "+ 0.4 * lm-pt@v2")
    assert entries["xlsum-pt@v1"].reasons == ("lm-pt@v1 is now v2",)
    assert entries["second@v1"].reasons == ("its parent xlsum-pt@v1 is outdated",)
    assert composed.outdated("second") == [entries["second@v1"]]
    assert composed.outdated("xlsum-pt") == [entries["xlsum-pt@v1"]]
    again, changes = composed.compose_again("xlsum-pt")
    assert (again.version, changes) == (2, entries["xlsum-pt@v1"].changes)
    assert composed.show("xlsum-pt").languages == ("pt",)
    assert [entry.version.label for entry in composed.outdated()] == ["second@v1"]
    composed.verify("xlsum-pt@v1")
    composed.verify("xlsum-pt@v2")


def test_a_withdrawn_parent_is_left_out_and_said(
    composed: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    outcome = composed.withdraw("lm-pt@v1", "trained on test data")
    assert {version.label for version in outcome.descendants} == {"xlsum-pt@v1", "second@v1"}
    with pytest.raises(NotFoundError, match="lm-pt@v1 was withdrawn: trained on test data"):
        composed.explain("lm[pt]")
    (entry,) = composed.outdated("xlsum-pt")
    assert any("trained on test data" in reason for reason in entry.reasons)
    assert any("cannot be resolved" in reason for reason in entry.reasons)
    composed.verify("xlsum-pt")
    assert "withdrawn" in composed.explain('"lm-pt@v1"').choices[0].why
    composed.add(write_lora(tmp_path / "better", 51), kind="lm", language="pt")
    (entry,) = composed.outdated("xlsum-pt")
    assert "lm-pt@v1 is now v2" in entry.reasons


def test_other_selections_make_outdated(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    stocked.compose("mean(task[*])", name="all")
    before = stocked.show("all").composition
    stocked.add(write_lora(tmp_path / "ru", 52), kind="task", language="ru", task="xlsum")
    (entry,) = stocked.outdated()
    assert "newly selected: xlsum-ru" in entry.reasons
    (renewal,) = stocked.explain('"all"').renewals
    assert (renewal.version.label, renewal.reasons) == ("all@v1", entry.reasons)
    assert stocked.explain("mean(task[*])").renewals == ()
    assert stocked.show("all").composition == before
    stocked.verify("all")


def test_only_compositions_can_be_outdated(stocked: AdapterHub) -> None:
    with pytest.raises(SourceError, match="not composed"):
        stocked.outdated("lm-pt")
    with pytest.raises(SourceError, match="not composed"):
        stocked.compose_again("lm-pt")


def test_gc_removes_only_what_nothing_refers_to(stocked: AdapterHub, tmp_path: Path) -> None:
    with stocked.blobs.writer() as writer:
        writer.write(b"nobody's")
        orphan = writer.commit().digest
    assert stocked.fsck().unreferenced == (orphan,)
    assert stocked.gc().digests == ()
    assert stocked.gc(timedelta(0)).digests == (orphan,)
    assert stocked.fsck().problems == ()
    assert len(stocked.find()) == 5


def test_a_changed_recipe_is_named(stocked: AdapterHub) -> None:
    stocked.save_recipe("inner", "0.5*task[$T]")
    stocked.save_recipe("outer", "inner($T) + 0.5*lm[$T]")
    stocked.compose("outer(en)", name="mine")
    stocked.save_recipe("unused", "task[$T]")
    assert stocked.outdated() == []
    stocked.save_recipe("inner", "0.25*task[$T]")
    (entry,) = stocked.outdated()
    assert entry.reasons == ("the recipe inner was changed: it is v2 now",)
    assert "- 0.5 * xlsum-en@v1" in entry.changes

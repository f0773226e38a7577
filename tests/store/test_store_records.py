"""What can be recorded, and what is refused before any database is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import pytest
from isogloss.store import CompositionRecord, NewVersion, ParentRecord, RecordError
from isogloss.store.provenance import provenance_digest
from isogloss.store.sql.columns import UtcDateTime

Make = Callable[..., NewVersion]

COMPOSITION = CompositionRecord(
    expression="task[en]",
    canonical='"sha256:aa"',
    semantics="exact",
    plan_digest="e" * 64,
    dtype="F32",
    lock={},
    tool_versions={},
    parents=(ParentRecord(coefficient="1", digest="a" * 64, config_digest="b" * 64),),
)


@pytest.mark.parametrize(
    "name", ["a", "xlsum-en", "owner/name", "Ünï.cödé_1", "名前", "9", "x" * 200]
)
def test_names_that_can_be_written_as_references(make_version: Make, name: str) -> None:
    assert make_version(name=name).name == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a@v1", "-a", ".a", "/a", "a/", "a/b/c", "sha256:ab", 'a"', "a\n", "x" * 201],
)
def test_names_that_cannot(make_version: Make, name: str) -> None:
    with pytest.raises(RecordError, match="write 'name' or 'owner/name'"):
        make_version(name=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "other"}, "kind 'other' is none of task, lm, composed"),
        ({"kind": "composed"}, "a version of kind 'composed' has a composition"),
        ({"composition": COMPOSITION}, "kind 'task' does not fit"),
        ({"languages": ()}, "an adapter of kind 'task' needs a language"),
        ({"languages": ("pt", "en")}, "must be sorted and without repeats"),
        ({"languages": ("en", "en")}, "must be sorted and without repeats"),
        ({"languages": ("en,pt",)}, "language 'en,pt' is not a tag"),
        ({"languages": ("",)}, "language '' is not a tag"),
        ({"digest": "a" * 63}, "is not a sha256"),
        ({"digest": "A" * 64}, "is not a sha256"),
        ({"config_digest": "sha256:" + "a" * 64}, "config_digest 'sha256:"),
        ({"original_digest": "x"}, "original_digest 'x' is not a sha256"),
        ({"seed": 2**63}, "seed 9223372036854775808 is beyond what 64 bits hold"),
        ({"steps": -(2**63) - 1}, "is beyond what 64 bits hold"),
        ({"note": "a\x00b"}, "holds a character that is not text"),
        ({"task": "\ud800"}, "holds a character that is not text"),
        (
            {"kind": "composed", "composition": replace(COMPOSITION, expression="\x00")},
            "expression '\\x00' holds a character that is not text",
        ),
        (
            {
                "kind": "composed",
                "composition": replace(
                    COMPOSITION,
                    parents=(ParentRecord(coefficient="3/10", digest="x", config_digest="y"),),
                ),
            },
            "parent 3/10 'x' is not a sha256",
        ),
    ],
)
def test_what_is_refused(make_version: Make, changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecordError) as raised:
        make_version(**changes)
    assert message in str(raised.value)


def test_records_do_not_change(make_version: Make) -> None:
    with pytest.raises(FrozenInstanceError):
        make_version().note = "other"  # type: ignore[misc]


def test_provenance_does_not_depend_on_how_it_is_written(make_version: Make) -> None:
    plain = provenance_digest(make_version())
    config = {"rank_pattern": {}, "lora_alpha": 8, "r": 4, "peft_type": "LORA"}
    assert provenance_digest(make_version(config=config, alpha=8, source=None)) == plain
    assert provenance_digest(make_version(name="other")) == plain
    assert provenance_digest(make_version(config={**config, "r": 5})) != plain


def test_provenance_is_the_same_for_ever(make_version: Make) -> None:
    # Catalogues hold these digests: a change makes every adapter a new version when added again.
    plain = "e7b9cdc035c6c121f1f43132a1a2289ea43fb4dfaafb17520b6b9c1891842325"
    assert provenance_digest(make_version(training={})) == plain
    new = make_version(kind="composed", languages=(), composition=COMPOSITION, training={})
    composed = "8a978ab4c45328351d0c5822702ea0abfd83d35e341bc28e55b82c368f000fe1"
    assert provenance_digest(new) == composed


def test_an_instant_needs_a_time_zone() -> None:
    from sqlalchemy.dialects import sqlite

    with pytest.raises(ValueError, match="has no time zone"):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), sqlite.dialect())
    aware = datetime(2026, 1, 1, tzinfo=UTC)
    assert UtcDateTime().process_bind_param(aware, sqlite.dialect()) == datetime(2026, 1, 1)

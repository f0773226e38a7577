"""What is said of a version after its birth: where it was published, and how it scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from isogloss.store import Catalog, NewVersion, RecordError, Score, UnknownVersionError

NewAdapter = Callable[..., NewVersion]
HERE: dict[str, Any] = {"endpoint": "https://hub.example", "repo": "acme/a", "commit": "a" * 40}


def test_publications(catalog: Catalog, make_version: NewAdapter) -> None:
    version = catalog.add(make_version(name="a")).version
    first = catalog.publications.record("a", 1, tag="v1", **HERE)
    assert (first.repo, first.tag, first.created_at.tzname()) == ("acme/a", "v1", "UTC")
    assert catalog.publications.record("a", 1, tag="v1", **HERE) == first
    assert catalog.publications.record("a", 1, tag="best", **HERE).tag == "best"
    catalog.publications.record("a", 1, tag=None, **HERE | {"commit": "b" * 40})
    places = catalog.publications.of("a", 1)
    assert [(one.tag, one.commit[0]) for one in places] == [("best", "a"), (None, "b")]
    assert catalog.publications.of_content(version.digest, version.config_digest) == places
    assert catalog.publications.of_content("0" * 64, version.config_digest) == []
    with pytest.raises(UnknownVersionError):
        catalog.publications.record("a", 2, tag="v2", **HERE)
    with pytest.raises(RecordError):
        catalog.publications.record("a", 1, tag="v\x00", **HERE)


def test_scores(catalog: Catalog, make_version: NewAdapter) -> None:
    catalog.add(make_version(name="a"))
    score = Score(
        dataset="d",
        language="pt",
        split="test",
        metric="f1",
        value=0.5,
        settings={"k": [1]},
        low=0.4,
    )
    kept = catalog.evaluations.record("a", 1, score)
    again = catalog.evaluations.record("a", 1, score)
    assert catalog.evaluations.of("a", 1) == [kept, again]
    assert (kept.value, kept.settings, kept.low, kept.high) == (0.5, {"k": [1]}, 0.4, None)
    assert kept.created_at is not None
    assert catalog.evaluations.with_split("test") == [kept, again]
    assert catalog.evaluations.with_split("validation") == []
    with pytest.raises(UnknownVersionError):
        catalog.evaluations.of("b", 1)

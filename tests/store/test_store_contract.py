"""The contract of the catalogue, the same on every database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from isogloss.store import (
    BlobError,
    Catalog,
    CompositionRecord,
    NewVersion,
    ParentRecord,
    QueryError,
    RecordError,
    UnknownVersionError,
    VersionRecord,
)

Make = Callable[..., NewVersion]


def composition(**changes: object) -> CompositionRecord:
    plain = CompositionRecord(
        expression="0.6*task[en] + 0.4*lm[pt]",
        canonical='3/5*"sha256:aa" + 2/5*"sha256:bb"',
        semantics="elementwise",
        plan_digest="e" * 64,
        dtype="BF16",
        lock={"z": 1, "a": [1.5, None, "é\u0000"], "nested": {"b": True}},
        tool_versions={"isogloss": "0.1.0"},
        warnings=("they did not start from one initialisation",),
        parents=(
            ParentRecord(
                coefficient="3/5",
                digest="a" * 64,
                config_digest="c" * 64,
                filters=[{"modules": "q_proj", "first": None, "last": 3}],
                name="xlsum-en",
                version=1,
            ),
            ParentRecord(coefficient="2/5", digest="b" * 64, config_digest="c" * 64),
        ),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def composed(make: Make, **changes: object) -> NewVersion:
    values = {
        "name": "mix",
        "kind": "composed",
        "languages": (),
        "languages_given": (),
        "digest": "f" * 64,
        "composition": composition(),
        **changes,
    }
    return make(**values)


def labels(versions: list[VersionRecord]) -> list[str]:
    return [version.label for version in versions]


class TestAdding:
    def test_everything_comes_back_as_it_went_in(
        self, catalog: Catalog, make_version: Make
    ) -> None:
        new = make_version(languages=("en", "pt-BR"), note="Ünïcödé 🐘 'quoted' \"twice\" \\ %s :x")
        before = datetime.now(UTC)
        added = catalog.add(new)
        assert added.created
        for record in (added.version, catalog.get(new.name), catalog.get(new.name, 1)):
            for item in fields(NewVersion):
                assert getattr(record, item.name) == getattr(new, item.name), item.name
            assert (record.version, record.withdrawn) == (1, None)
            assert record.created_at.utcoffset() == timedelta(0)
            assert before <= record.created_at <= datetime.now(UTC)

    def test_a_composition_comes_back_as_it_went_in(
        self, catalog: Catalog, make_version: Make
    ) -> None:
        new = composed(make_version)
        assert catalog.add(new).version.composition == new.composition
        found = catalog.get("mix").composition
        assert found == new.composition
        assert found is not None
        assert list(found.lock) == ["z", "a", "nested"]

    def test_what_is_not_known_stays_unknown(self, catalog: Catalog) -> None:
        new = NewVersion(
            name="bare",
            kind="lm",
            languages=("yo",),
            peft_type="LORA",
            config={},
            digest="0" * 64,
            config_digest="1" * 64,
            size_bytes=0,
        )
        catalog.add(new)
        record = catalog.get("bare")
        for item in fields(NewVersion):
            assert getattr(record, item.name) == getattr(new, item.name), item.name

    def test_equal_content_and_provenance_is_no_new_version(
        self, catalog: Catalog, make_version: Make
    ) -> None:
        first = catalog.add(make_version())
        again = catalog.add(make_version(source="/elsewhere/xlsum-en"))
        assert not again.created
        assert again.version == first.version
        assert labels(catalog.versions("xlsum-en")) == ["xlsum-en@v1"]

    def test_only_the_source_path_can_differ(self, catalog: Catalog, make_version: Make) -> None:
        changes: dict[str, object] = {
            "kind": "lm",
            "languages": ("de",),
            "languages_given": ("en",),
            "target_modules": ("q_proj",),
            "config": {"r": 5},
            "library_versions": {"peft": "0.20.0"},
            "training": {"init_seed": 1},
            "rank": 5,
            "alpha": 9.0,
            "learning_rate": 1e-4,
            "digest": "9" * 64,
            "config_digest": "9" * 64,
            "original_digest": "9" * 64,
            "tokenizer_digest": "9" * 64,
            **dict.fromkeys(("parameters", "steps", "batch_size", "seed"), 7),
            **dict.fromkeys(("task", "dataset", "dataset_revision", "objective"), "other"),
            **dict.fromkeys(("base_model", "base_revision", "peft_type", "dtype"), "other"),
            **dict.fromkeys(("license", "note", "source_revision"), "other"),
        }
        unchanging = {"name", "source", "size_bytes", "here", "composition"}
        assert set(changes) | unchanging == {item.name for item in fields(NewVersion)}
        catalog.add(make_version())
        for number, (field, value) in enumerate(changes.items(), start=2):
            added = catalog.add(make_version(**{field: value}))
            assert (added.created, added.version.version) == (True, number), field

    def test_another_way_to_compose_is_another_version(
        self, catalog: Catalog, make_version: Make
    ) -> None:
        assert catalog.add(composed(make_version)).created
        same = composition(lock={"other": 1}, tool_versions={"isogloss": "9"})
        assert not catalog.add(composed(make_version, composition=same)).created
        renamed = tuple(replace(parent, name="x", version=9) for parent in composition().parents)
        same = composition(parents=renamed)
        assert not catalog.add(composed(make_version, composition=same)).created
        other = composition(expression="mean(task[en], lm[pt])")
        assert catalog.add(composed(make_version, composition=other)).version.version == 2

    def test_going_back_to_an_earlier_state_is_a_new_version(
        self, catalog: Catalog, make_version: Make
    ) -> None:
        catalog.add(make_version(note="one"))
        catalog.add(make_version(note="two"))
        assert catalog.add(make_version(note="one")).version.version == 3

    def test_versions_are_counted_for_each_name(self, catalog: Catalog, make_version: Make) -> None:
        for number in (1, 2, 3):
            for name in ("owner/a", "b"):
                added = catalog.add(make_version(name=name, note=str(number)))
                assert added.version.version == number
        assert labels(catalog.versions("b")) == ["b@v1", "b@v2", "b@v3"]
        assert catalog.names() == ["b", "owner/a"]

    def test_nothing_is_recorded_without_its_weights(
        self, catalog: Catalog, make_version: Make
    ) -> None:
        asked = []

        def stored(digest: str) -> bool:
            asked.append(digest)
            return False

        with pytest.raises(BlobError, match="are not in the store"):
            catalog.add(make_version(), stored=stored)
        assert asked == ["a" * 64]
        assert catalog.names() == []
        assert catalog.add(make_version(), stored=lambda digest: True).created

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
    def test_what_is_not_json_is_refused(
        self, catalog: Catalog, make_version: Make, value: object
    ) -> None:
        with pytest.raises(RecordError, match="cannot be recorded"):
            catalog.add(make_version(config={"r": value}))
        with pytest.raises(RecordError, match="cannot be recorded"):
            catalog.add(composed(make_version, composition=composition(lock={"r": value})))
        assert catalog.names() == []


class TestGetting:
    def test_near_misses_are_named(self, catalog: Catalog, make_version: Make) -> None:
        catalog.add(make_version())
        with pytest.raises(UnknownVersionError) as raised:
            catalog.get("xlsum-em")
        assert str(raised.value) == ("no adapter is named 'xlsum-em'; did you mean 'xlsum-en'?")
        with pytest.raises(UnknownVersionError, match=r"no adapter is named 'zzz'$"):
            catalog.versions("zzz")
        with pytest.raises(UnknownVersionError, match=r"'xlsum-en' has no version 2: .* only v1"):
            catalog.get("xlsum-en", 2)
        catalog.add(make_version(note="second"))
        with pytest.raises(UnknownVersionError, match=r"no version 0: it has v1 to v2"):
            catalog.get("xlsum-en", 0)

    def test_the_latest_is_the_highest(self, catalog: Catalog, make_version: Make) -> None:
        for number in range(1, 13):
            catalog.add(make_version(seed=number))
        assert catalog.get("xlsum-en").version == 12
        assert catalog.get("xlsum-en", 3).seed == 3

    def test_by_digest(self, catalog: Catalog, make_version: Make) -> None:
        catalog.add(make_version(name="b"))
        catalog.add(make_version(name="a", config_digest="9" * 64))
        catalog.add(make_version(name="c", digest="a" * 63 + "b"))
        assert labels(catalog.by_digest("a" * 6)) == ["a@v1", "b@v1", "c@v1"]
        assert labels(catalog.by_digest("a" * 64)) == ["a@v1", "b@v1"]
        assert labels(catalog.by_digest("a" * 64, "9" * 6)) == ["a@v1"]
        assert catalog.by_digest("b" * 10) == []
        for prefix in ("aaaaa", "A" * 10, "%" * 6, "g" * 6, "a" * 65):
            with pytest.raises(QueryError, match="6 to 64 hex digits"):
                catalog.by_digest(prefix)

    def test_composed(self, catalog: Catalog, make_version: Make) -> None:
        assert catalog.composed("e" * 64, "BF16") is None
        catalog.add(composed(make_version))
        catalog.add(composed(make_version, name="other"))
        assert catalog.composed("e" * 64, "F32") is None
        assert catalog.composed("9" * 64, "BF16") is None
        found = catalog.composed("e" * 64, "BF16")
        assert found is not None
        assert found.label == "other@v1"

    def test_tasks_and_references(self, catalog: Catalog, make_version: Make) -> None:
        catalog.add(make_version(name="a", task="xnli", digest="1" * 64))
        catalog.add(make_version(name="b", task=None, kind="lm", digest="2" * 64))
        catalog.add(make_version(name="c", task="xlsum", digest="2" * 64))
        assert catalog.tasks() == ["xlsum", "xnli"]
        assert catalog.referenced_digests() == {"1" * 64, "2" * 64}

    def test_a_second_opening_sees_the_same(
        self, catalog: Catalog, catalog_url: str, make_version: Make
    ) -> None:
        catalog.add(make_version())
        with Catalog.open(catalog_url) as other:
            assert other.get("xlsum-en") == catalog.get("xlsum-en")
            other.add(make_version(note="from the other"))
        assert catalog.get("xlsum-en").note == "from the other"

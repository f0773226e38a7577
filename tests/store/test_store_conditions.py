"""Filter trees against rows, the same on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isogloss.dsl.fields import FIELDS
from isogloss.store import COLUMNS, Catalog, Condition, NewVersion, QueryError
from isogloss.store.sql.conditions import DEEPEST_NESTING, MOST_COMPARISONS, to_sql
from sqlalchemy.dialects import postgresql, sqlite

Make = Callable[..., NewVersion]


def compare(field: str, operator: str, value: object) -> Condition:
    return ("compare", field, operator, value)


@pytest.fixture
def names(catalog: Catalog, make_version: Make) -> Callable[..., list[str]]:
    """Names of the adapters for which a condition holds, of four different ones."""
    catalog.add(make_version(name="en", digest="ab" + "1" * 62))
    catalog.add(
        make_version(
            name="pt",
            kind="lm",
            languages=("pt",),
            task=None,
            dataset="100%_done\\Café",
            steps=None,
            rank=8,
            learning_rate=1e-5,
            peft_type="LoRA",
            digest="ab" + "2" * 62,
        )
    )
    catalog.add(
        make_version(
            name="many",
            languages=("en", "ru"),
            task="xnli",
            dataset="100xydone",
            steps=6000,
            rank=16,
            alpha=2.5,
            peft_type="IA3",
            seed=2**62,
            digest="cd" * 32,
        )
    )
    newer = {"languages": ("en", "ru"), "task": "xnli", "peft_type": "IA3", "rank": 16}
    catalog.add(make_version(name="many", steps=7000, **newer))

    def ask(condition: Condition, **options: Any) -> list[str]:
        return [version.name for version in catalog.find(condition, **options)]

    return ask


Names = Callable[..., list[str]]


def test_the_fields_are_those_of_the_language() -> None:
    assert set(COLUMNS) == set(FIELDS)


COMPARISONS: list[tuple[str, str, object, list[str]]] = [
    ("name", "=", "en", ["en"]),
    ("name", "!=", "en", ["many", "pt"]),
    ("name", "~", "N", ["en", "many"]),
    ("kind", "=", "lm", ["pt"]),
    ("language", "=", "en", ["en"]),
    ("language", "=", "en,ru", ["many"]),
    ("language", "=", "ru, en", ["many"]),
    ("language", "~", "en", ["en", "many"]),
    ("task", "=", "xlsum", ["en"]),
    ("task", "!=", "xlsum", ["many", "pt"]),
    ("task", "~", "x", ["en", "many"]),
    ("dataset", "~", "100%_", ["pt"]),
    ("dataset", "~", "0%d", []),
    ("dataset", "~", "0__d", []),
    ("dataset", "~", "\\c", ["pt"]),
    ("dataset", "~", "e\\", ["pt"]),
    ("dataset", "~", "CAFÉ", ["pt"]),
    ("dataset", "~", "", ["en", "many", "pt"]),
    ("dataset", "~", "'; drop table versions; --", []),
    ("peft", "=", "lora", ["en", "pt"]),
    ("peft", "!=", "Lora", ["many"]),
    ("steps", "=", 5000, ["en"]),
    ("steps", "!=", 5000, ["many", "pt"]),
    ("steps", ">=", 5000, ["en", "many"]),
    ("steps", ">", 5000, ["many"]),
    ("steps", "<", 5000.5, ["en"]),
    ("steps", ">", 4999.5, ["en", "many"]),
    ("steps", "=", 4999.5, []),
    ("steps", "<", Fraction(10001, 2), ["en"]),
    ("steps", "<=", 10**30, ["en", "many"]),
    ("rank", "<", 2**40, ["en", "many", "pt"]),
    ("rank", "<=", 8, ["en", "pt"]),
    ("rank", "=", Fraction(8), ["pt"]),
    ("alpha", "=", 8, ["en", "many", "pt"]),
    ("learning_rate", "=", 3e-4, ["en", "many"]),
    ("learning_rate", "<", Fraction(1, 10000), ["pt"]),
    ("version", ">", 1, ["many"]),
    ("size", "=", 8192, ["en", "many", "pt"]),
    ("digest", "=", "sha256:ab2", ["pt"]),
    ("digest", "=", "AB" + "1" * 62, ["en"]),
    ("digest", "!=", "ab", ["many"]),
]


def test_comparisons(names: Names) -> None:
    for field, operator, value, expected in COMPARISONS:
        case = (field, operator, value)
        assert names(compare(*case)) == expected, case
        rest = sorted({"en", "many", "pt"} - set(expected))
        assert names(("not", compare(*case))) == rest, case


def test_every_field_can_be_compared_and_sorted_by(names: Names) -> None:
    values: dict[str, object] = {"text": "x", "language": "en", "number": 3, "date": "2000"}
    for field, kind in FIELDS.items():
        condition = ("flag", field) if kind == "flag" else compare(field, "!=", values[kind])
        if field in ("digest", "config_digest"):
            condition = compare(field, "!=", "0")
        names(condition)
        assert len(names(("and", ()), sort=field)) == 3
        assert len(names(("and", ()), sort=f"-{field}")) == 3


def test_conditions_combine(names: Names) -> None:
    task, steps = compare("task", "=", "xnli"), compare("steps", ">=", 5000)
    assert names(("and", (task, steps))) == ["many"]
    assert names(("or", (task, compare("name", "=", "pt")))) == ["many", "pt"]
    assert names(("and", (("not", task), steps))) == ["en"]
    assert names(("not", ("or", (task, steps)))) == ["pt"]
    assert names(("and", ())) == ["en", "many", "pt"]
    assert names(("or", ())) == []
    assert names(("not", ("flag", "withdrawn"))) == ["en", "many", "pt"]
    assert names(("flag", "withdrawn")) == []


def test_the_latest_versions_are_asked_unless_all_are_wanted(names: Names) -> None:
    older = compare("steps", "=", 6000)
    assert names(older) == []
    assert names(older, latest=False) == ["many"]
    assert names(("and", ()), latest=False) == ["en", "many", "many", "pt"]


def test_order_and_limit(catalog: Catalog, names: Names) -> None:
    assert names(("and", ()), sort="steps") == ["en", "many", "pt"]
    assert names(("and", ()), sort="-steps") == ["many", "en", "pt"]
    assert names(("and", ()), sort="-created") == ["many", "pt", "en"]
    assert names(("and", ()), sort="-name", limit=2) == ["pt", "many"]
    assert names(("and", ()), limit=0) == []
    versions = [v.version for v in catalog.find(sort="-version", latest=False) if v.name == "many"]
    assert versions == [2, 1]


def test_names_are_ordered_by_code_point(catalog: Catalog, make_version: Make) -> None:
    for name in ("b", "a_", "B", "ä", "a.b", "aB", "A"):
        catalog.add(make_version(name=name))
    expected = sorted(("b", "a_", "B", "ä", "a.b", "aB", "A"))
    assert [version.name for version in catalog.find()] == expected
    assert [version.name for version in catalog.find(sort="-name")] == expected[::-1]


def test_times(catalog: Catalog, make_version: Make) -> None:
    created = catalog.add(make_version()).version.created_at
    year, day = f"{created:%Y}", f"{created:%Y-%m-%d}"

    def holds(operator: str, value: object) -> bool:
        return bool(catalog.find(compare("created", operator, value)))

    for value in (year, int(year), day, f"{created:%Y-%m}", created.isoformat()):
        assert holds("=", value)
        assert holds(">=", value)
        assert holds("<=", value)
        assert not holds("!=", value)
        assert not holds("<", value)
        assert not holds(">", value)
    for earlier in ("1999", "2001-12", "2001-12-31", "2001-01-01T10:00:00+02:00"):
        assert holds(">", earlier)
        assert not holds("<=", earlier)
        assert holds("!=", earlier)
    moved = datetime.fromtimestamp(created.timestamp() + 1, UTC).isoformat()
    assert holds("<", moved)


IMPOSSIBLE: list[tuple[Condition, str]] = [
    (compare("stpes", "=", 1), "unknown field 'stpes'; did you mean 'steps'"),
    (("flag", "withdrwan"), "unknown field 'withdrwan'; did you mean 'withdrawn'?"),
    (("flag", "steps"), "'steps' is not yes or no: compare it with a value"),
    (compare("withdrawn", "=", "yes"), "'withdrawn' is yes or no: write 'withdrawn'"),
    (compare("steps", "=", "many"), "'steps' is a number, and 'many' is not"),
    (compare("steps", "=", True), "'steps' is a number, and True is not"),
    (compare("steps", "~", 5), "~ is for text"),
    (compare("steps", "<", float("inf")), "the number is too large"),
    (compare("steps", "<", float("nan")), "'steps' cannot be compared with nan"),
    (compare("steps", "<", 10**400), "the number is too large"),
    (compare("task", "=", 5), 'quote the value, task = "5"'),
    (compare("task", "<", "a"), "'task' is text and has no order"),
    (compare("task", "=", "\x00"), "holds a character that is not text"),
    (compare("task", "==", "a"), "unknown operator '=='"),
    (compare("digest", "=", "xyz"), "'xyz' is not a digest"),
    (compare("created", "=", "last week"), "write a year, a month, a day or an instant"),
    (compare("created", ">", "2026-13"), "'created' cannot be compared with '2026-13'"),
    (compare("created", ">", "9999"), "'created' cannot be compared with '9999'"),
    (compare("created", "~", "2026"), "'created' is a time"),
    (("xor", ()), "is not a condition"),
    (("or", (compare("steps", "=", 1),) * (MOST_COMPARISONS + 1)), "are too many: at most"),
]


def test_what_cannot_be_asked(catalog: Catalog) -> None:
    for condition, message in IMPOSSIBLE:
        with pytest.raises(QueryError) as raised:
            catalog.find(condition)
        assert message in str(raised.value)


def test_what_cannot_be_ordered_or_limited(catalog: Catalog) -> None:
    with pytest.raises(QueryError, match="unknown field 'setps'; did you mean 'steps'"):
        catalog.find(sort="-setps")
    with pytest.raises(QueryError, match="limit -1 is negative"):
        catalog.find(limit=-1)


def test_as_many_comparisons_as_are_allowed(catalog: Catalog, make_version: Make) -> None:
    catalog.add(make_version())
    many = tuple(compare("steps", "!=", number) for number in range(MOST_COMPARISONS))
    assert len(catalog.find(("and", many))) == 1


def test_conditions_as_deep_as_are_allowed(catalog: Catalog, make_version: Make) -> None:
    catalog.add(make_version())
    deep: Condition = compare("steps", "=", 5000)
    for _ in range(1000 // 4):
        deep = ("not", deep)
    for level in range(DEEPEST_NESTING):
        other = compare("rank", "=", 4) if level % 2 else compare("rank", "!=", 4)
        deep = ("and" if level % 2 else "or", (compare("seed", "=", 42), other, deep))
    assert len(catalog.find(deep)) == 1
    assert catalog.find(("not", deep)) == []
    with pytest.raises(QueryError, match="write it flatter"):
        catalog.find(("and", (deep,)))


_FIELD_VALUES = st.one_of(
    st.tuples(
        st.just("compare"),
        st.sampled_from(["task", "name", "language"]),
        st.sampled_from(["=", "!=", "~"]),
        st.sampled_from(["zqx'", 'zqx"; --', "zqx%", "zqx)", ":zqx", "%(zqx)s"]),
    ),
    st.tuples(
        st.just("compare"),
        st.sampled_from(["steps", "rank"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        st.integers(770_000, 779_999),
    ),
    st.just(("flag", "withdrawn")),
)
_CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    _FIELD_VALUES,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


@given(_CONDITIONS)
@settings(max_examples=60)
def test_values_are_bound_never_written_into_the_sql(condition: Condition) -> None:
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        written = str(to_sql(condition).compile(dialect=dialect))
        assert "zqx" not in written
        assert "77" not in written


def _holds(condition: Condition, row: dict[str, Any]) -> bool:
    match condition:
        case ("and", parts):
            return all(_holds(part, row) for part in parts)
        case ("or", parts):
            return any(_holds(part, row) for part in parts)
        case ("not", part):
            return not _holds(part, row)
        case ("compare", field, operator, value):
            found = row[field]
            return {
                "=": found == value,
                "!=": found != value,
                "<": found is not None and found < value,
                ">=": found is not None and found >= value,
            }[operator]
    raise AssertionError(condition)


_ROWS = [
    {"task": task, "steps": steps} for task in (None, "xlsum", "xnli") for steps in (None, 10, 20)
]
_SIMPLE: st.SearchStrategy[Condition] = st.recursive(
    st.one_of(
        st.tuples(
            st.just("compare"),
            st.just("task"),
            st.sampled_from(["=", "!="]),
            st.sampled_from(["xlsum", "xnli"]),
        ),
        st.tuples(
            st.just("compare"),
            st.just("steps"),
            st.sampled_from(["=", "!=", "<", ">="]),
            st.sampled_from([10, 15, 20]),
        ),
    ),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(condition=_SIMPLE)
def test_there_are_two_truth_values(
    catalog: Catalog, make_version: Make, condition: Condition
) -> None:
    if not catalog.names():
        for place, row in enumerate(_ROWS):
            catalog.add(make_version(name=f"row{place}", **row))
    expected = [f"row{place}" for place, row in enumerate(_ROWS) if _holds(condition, row)]
    assert [version.name for version in catalog.find(condition)] == expected

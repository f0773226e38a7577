"""Locks as strangers may write them: read to the last bit, or refused with the reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from isogloss.dsl.errors import WeightsError
from isogloss.dsl.meaning.lock import Lock, LockedAdapter, read_lock
from isogloss.dsl.meaning.plan import AdapterKey, Derived, ModuleFilter, Plan, Term

KEYS = [AdapterKey(letter * 64, "c" * 64) for letter in "ab"]
KEPT = (ModuleFilter(modules="q_proj"), ModuleFilter(first=0, last=3))
TIES = Derived(
    "ties",
    (("density", Fraction(1, 5)), ("majority_sign_method", "total"), ("normalize", "count")),
    tuple(Plan("elementwise", (Term(Fraction(1, 3), key),)) for key in KEYS),
)
LOCK = Lock(
    expression="ties(a, b, density=0.2) - 1/3*only(a, ...)",
    parameters={},
    context={},
    plan=Plan("elementwise", (Term(Fraction(-1, 3), KEYS[0], KEPT), Term(Fraction(1), TIES))),
    distances=(),
    dtype="float32",
    adapters=tuple(LockedAdapter(key, "a", 1, "acme/tiny") for key in KEYS),
    result=KEYS[1],
    files={},
    tools={},
    tolerance=1e-3,
)

Change = Callable[[dict[str, Any]], object]


def written(lock: Lock, change: Change) -> str:
    """A lock with something else in it, and a checksum that is right."""
    body = lock.as_json()
    del body["checksum"]
    change(body)
    plain = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    body["checksum"] = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
    return json.dumps(body)


def call(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["terms"][1]["call"]
    return found


WRONG: dict[str, tuple[Change, str]] = {
    "half a character": (lambda body: body.update(expression="\ud800"), "surrogates"),
    "an endless number": (
        lambda body: body["terms"][0].update(coefficient="1e999999999"),
        "is no fraction",
    ),
    "nothing": (lambda body: body["terms"][0].update(coefficient="0"), "zero"),
    "a fraction of zero": (lambda body: body["terms"][0].update(coefficient="1/0"), "zero"),
    "no terms": (lambda body: body.update(terms=[]), "a sum of nothing"),
    "semantics": (lambda body: body.update(semantics="magic"), "is no semantics"),
    "semantics within": (
        lambda body: call(body)["operands"][0].update(semantics="magic"),
        "is no semantics",
    ),
    "a list of semantics": (lambda body: body.update(semantics=["exact"]), "unhashable"),
    "an unknown function": (lambda body: call(body).update(function="tyes"), "no function known"),
    "a linear function": (lambda body: call(body).update(function="mean"), "no function known"),
    "too few adapters": (lambda body: call(body).update(function="slerp", numbers={"t": "1/2"},
                                                        words={}, operands=[]), "of 0 adapters"),
    "an option out of range": (
        lambda body: call(body)["numbers"].update(density="7"),
        "takes no density=7",
    ),
    "an option too many": (lambda body: call(body)["numbers"].update(k="1"), "takes no k=1"),
    "an option too few": (lambda body: call(body)["numbers"].clear(), "lacks density"),
    "a word that is none": (lambda body: call(body)["words"].update(normalize="x"), "normalize=x"),
    "options in a list": (lambda body: call(body).update(numbers=[]), "AttributeError"),
    "a digest": (lambda body: body["terms"][0].update(weights="../../etc"), "is no digest"),
    "a digest's type": (lambda body: body["result"].update(weights=5), "TypeError"),
    "a filter": (
        lambda body: body["terms"][0].update(filters=[{"modules": "("}]),
        "is no regular expression",
    ),
    "a layer": (lambda body: body["terms"][0].update(filters=[{"first": "1"}]), "is no number"),
    "a tolerance": (lambda body: body.update(tolerance=float("nan")), "is no tolerance"),
    "a name": (lambda body: body["adapters"][0].update(name=None), "is no text"),
}  # fmt: skip


def test_a_lock_is_read_as_it_was_written() -> None:
    for lock in (LOCK, replace(LOCK, plan=Plan("exact", LOCK.plan.terms[:1]), tolerance=None)):
        assert read_lock(lock.text()) == lock
        assert read_lock(written(lock, lambda body: None)) == lock


@pytest.mark.parametrize("name", WRONG)
def test_what_no_lock_holds_is_refused(name: str) -> None:
    change, message = WRONG[name]
    with pytest.raises(WeightsError, match="lacks or garbles a field") as caught:
        read_lock(written(LOCK, change))
    assert message in caught.value.message


def test_a_plan_of_other_terms_is_refused() -> None:
    text = written(LOCK, lambda body: body["terms"][0].update(coefficient="1/2"))
    with pytest.raises(WeightsError, match="contradicts itself"):
        read_lock(text)

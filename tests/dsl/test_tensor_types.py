"""Every PEFT type on three architectures: PEFT loads what is composed, and it is the promised sum.

The list of what holds for which type (dsl/algebra/types.py) is held against what happens.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from isogloss.dsl.algebra import ALGEBRAS
from isogloss.dsl.algebra.refused import REFUSED
from isogloss.dsl.algebra.types import TYPES, markdown
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.tensors.divergence import divergence
from peft.utils.peft_types import PeftType

from .peft_kinds import (
    CASES,
    KINDS,
    NO_CONV1D,
    RULES,
    UPDATES,
    assert_equal,
    coefficients,
    expected_sum,
)

if TYPE_CHECKING:
    from pathlib import Path

    from .peft_kinds import Bench

pytestmark = [
    # PEFT says so of every layer norm that it wraps, and of T5's embeddings.
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]


@pytest.mark.parametrize(("kind", "family"), CASES)
def test_elementwise_sums_are_those_of_the_parameters(bench: Bench, kind: str, family: str) -> None:
    operands, weights = bench.pair(kind, family), coefficients(kind)
    blueprint = bench.workshop.prepare("elementwise", *zip(weights, operands, strict=True))
    place = bench.workshop.write(blueprint)
    center = 1.0 if kind == "ia3" else 0.0
    expected = bench.by_hand(operands, tuple(map(float, weights)), center)
    assert_equal(bench.effect(place, kind, family), bench.effect(expected, kind, family))
    assert json.loads((place / "adapter_config.json").read_text())["inference_mode"] is True


@pytest.mark.parametrize(("kind", "family"), UPDATES)
def test_their_distance_from_the_exact_sum(bench: Bench, kind: str, family: str) -> None:
    terms = tuple(zip(coefficients(kind), bench.pair(kind, family), strict=True))
    blueprint = bench.workshop.prepare("elementwise", *terms)
    total = divergence(blueprint.sources, blueprint.sums).total
    changes = bench.changes(bench.workshop.write(blueprint), family)
    exact = expected_sum(bench, terms, family)
    lost = sum(float((changes[name] - one).square().sum()) for name, one in exact.items())
    size = sum(float(one.square().sum()) for one in exact.values())
    assert total.exact_norm == pytest.approx(size**0.5, rel=1e-4)
    assert total.relative == pytest.approx((lost / size) ** 0.5, rel=1e-4)
    assert not bench.workshop.prepare("exact", terms[0]).sums


@pytest.mark.parametrize(("kind", "family"), CASES)
def test_exact_sums_are_those_of_the_updates(bench: Bench, kind: str, family: str) -> None:
    operands, weights = bench.pair(kind, family), coefficients(kind)
    terms = tuple(zip(weights, operands, strict=True))
    if not KINDS[kind].is_closed:
        # One adapter is exact; a sum of two is none of its kind.
        with pytest.raises(IncompatibleError) as caught:
            bench.workshop.prepare("exact", *terms)
        assert caught.value.hint
        terms = (("1" if KINDS[kind].is_affine else "-0.4", operands[0]),)
    place = bench.workshop.write(bench.workshop.prepare("exact", *terms))
    if not KINDS[kind].adds:
        same = bench.workshop.write(bench.workshop.prepare("elementwise", *terms))
        if kind != "modules_to_save":
            assert_equal(bench.effect(place, kind, family), bench.effect(same, kind, family))
        return
    parts = [bench.changes(operand.path.parent, family) for _, operand in terms]
    expected = {
        name: sum(float(c) * part[name] for (c, _), part in zip(terms, parts, strict=True))
        for name in parts[0]
    }
    assert_equal(bench.changes(place, family), expected)


@pytest.mark.parametrize(("kind", "family"), CASES)
def test_coefficients_that_must_sum_to_one(bench: Bench, kind: str, family: str) -> None:
    one, other = bench.pair(kind, family)
    terms = ("0.6", one), ("0.6", other)
    if KINDS[kind].is_affine:
        with pytest.raises(IncompatibleError, match=r"sum to 1.2 there, expected 1"):
            bench.workshop.prepare("elementwise", *terms)
    else:
        bench.workshop.prepare("elementwise", *terms)
    stated = RULES[KINDS[kind].rules].coefficients
    assert stated == ("sum to 1" if KINDS[kind].is_affine else "any")


@pytest.mark.parametrize("kind", [k for k in KINDS if KINDS[k].families == NO_CONV1D])
def test_what_peft_has_no_gpt2_for(bench: Bench, kind: str) -> None:
    """Once PEFT has it, it belongs into the cases above."""
    with pytest.raises((TypeError, ValueError, NotImplementedError)):
        bench.workshop.trained(KINDS[kind].settings("gpt2"), bench.architectures["gpt2"]())


def test_every_type_that_peft_knows_is_composed_or_refused() -> None:
    known = {kind.value for kind in PeftType}
    assert known <= ALGEBRAS.keys() | REFUSED.keys()
    assert not ALGEBRAS.keys() & REFUSED.keys()
    for refusal in REFUSED.values():
        assert refusal.reason and refusal.remedy
    listed = {rules.peft_type for rules in TYPES} - {"-"}
    assert listed == ALGEBRAS.keys()
    assert {kind.rules for kind in KINDS.values()} == RULES.keys()


def test_the_readme_lists_the_types(root: Path) -> None:
    assert markdown() in (root / "README.md").read_text()

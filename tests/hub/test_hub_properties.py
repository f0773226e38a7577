"""What holds of every sum: its digest knows no order, and what cancels is refused."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.errors import CheckError
from isogloss.dsl.meaning.semantics import SEMANTICS, function_name
from isogloss.hub import AdapterHub

FEW = settings(max_examples=30, deadline=None, derandomize=True)
NAMES = ["lm-en", "lm-pt", "lm-yo", "lm-fr"]
COEFFICIENTS = st.fractions(-3, 3, max_denominator=20).filter(bool)
TERMS = st.lists(st.tuples(COEFFICIENTS, st.sampled_from(NAMES)), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, write_lora_into: Any) -> Iterator[AdapterHub]:
    """Four adapters of one base."""
    folder = tmp_path_factory.mktemp("properties")
    with AdapterHub.init(folder / "home") as opened:
        for seed, name in enumerate(NAMES):
            adapter = write_lora_into(folder, name, seed, modules=("model.layers.0.q_proj",))
            opened.add(adapter, kind="lm", language=name.removeprefix("lm-"))
        yield opened


def total(terms: list[tuple[Fraction, str]]) -> dict[str, Fraction]:
    summed: dict[str, Fraction] = {}
    for coefficient, name in terms:
        summed[name] = summed.get(name, Fraction(0)) + coefficient
    return {name: value for name, value in summed.items() if value}


@st.composite
def written(draw: st.DrawFn, terms: list[tuple[Fraction, str]]) -> str:
    """A sum in any order, with any brackets, common factors and bindings."""
    parts = [
        f'({c.numerator}/{c.denominator})*"{name}"' for c, name in draw(st.permutations(terms))
    ]
    while len(parts) > 1:
        at = draw(st.integers(0, len(parts) - 2))
        left, right = parts[at : at + 2]
        factor = draw(st.sampled_from(["2", "1/3", "-1.5"]))
        joined = draw(
            st.sampled_from(
                [
                    f"({left} + {right})",
                    f"({left} - (-({right})))",
                    f"({factor})*(({left})/({factor}) + ({right})/({factor}))",
                    f"sum({left}, {right})",
                    f"2*mean({left}, {right})",
                ]
            )
        )
        parts[at : at + 2] = [joined]
    return f"whole = {parts[0]}; whole" if draw(st.booleans()) else parts[0]


@FEW
@given(data=st.data(), terms=TERMS.filter(total), semantics=st.sampled_from(sorted(SEMANTICS)))
def test_the_digest_knows_no_order(
    hub: AdapterHub, data: st.DataObject, terms: list[tuple[Fraction, str]], semantics: str
) -> None:
    one, other = (data.draw(written(terms)) for _ in range(2))
    first, second = (hub.explain(text, semantics=semantics) for text in (one, other))
    assert first.digest == second.digest
    assert first.canonical == second.canonical
    coefficients = {term.name: Fraction(term.coefficient) for term in first.terms}
    assert coefficients == total(terms)


@FEW
@given(data=st.data(), terms=TERMS, semantics=st.sampled_from(sorted(SEMANTICS)))
def test_what_cancels_is_refused(
    hub: AdapterHub, data: st.DataObject, terms: list[tuple[Fraction, str]], semantics: str
) -> None:
    """However a sum is written: taken from itself it is nothing."""
    negated = [(-coefficient, name) for coefficient, name in terms]
    expression = data.draw(written([*terms, *negated]))
    if semantics != "elementwise" and not expression.startswith("whole"):
        expression = f"{function_name(semantics)}({expression})"
    with pytest.raises(CheckError, match="comes to nothing: every coefficient is zero"):
        hub.explain(expression, semantics=semantics)

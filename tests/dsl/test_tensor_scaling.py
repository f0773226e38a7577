"""Coefficients as float32 numbers, rounded once, and scalings compared exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.algebra.scaling import Scaling, float32
from isogloss.dsl.errors import IncompatibleError

FEW = settings(max_examples=15, deadline=None, derandomize=True)


@given(st.fractions(-(10**6), 10**6).filter(lambda value: abs(value) > Fraction(1, 10**9)))
@FEW
def test_coefficients_are_rounded_once(value: Fraction) -> None:
    nearest = float32(value)
    assert torch.tensor(nearest, dtype=torch.float32).item() == nearest
    for direction in (-torch.inf, torch.inf):
        neighbour = torch.nextafter(torch.tensor(nearest), torch.tensor(direction)).item()
        assert abs(Fraction(nearest) - value) <= abs(Fraction(neighbour) - value)


def test_a_coefficient_beside_a_midpoint_is_not_rounded_twice() -> None:
    midpoint = 1 + Fraction(1, 2**24)
    assert float32(midpoint) == 1.0
    assert float32(midpoint + Fraction(1, 10**30)) == 1 + 2**-23
    assert float32(-midpoint - Fraction(1, 10**30)) == -1 - 2**-23
    assert float32(1 + Fraction(3, 2**24) - Fraction(1, 10**30)) == 1 + 2**-23


@pytest.mark.parametrize("value", [Fraction(10) ** 40, Fraction(1, 10**50), -(Fraction(2) ** 128)])
def test_a_coefficient_outside_of_float32_is_refused(value: Fraction) -> None:
    with pytest.raises(IncompatibleError, match="outside of float32"):
        float32(value)


def test_scalings_are_compared_exactly() -> None:
    assert Scaling(Fraction(8), 4).signed_square == Scaling(Fraction(4), 4, True).signed_square
    assert Scaling(Fraction(8), 4).signed_square != Scaling(Fraction(-8), 4).signed_square
    assert Scaling(Fraction(3), 3).signed_square != Scaling(Fraction(3), 3, True).signed_square
    assert Scaling(Fraction(4), 4, True).plain_alpha == 8
    assert float(Scaling(Fraction(3), 2, True).value) == pytest.approx(3 / 2**0.5, rel=1e-15)

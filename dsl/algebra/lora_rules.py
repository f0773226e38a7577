"""How much of each adapter's factors goes into a sum that takes A and B each on its own.

Such a sum is A = sum a_i A_i and B = sum b_i B_i, so that its update has terms B_i A_j that belong
to no adapter. A rule says what a_i and b_i are for a coefficient c and a scaling s. One adapter
alone is changed by c^2 under `elementwise`, by c |c| under `onesided`, by c under `peft-linear`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from .scaling import Scaling, float32


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for the factors.

    Args:
        name: of the semantics.
        weights: what A and B are multiplied with, as float32 numbers.
        keeps_scaling: whether the result has the scaling that all parts must have, instead of 1.
        needs_equal_modules: whether an adapter must have factors wherever another one has them.
    """

    name: str
    weights: Callable[[Fraction, Scaling], tuple[float, float]]
    keeps_scaling: bool
    needs_equal_modules: bool


def _elementwise(coefficient: Fraction, scaling: Scaling) -> tuple[float, float]:
    weight = float32(coefficient)
    return weight, weight


def _onesided(coefficient: Fraction, scaling: Scaling) -> tuple[float, float]:
    return float32(abs(coefficient)), scaling.times(coefficient)


def _peft_linear(coefficient: Fraction, scaling: Scaling) -> tuple[float, float]:
    product = coefficient * scaling.value
    # Both the conversion and the root are rounded rightly by IEEE 754, so on any machine alike.
    root = float32(Fraction(math.sqrt(abs(product))))
    return math.copysign(root, product), root


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            # Chronopoulou et al. 2023, arXiv:2311.09344, equations 1 to 4.
            Rule("elementwise", _elementwise, keeps_scaling=True, needs_equal_modules=True),
            # Zhang et al. 2023, arXiv:2306.14870, with the scalings made part of B.
            Rule("onesided", _onesided, keeps_scaling=False, needs_equal_modules=True),
            # PEFT takes what there is at each module, and so does this.
            Rule("peft-linear", _peft_linear, keeps_scaling=False, needs_equal_modules=False),
        )
    }
)
"""The rules by the name of the semantics."""

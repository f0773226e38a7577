"""The functions of the language that are not linear: they prune, elect and turn, or lower ranks."""

from fractions import Fraction
from typing import Final

from .signatures import Function, FunctionParameter, Range

_TIES: Final = "Yadav et al. 2023, TIES-Merging, arXiv:2306.01708"
_DARE: Final = "Yu et al. 2023, Language Models are Super Mario, arXiv:2311.03099"
_BREADCRUMBS: Final = "Davari and Belilovsky 2023, Model Breadcrumbs, arXiv:2312.06795"
_SLERP: Final = "Shoemake 1985, Animating Rotation with Quaternion Curves, SIGGRAPH"
_MODEL_STOCK: Final = "Jang et al. 2024, Model Stock, arXiv:2403.19522"

_SHARE: Final = Range(Fraction(0), Fraction(1), low_is_open=True)
_UNIT: Final = Range(Fraction(0), Fraction(1))
_NATURAL: Final = Range(Fraction(0))
_POSITIVE: Final = Range(Fraction(1))

_X: Final = FunctionParameter("x", "adapter")
_ITEMS: Final = FunctionParameter("x", "items", variadic=True)
_DENSITY: Final = FunctionParameter("density", "scalar", range=_SHARE)
_SEED: Final = FunctionParameter("seed", "integer", required=False, default="0", range=_NATURAL)
_RANK: Final = FunctionParameter("rank", "integer", required=False, range=_POSITIVE)

_EACH: Final = "each tensor of the adapters, A and B apart; ranks and scalings stay"
_TRUE: Final = "the true update of each module, brought to rank= by truncation"

NONLINEAR: Final[tuple[Function, ...]] = (
    Function(
        name="ties",
        parameters=(
            _ITEMS,
            _DENSITY,
            FunctionParameter(
                "majority_sign_method",
                "word",
                required=False,
                default="total",
                choices=("total", "frequency"),
            ),
            FunctionParameter(
                "normalize",
                "word",
                required=False,
                default="count",
                choices=("count", "weight", "none"),
            ),
            _RANK,
        ),
        result="adapter",
        formula="sum of the trimmed x_i whose sign is the elected one, sign(sum of trimmed x_i), "
        "over their number (normalize=count), the sum of their coefficients (weight), or 1 (none)",
        citation=_TIES,
        summary="Trims each adapter to its largest values, elects a sign for each, and averages "
        "what agrees with it.",
        works_on="values",
        elementwise=_EACH,
        exact=_TRUE,
        is_symmetric=True,
    ),
    Function(
        name="trim",
        parameters=(_X, _DENSITY, _RANK),
        result="adapter",
        formula="the floor(density * n) values of x that are largest in magnitude, 0 for the rest",
        citation=_TIES,
        summary="Keeps the values that are largest in magnitude.",
        works_on="values",
        elementwise=_EACH,
        exact=_TRUE,
    ),
)
"""These functions, in the order in which they are listed."""

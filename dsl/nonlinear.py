"""The functions of the language that are not linear: they prune, elect and turn, or lower ranks."""

from fractions import Fraction
from typing import Final

from .signatures import Function, FunctionParameter, Range

_TIES: Final = "Yadav et al. 2023, TIES-Merging, arXiv:2306.01708"
_DARE: Final = "Yu et al. 2023, Language Models are Super Mario, arXiv:2311.03099"
_BREADCRUMBS: Final = "Davari and Belilovsky 2023, Model Breadcrumbs, arXiv:2312.06795"
_SLERP: Final = "Shoemake 1985, Animating Rotation with Quaternion Curves, SIGGRAPH"
_MODEL_STOCK: Final = "Jang et al. 2024, Model Stock, arXiv:2403.19522"
_ECKART_YOUNG: Final = (
    "Eckart and Young 1936, Psychometrika 1; LoKr: Van Loan and Pitsianis 1993, Approximation with "
    "Kronecker Products"
)
_CORE: Final = (
    "Panariello et al. 2025, Accurate and Efficient Low-Rank Model Merging in Core Space, "
    "arXiv:2509.17786; isotropic: Marczak et al. 2025, arXiv:2502.04959"
)

_SHARE: Final = Range(Fraction(0), Fraction(1), low_is_open=True)
_UNIT: Final = Range(Fraction(0), Fraction(1))
_NATURAL: Final = Range(Fraction(0))
_POSITIVE: Final = Range(Fraction(1))

_X: Final = FunctionParameter("x", "adapter")
_ITEMS: Final = FunctionParameter("x", "items", variadic=True)
_DENSITY: Final = FunctionParameter("density", "scalar", range=_SHARE)
_SEED: Final = FunctionParameter("seed", "integer", required=False, default="0", range=_NATURAL)
_RANK: Final = FunctionParameter("rank", "integer", required=False, range=_POSITIVE)
_ENERGY: Final = FunctionParameter("energy", "scalar", required=False, range=_SHARE)

_EACH: Final = (
    "each tensor of the adapters, A and B apart; ranks and scalings stay. Under onesided and "
    "peft-linear the same, with coefficients and scalings in the factors as these have them"
)
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
        name="dare",
        parameters=(_X, _DENSITY, _SEED, _RANK),
        result="adapter",
        formula="x / density where a number drawn at random is below density, else 0; drawn by "
        "Philox from the seed, the digest of x, the name of the tensor and the place in it",
        citation=_DARE,
        summary="Drops values at random and scales up the others; ties(dare(a, ...), dare(b, ...), "
        "density=1) is what others call dare_ties.",
        works_on="values",
        elementwise=_EACH,
        exact=_TRUE,
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
    Function(
        name="breadcrumbs",
        parameters=(
            _X,
            _DENSITY,
            FunctionParameter("gamma", "scalar", required=False, default="0.01", range=_UNIT),
            _RANK,
        ),
        result="adapter",
        formula="x without the floor(gamma * n) values that are largest in magnitude; of the rest "
        "the floor(density * n) largest, 0 for all others",
        citation=_BREADCRUMBS,
        summary="Drops the largest values as outliers and the smallest as noise.",
        works_on="values",
        elementwise=_EACH,
        exact=_TRUE,
    ),
    Function(
        name="slerp",
        parameters=(
            _X,
            FunctionParameter("y", "adapter"),
            FunctionParameter("t", "scalar", range=_UNIT),
            _RANK,
        ),
        result="adapter",
        formula="sin((1 - t) a) / sin(a) x + sin(t a) / sin(a) y for the angle a between x and y; "
        "(1 - t) x + t y where |cos(a)| > 0.9995",
        citation=_SLERP,
        summary="Goes from one adapter to another along the arc between them.",
        works_on="values",
        elementwise=_EACH,
        exact=_TRUE,
        fewest=2,
    ),
    Function(
        name="model_stock",
        parameters=(_ITEMS, _RANK),
        result="adapter",
        formula="t (x1 + ... + xN) / N, t = N c / (1 + (N - 1) c) for the mean c of the cosines "
        "between them; t = 0 where c < 0",
        citation=_MODEL_STOCK,
        summary="Averages adapters, and shrinks the average as they disagree in direction.",
        works_on="values",
        elementwise=_EACH,
        exact=_TRUE,
        is_symmetric=True,
        fewest=2,
    ),
    Function(
        name="truncate",
        parameters=(_X, _RANK, _ENERGY),
        result="adapter",
        formula="the update of that rank, or of the least that keeps that share of the sum of "
        "squared singular values, nearest to x in the Frobenius norm; of LoKr the nearest "
        "kron(W1, W2), W2 of that rank",
        citation=_ECKART_YOUNG,
        summary="Brings the true update to a lower rank with the least error, which is reported; "
        "of LoKr it gives LoKr, else LoRA.",
        one_of=("rank", "energy"),
        at_most_one=("rank", "energy"),
        works_on="updates",
    ),
    Function(
        name="lora",
        parameters=(
            _X,
            _RANK,
            _ENERGY,
            FunctionParameter("pad", "word", required=False, choices=("vllm",)),
        ),
        result="adapter",
        formula="B A nearest to x in the Frobenius norm; without rank= and energy= equal to x: "
        "kron(W1, B A) = kron(I, B) kron(W1, A), (B A) o (D C) = (B * D)(A * C)",
        citation=_ECKART_YOUNG,
        summary="Turns an adapter of any type that has updates into LoRA; pad=vllm widens it with "
        "zeros to a rank that vLLM serves (8, 16, 32, 64, 128, 256, 320, 512).",
        at_most_one=("rank", "energy"),
        works_on="updates",
    ),
    Function(
        name="core",
        parameters=(
            _ITEMS,
            FunctionParameter(
                "method", "word", required=False, default="ties", choices=("ties", "isotropic")
            ),
            FunctionParameter("density", "scalar", required=False, default="0.2", range=_SHARE),
            _RANK,
        ),
        result="adapter",
        formula="U M V^T, for U and V^T the singular vectors of all B side by side and of all A on "
        "top of each other, and M the cores U^T x_i V merged by ties(..., density), or their sum "
        "with all singular values made equal to their mean (isotropic)",
        citation=_CORE,
        summary="Merges true updates in the small space that they share.",
        works_on="updates",
        is_symmetric=True,
    ),
)
"""These functions, in the order in which they are listed."""

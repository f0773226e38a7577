"""The functions of the language: one flat list, from which checks, help and documents are made."""

from collections.abc import Mapping
from types import MappingProxyType

from .nonlinear import NONLINEAR
from .signatures import Function, FunctionParameter

__all__ = ["FUNCTIONS", "FUNCTION_BY_NAME", "Function", "FunctionParameter"]

_PAPER = (
    "Chronopoulou et al. 2023, Language and Task Arithmetic with Parameter-Efficient Layers "
    "for Zero-Shot Summarization, arXiv:2311.09344"
)
_TASK_ARITHMETIC = "Ilharco et al. 2023, Editing Models with Task Arithmetic, arXiv:2212.04089"
_ONE_SIDED = (
    "Zhang et al. 2023, Composing Parameter-Efficient Modules with Arithmetic Operations, "
    "arXiv:2306.14870"
)
_PEFT = "PEFT 0.21, LoraModel.add_weighted_adapter, https://github.com/huggingface/peft"
_ADAPTER = FunctionParameter("x", "adapter")
_LANGUAGE = FunctionParameter("T", "language")
_ALSO = FunctionParameter("also", "head", required=False)
_DISTANCES = ("syntactic", "geographic", "genetic", "mean")
_URIEL = "Littell et al. 2017, URIEL and lang2vec, EACL"

FUNCTIONS: tuple[Function, ...] = (
    Function(
        name="mean",
        parameters=(FunctionParameter("x", "items", variadic=True),),
        result="adapter",
        formula="(x1 + ... + xn) / n",
        citation=_PAPER,
        summary="The average of adapters; a set counts as all its members.",
    ),
    Function(
        name="sum",
        parameters=(FunctionParameter("x", "items", variadic=True),),
        result="adapter",
        formula="x1 + ... + xn",
        citation=_TASK_ARITHMETIC,
        summary="The sum of adapters; a set counts as all its members.",
    ),
    Function(
        name="only",
        parameters=(_ADAPTER, FunctionParameter("modules", "text")),
        result="adapter",
        formula="x restricted to the modules in whose name the regular expression is found",
        citation="isogloss",
        summary="Keeps the modules in whose name a regular expression is found.",
    ),
    Function(
        name="layers",
        parameters=(
            _ADAPTER,
            FunctionParameter("first", "integer", required=False),
            FunctionParameter("last", "integer", required=False),
        ),
        result="adapter",
        formula="x restricted to the modules of layers first to last, both included, from 0",
        citation="isogloss",
        summary="Keeps the modules of a range of layers, counted from 0.",
        one_of=("first", "last"),
    ),
    Function(
        name="exact",
        parameters=(_ADAPTER,),
        result="adapter",
        formula="sum of c_i s_i B_i A_i, kept as stacked factors",
        citation=_TASK_ARITHMETIC,
        summary="The true sum of the updates; the rank is the sum of the ranks.",
    ),
    Function(
        name="onesided",
        parameters=(_ADAPTER,),
        result="adapter",
        formula="A = sum of |c_i| A_i, B = sum of c_i s_i B_i, with scaling 1",
        citation=_ONE_SIDED,
        summary="A sum of factors with the signs on B alone; the coefficients stand inside.",
    ),
    Function(
        name="peft_linear",
        parameters=(_ADAPTER,),
        result="adapter",
        formula="A = sum of sgn(c_i s_i) sqrt|c_i s_i| A_i, B = sum of sqrt|c_i s_i| B_i, "
        "with scaling 1",
        citation=_PEFT,
        summary="What PEFT's add_weighted_adapter(..., combination_type='linear') gives; the "
        "coefficients stand inside.",
    ),
    Function(
        name="weighted",
        parameters=(
            FunctionParameter("x", "set"),
            FunctionParameter("to", "language"),
            FunctionParameter(
                "by", "word", required=False, default="syntactic", choices=_DISTANCES
            ),
        ),
        result="adapter",
        formula="sum of w_i x_i, w_i = (1 - distance(L_i, to)) / sum of all (1 - distance)",
        citation=_URIEL,
        summary="The average of a set, weighed by how close each language is to one.",
    ),
    *NONLINEAR,
    Function(
        name="related",
        parameters=(
            _LANGUAGE,
            FunctionParameter("syntactic", "scalar", required=False, default="0.7"),
            FunctionParameter("geographic", "scalar", required=False, default="0.3"),
            FunctionParameter("preset", "word", required=False, choices=("table5",)),
            _ALSO,
        ),
        result="languages",
        formula="{L != T : syntactic(L, T) < syntactic and geographic(L, T) < geographic}",
        citation=_PAPER,
        summary="The languages close to T in syntax and on the map, without T; also=lm keeps those"
        " that have an adapter there too.",
    ),
    Function(
        name="nearest",
        parameters=(
            _LANGUAGE,
            FunctionParameter("k", "integer"),
            FunctionParameter(
                "by",
                "word",
                required=False,
                default="syntactic",
                choices=_DISTANCES,
            ),
            _ALSO,
        ),
        result="languages",
        formula="the k languages L != T with the smallest distance to T",
        citation=_URIEL,
        summary="The k languages nearest to T, without T.",
    ),
    Function(
        name="family",
        parameters=(_LANGUAGE, _ALSO),
        result="languages",
        formula="{L != T : L and T are of one family}",
        citation="Hammarstroem et al., Glottolog",
        summary="The languages of T's family, without T.",
    ),
)

FUNCTION_BY_NAME: Mapping[str, Function] = MappingProxyType({one.name: one for one in FUNCTIONS})

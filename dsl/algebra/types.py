"""What holds for which PEFT type, in words: from this list come help and documents.

Each claim is held against what the algebras do by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_ONE: Final = "sum to 1"
_ANY: Final = "any"
_NOTHING: Final = "-"
_NEEDS_W: Final = "no: depends on W"
_AFFINE: Final = "p0 + sum of c (p - p0)"


@dataclass(frozen=True, slots=True)
class TypeRules:
    """What holds for a PEFT type.

    Attributes:
        name: for people.
        peft_type: as adapter_config.json has it; "-" for what any type may have beside it.
        update: what it does to a weight W, as PEFT computes it.
        elementwise, exact: what a sum is under these semantics.
        coefficients: which ones a sum can have.
        truncate, lora: the PEFT type of what these functions make of it, or why they do not.
        citation: where the type comes from.
    """

    name: str
    peft_type: str
    update: str
    elementwise: str
    exact: str
    coefficients: str
    truncate: str
    lora: str
    citation: str


TYPES: Final[tuple[TypeRules, ...]] = (
    TypeRules(
        name="LoRA, rsLoRA",
        peft_type="LORA",
        update="W + s B A",
        elementwise="A and B; equal ranks and scalings",
        exact="stacked factors, rank = sum of ranks",
        coefficients=_ANY,
        truncate="LoRA",
        lora="LoRA",
        citation="Hu et al. 2021, arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732",
    ),
    TypeRules(
        name="DoRA",
        peft_type="LORA",
        update="m (W + s B A) / norm of its rows",
        elementwise="A, B and m; equal ranks and scalings",
        exact="one adapter a module, as it is",
        coefficients=_ONE,
        truncate=_NEEDS_W,
        lora=_NEEDS_W,
        citation="Liu et al. 2024, arXiv:2402.09353",
    ),
    TypeRules(
        name="AdaLoRA",
        peft_type="ADALORA",
        update="W + s P diag(E) Q",
        elementwise="P, E and Q; equal init_r, alpha and kept ranks",
        exact="stacked factors, coefficients in E: AdaLoRA again",
        coefficients=_ANY,
        truncate="LoRA",
        lora="LoRA",
        citation="Zhang et al. 2023, arXiv:2303.10512",
    ),
    TypeRules(
        name="LoKr",
        peft_type="LOKR",
        update="W + s kron(W1, W2)",
        elementwise="every factor of W1 and W2; equal shapes and scalings",
        exact="one adapter a module; of a sum only what truncate or lora ends",
        coefficients=_ANY,
        truncate="LoKr: the nearest one",
        lora="LoRA; without a decomposition where W2 is factored",
        citation="Edalati et al. 2022, arXiv:2212.10650; Yeh et al. 2023, arXiv:2309.14859",
    ),
    TypeRules(
        name="LoHa",
        peft_type="LOHA",
        update="W + s (W1a W1b) o (W2a W2b)",
        elementwise="every factor of W1 and W2; equal shapes and scalings",
        exact="one adapter a module; of a sum only what truncate or lora ends",
        coefficients=_ANY,
        truncate="LoRA",
        lora="LoRA; without a decomposition of rank r squared",
        citation="Hyeon-Woo et al. 2022, arXiv:2108.06098; Yeh et al. 2023, arXiv:2309.14859",
    ),
    TypeRules(
        name="VeRA",
        peft_type="VERA",
        update="W + diag(b) B diag(d) A",
        elementwise="b and d; A and B must be the same, saved or of one seed",
        exact="one adapter a module",
        coefficients=_ANY,
        truncate="no: cuts A to the size of W",
        lora="no: cuts A to the size of W",
        citation="Kopiczko et al. 2023, arXiv:2310.11454",
    ),
    TypeRules(
        name="IA3",
        peft_type="IA3",
        update="diag(l) W, or W diag(l)",
        elementwise="1 + sum of c (l - 1); a module that an adapter lacks counts as ones",
        exact="the same",
        coefficients=_ANY,
        truncate=_NEEDS_W,
        lora=_NEEDS_W,
        citation="Liu et al. 2022, arXiv:2205.05638; Zhang et al. 2023, arXiv:2306.14870",
    ),
    TypeRules(
        name="prompt tuning",
        peft_type="PROMPT_TUNING",
        update=_NOTHING,
        elementwise="the embeddings before the text, of equal number",
        exact="the same",
        coefficients=_ANY,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="Lester et al. 2021, arXiv:2104.08691",
    ),
    TypeRules(
        name="prefix tuning",
        peft_type="PREFIX_TUNING",
        update=_NOTHING,
        elementwise="the keys and values before the text, of equal number",
        exact="the same",
        coefficients=_ANY,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="Li and Liang 2021, arXiv:2101.00190",
    ),
    TypeRules(
        name="p-tuning",
        peft_type="P_TUNING",
        update=_NOTHING,
        elementwise="the embeddings before the text, of equal number",
        exact="the same",
        coefficients=_ANY,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="Liu et al. 2021, arXiv:2103.10385",
    ),
    TypeRules(
        name="LN tuning",
        peft_type="LN_TUNING",
        update="other norms in place of W",
        elementwise=_AFFINE,
        exact="the same",
        coefficients=_ONE,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="Zhao et al. 2023, arXiv:2312.11420",
    ),
    TypeRules(
        name="trainable tokens",
        peft_type="TRAINABLE_TOKENS",
        update="other rows in place of W's",
        elementwise=_AFFINE,
        exact="the same",
        coefficients=_ONE,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="PEFT, TrainableTokensConfig, https://github.com/huggingface/peft",
    ),
    TypeRules(
        name="modules_to_save, trained biases, trained tokens beside these",
        peft_type=_NOTHING,
        update="other values in place of W",
        elementwise=_AFFINE,
        exact="the same",
        coefficients=_ONE,
        truncate="carried along",
        lora="carried along",
        citation="PEFT, https://github.com/huggingface/peft",
    ),
)
"""What holds, type by type; those that are not here are refused, and `REFUSED` has the reasons."""

_COLUMNS: Final = {
    "name": "type",
    "update": "W becomes",
    "elementwise": "`elementwise` sums",
    "exact": "`exact` sums",
    "coefficients": "coefficients",
    "truncate": "`truncate` gives",
    "lora": "`lora` gives",
}


def markdown() -> str:
    """The list as a table of a README."""
    rows = [[getattr(one, name) for name in _COLUMNS] for one in TYPES]
    lines = [list(_COLUMNS.values()), ["---"] * len(_COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

"""What holds for which PEFT type, in words: from this list come help and documents.

Each claim is held against what the algebras do by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

_EACH: Final = "each factor on its own"
_ALONE: Final = "one adapter a module; a sum inside truncate(...) or lora(...)"
_ONE: Final = "they sum to 1"
_ANY: Final = "any"
_NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class TypeRules:
    """What holds for a PEFT type.

    Attributes:
        name: for people.
        peft_type: as adapter_config.json has it.
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
        update="W + s B A, s = alpha/r or alpha/sqrt(r)",
        elementwise=_EACH,
        exact="factors stacked; the rank is the sum of ranks",
        coefficients=_ANY,
        truncate="LoRA",
        lora="LoRA",
        citation="Hu et al. 2021, arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732",
    ),
    TypeRules(
        name="DoRA",
        peft_type="LORA",
        update="m (W + s B A) / |W + s B A|, by rows",
        elementwise="each factor on its own, magnitudes m averaged",
        exact="one adapter a module",
        coefficients=_ONE,
        truncate="no: depends on W",
        lora="no: depends on W",
        citation="Liu et al. 2024, arXiv:2402.09353",
    ),
    TypeRules(
        name="AdaLoRA",
        peft_type="ADALORA",
        update="W + s P diag(E) Q, s = alpha/(init_r + 1e-5)",
        elementwise=_EACH,
        exact="factors stacked; the rank is the sum of ranks",
        coefficients=_ANY,
        truncate="LoRA",
        lora="LoRA",
        citation="Zhang et al. 2023, arXiv:2303.10512",
    ),
    TypeRules(
        name="LoKr",
        peft_type="LOKR",
        update="W + s kron(W1, W2), s = alpha/r",
        elementwise=_EACH,
        exact=_ALONE,
        coefficients=_ANY,
        truncate="LoKr: the nearest one",
        lora="LoRA; without a decomposition where W2 is factored",
        citation="Edalati et al. 2022, arXiv:2212.10650; Yeh et al. 2023, arXiv:2309.14859",
    ),
    TypeRules(
        name="LoHa",
        peft_type="LOHA",
        update="W + s (W1a W1b) o (W2a W2b), s = alpha/r",
        elementwise=_EACH,
        exact=_ALONE,
        coefficients=_ANY,
        truncate="LoRA",
        lora="LoRA; of rank r^2 without a decomposition",
        citation="Hyeon-Woo et al. 2022, arXiv:2108.06098; Yeh et al. 2023, arXiv:2309.14859",
    ),
    TypeRules(
        name="VeRA",
        peft_type="VERA",
        update="W + diag(b) B diag(d) A, with A and B the same for all",
        elementwise="b and d each on its own; A and B must be equal",
        exact=_ALONE,
        coefficients=_ANY,
        truncate="LoRA",
        lora="LoRA",
        citation="Kopiczko et al. 2023, arXiv:2310.11454",
    ),
    TypeRules(
        name="IA3",
        peft_type="IA3",
        update="diag(l) W, for inputs W diag(l)",
        elementwise="1 + sum of c (l - 1)",
        exact="the same",
        coefficients=_ANY,
        truncate="no: depends on W",
        lora="no: depends on W",
        citation="Liu et al. 2022, arXiv:2205.05638; Zhang et al. 2023, arXiv:2306.14870",
    ),
    TypeRules(
        name="prompt tuning",
        peft_type="PROMPT_TUNING",
        update="embeddings before the text",
        elementwise="the embeddings",
        exact="the same",
        coefficients=_ANY,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="Lester et al. 2021, arXiv:2104.08691",
    ),
    TypeRules(
        name="prefix tuning",
        peft_type="PREFIX_TUNING",
        update="keys and values before the text, in all layers",
        elementwise="the keys and values",
        exact="the same",
        coefficients=_ANY,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="Li and Liang 2021, arXiv:2101.00190",
    ),
    TypeRules(
        name="p-tuning",
        peft_type="P_TUNING",
        update="embeddings before the text",
        elementwise="the embeddings",
        exact="the same",
        coefficients=_ANY,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="Liu et al. 2021, arXiv:2103.10385",
    ),
    TypeRules(
        name="LN tuning",
        peft_type="LN_TUNING",
        update="norms in place of the base model's",
        elementwise="affine: p0 + sum of c (p - p0)",
        exact="the same",
        coefficients=_ONE,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="Zhao et al. 2023, arXiv:2312.11420",
    ),
    TypeRules(
        name="trainable tokens",
        peft_type="TRAINABLE_TOKENS",
        update="rows in place of the embedding's",
        elementwise="affine: p0 + sum of c (p - p0)",
        exact="the same",
        coefficients=_ONE,
        truncate=_NOTHING,
        lora=_NOTHING,
        citation="PEFT 0.14, https://github.com/huggingface/peft",
    ),
    TypeRules(
        name="beside any of these: modules_to_save, biases, tokens",
        peft_type=_NOTHING,
        update="values in place of the base model's",
        elementwise="affine: p0 + sum of c (p - p0)",
        exact="the same",
        coefficients=_ONE,
        truncate="no: leave them out with only(...)",
        lora="no: leave them out with only(...)",
        citation="PEFT, https://github.com/huggingface/peft",
    ),
)
"""What holds, type by type; those that are not here are refused, and `REFUSED` has the reasons."""

HEADINGS: Final = (
    "type",
    "in PEFT",
    "what it does to W",
    "elementwise sum",
    "exact sum",
    "coefficients",
    "truncate gives",
    "lora gives",
)
"""The columns of the list as a table; its citations are none of them."""


def rows() -> list[tuple[str, ...]]:
    """The list as rows of a table."""
    return [tuple(getattr(one, field.name) for field in fields(one)[:-1]) for one in TYPES]


def markdown() -> str:
    """The list as a table of a README."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *rows()]
    shown = ("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
    return "\n".join(shown)

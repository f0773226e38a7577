"""DoRA within LoRA (Liu et al. 2024, arXiv:2402.09353): m (W + s B A) / |W + s B A|, row by row.

The direction's factors are LoRA's, and the magnitudes m replace the norms of W's rows, so that they
are summed around those, which no adapter holds: right where the coefficients sum to 1. What a DoRA
adapter adds to W depends on W itself, so that a true sum of updates is not known without it: under
any semantics but `elementwise` one adapter may stand alone, with coefficient 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..errors import IncompatibleError, quoted
from ..meaning.semantics import function_name
from .interface import Operand

FIELD: Final = "use_dora"
"""The field of a configuration that says so."""

MAGNITUDE: Final = ".lora_magnitude_vector"
"""What the names of magnitudes have after the module's."""

SUM_HINT: Final = (
    "the norms of the base model's own weights are in no adapter, so that the coefficients must "
    "sum to 1 (as in mean(...)), and all adapters must be DoRA"
)
"""What to do where magnitudes cannot be summed."""


def trained(operand: Operand, module: str) -> str:
    """How messages say that an adapter has magnitudes at a module."""
    return (
        f"{operand.quoted} is a DoRA adapter: its magnitudes of {quoted(module, 120)} replace "
        "norms of the base model's weights"
    )


def unknown_update(operand: Operand) -> IncompatibleError:
    """Why the update of a DoRA adapter is not known."""
    return IncompatibleError(
        f"{operand.quoted} is a DoRA adapter: what it adds to the base model's weights depends on "
        "these, so that its update is not known without them",
        hint="merge it into a model of its own",
    )


def require_sums(
    semantics: str,
    taking_part: Mapping[str, Sequence[Operand]],
    with_magnitudes: Iterable[str],
) -> None:
    """Refuse sums that DoRA has no meaning for.

    Args:
        semantics: what is asked for.
        taking_part: the adapters that are summed at each module of the result.
        with_magnitudes: the modules for which any of these has magnitudes.

    Raises:
        IncompatibleError: several adapters are summed under another semantics than `elementwise`,
            or only some of the result's modules have magnitudes.
    """
    magnitudes = frozenset(with_magnitudes) & taking_part.keys()
    if not magnitudes:
        return
    for module in sorted(magnitudes):
        operands = taking_part[module]
        if semantics != "elementwise" and len(operands) > 1:
            raise IncompatibleError(
                f"{trained(operands[0], module)}, and what it adds to these is no product of "
                f"factors, so that there is no sum of updates for {semantics}",
                hint=f"leave {function_name(semantics)}(...) out to sum factors and magnitudes "
                "element by element",
            )
    plain = sorted(taking_part.keys() - magnitudes)
    if plain:
        one, other = min(magnitudes), plain[0]
        raise IncompatibleError(
            f"{trained(taking_part[one][0], one)}, but {quoted(other, 120)} has none in "
            f"{taking_part[other][0].quoted}, and PEFT takes all modules for DoRA or none",
            hint="compose DoRA adapters with each other",
        )

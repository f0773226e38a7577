"""The functions of updates: truncate, lora, core; which one a call means, and what it needs.

Names, options and words for people are in the list of functions of the language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ..errors import CheckError, IncompatibleError, UnsupportedError, quoted
from .interface import Bound, Options, UpdateFunction
from .ranks import served_rank
from .results import LOKR, LORA, whole_from

if TYPE_CHECKING:
    from ..algebra.interface import UpdateLayout
    from .kronecker import NearestKronecker
    from .truncation import Truncation
    from .updates import Update

_FLOAT64_BYTES: Final = 8
# What rows of an update take while they are made.
_BLOCK_BYTES: Final = 64 << 20


def _limits(options: Options) -> dict[str, Any]:
    """rank= as an integer, energy= as a number, whichever is given."""
    limits: dict[str, Any] = {}
    if "rank" in options:
        limits["rank"] = int(options["rank"])
    if "energy" in options:
        limits["energy"] = float(options["energy"])
    return limits


def _truncated_rank(options: Options, bounds: Sequence[Bound]) -> int:
    (bound,) = bounds
    most = min(bound.rank, bound.rows, bound.columns)
    return min(most, int(options["rank"])) if "rank" in options else most


def _truncation_bytes(options: Options, bounds: Sequence[Bound]) -> int:
    """The factors or the matrix, their triangles, and the decomposition of a small core."""
    from .krylov import bytes_needed

    (bound,) = bounds
    sides = bound.rows + bound.columns
    rank = _truncated_rank(options, bounds)
    if bound.is_kronecker:
        return _FLOAT64_BYTES * (8 * _halves(bound) + 5 * sides * rank + 6 * rank**2)
    elements = bound.rows * bound.columns
    if bound.is_dense and "rank" in options:
        return 4 * elements + _BLOCK_BYTES + bytes_needed(bound.rows, bound.columns, rank)
    inner = min(bound.rank, bound.rows, bound.columns)
    whole = 3 * elements if bound.is_dense else 3 * sides * inner
    return _FLOAT64_BYTES * (whole + 10 * inner**2 + 3 * sides * rank)


def _halves(bound: Bound) -> int:
    """The number of elements of W1 and W2 together."""
    return sum(rows * columns for rows, columns in bound.halves or ())


def _truncate(options: Options, updates: Sequence[Update], module: str) -> Truncation:
    from .reduction import nearest_low_rank

    return nearest_low_rank(updates[0], **_limits(options))


def _lora_rank(options: Options, bounds: Sequence[Bound]) -> int:
    (bound,) = bounds
    if _limits(options):
        rank = _truncated_rank(options, bounds)
    elif bound.is_narrow:
        rank = bound.rank
    else:
        raise IncompatibleError(
            f"the update has no exact factors that are smaller than itself: it is of "
            f"{bound.rows} x {bound.columns} numbers, and they would have rank {bound.rank}",
            hint="say how near it must come: rank=... or energy=...",
        )
    return served_rank(rank) if options.get("pad") == "vllm" and "energy" not in options else rank


def _lora_bytes(options: Options, bounds: Sequence[Bound]) -> int:
    if _limits(options):
        return _truncation_bytes(options, bounds)
    (bound,) = bounds
    return 2 * _FLOAT64_BYTES * (bound.rows + bound.columns) * bound.rank


def _lora(options: Options, updates: Sequence[Update], module: str) -> Truncation:
    from .reduction import exact_factors, nearest_low_rank

    limits = _limits(options)
    return nearest_low_rank(updates[0], **limits) if limits else exact_factors(updates[0])


def _core_size(bounds: Sequence[Bound]) -> int:
    """The most directions that updates can have in common."""
    first = bounds[0]
    return min(first.rows, first.columns, sum(bound.rank for bound in bounds))


def _core_rank(options: Options, bounds: Sequence[Bound]) -> int:
    size = _core_size(bounds)
    return min(size, int(options["rank"])) if "rank" in options else size


def _core_bytes(options: Options, bounds: Sequence[Bound]) -> int:
    size, sides = _core_size(bounds), bounds[0].rows + bounds[0].columns
    stacked = sides * sum(bound.rank for bound in bounds)
    return _FLOAT64_BYTES * (4 * stacked + (2 * len(bounds) + 10) * size**2 + 3 * sides * size)


def _core(options: Options, updates: Sequence[Update], module: str) -> Truncation:
    import torch

    from ..merging.ties import ties
    from .core import core_space, isotropic

    there = [update for update in updates if update.terms]
    space = core_space([update.factors() for update in there])
    if options["method"] == "isotropic":
        merged = isotropic(torch.stack(space.cores).sum(dim=0))
    else:
        cores = [core.float() for core in space.cores]
        merged = ties(cores, Fraction(options["density"])).double()
    return space.back(merged, int(options["rank"]) if "rank" in options else None)


def _lokr_rank(options: Options, bounds: Sequence[Bound]) -> int:
    """That of W2, and no more than PEFT needs to lay it out whole."""
    (bound,) = bounds
    _, second = bound.halves or ((1, 1), (bound.rows, bound.columns))
    return min(int(options["rank"]), whole_from(second))


def _lokr_bytes(options: Options, bounds: Sequence[Bound]) -> int:
    (bound,) = bounds
    return _FLOAT64_BYTES * _halves(bound) * (6 * bound.terms + 12)


def _nearest_lokr(options: Options, updates: Sequence[Update], module: str) -> NearestKronecker:
    from .kronecker import halves_shapes, nearest_kronecker

    rank = int(options["rank"])
    halves = halves_shapes(updates[0])
    whole = halves is None or rank >= whole_from(halves[1])
    return nearest_kronecker(updates[0], rank=None if whole else rank)


UPDATE_FUNCTIONS: Final[Mapping[str, UpdateFunction]] = MappingProxyType(
    {
        one.name: one
        for one in (
            UpdateFunction("truncate", LORA, _truncated_rank, _truncation_bytes, _truncate),
            UpdateFunction("lora", LORA, _lora_rank, _lora_bytes, _lora),
            UpdateFunction("core", LORA, _core_rank, _core_bytes, _core),
        )
    }
)
"""The functions by the names that they have in the language."""

_TRUNCATE_LOKR: Final = UpdateFunction("truncate", LOKR, _lokr_rank, _lokr_bytes, _nearest_lokr)


def update_function(name: str, peft_type: str, options: Options) -> UpdateFunction:
    """The function that a call means on adapters of a PEFT type.

    Raises:
        CheckError: two options that say the same thing differently.
        UnsupportedError: the function does not go with that type or these options.
    """
    if "rank" in options and "energy" in options:
        raise CheckError(
            f"{name}(...) is given rank= and energy=, expected at most one of them",
            hint="truncate it twice to have both limits",
        )
    if name != "truncate" or peft_type != "LOKR":
        return UPDATE_FUNCTIONS[name]
    if "energy" in options:
        raise UnsupportedError(
            "the nearest LoKr adapter is one Kronecker product, whatever share of the update that "
            "keeps: truncate(...) cannot choose it by energy=",
            hint="say which rank W2 is to have with rank=..., or turn it into LoRA: "
            f"lora(..., energy={float(options['energy']):g})",
        )
    return _TRUNCATE_LOKR


def check(
    function: UpdateFunction,
    module: str,
    layouts: Sequence[UpdateLayout],
    configs: Sequence[Mapping[str, Any]],
) -> None:
    """Check that the updates of a module can be summed, and the result be written.

    Args:
        function: what is called.
        module: named as in the base model.
        layouts: of all adapters that change it.
        configs: their configurations, in the same order.

    Raises:
        IncompatibleError: their shapes differ, or they are of a kind that has no such result.
    """
    first = layouts[0]
    for layout, config in zip(layouts, configs, strict=True):
        if layout.groups > 1:
            raise IncompatibleError(
                f"{function.name} knows no convolutions in groups, as {quoted(module, 120)} is one",
                hint='leave it out with only(..., modules="...")',
            )
        if _outer(layout) != _outer(first):
            raise IncompatibleError(
                f"the updates of {quoted(module, 120)} are of different shapes: {_shown(first)} "
                f"and {_shown(layout)}",
                hint="adapters of different base models cannot be composed",
            )
        if function.result.peft_type == "LOKR" and (
            layout.bound.halves != first.bound.halves
            or config.get("decompose_factor", -1) != configs[0].get("decompose_factor", -1)
        ):
            raise IncompatibleError(
                f"the halves W1 and W2 of {quoted(module, 120)} have different shapes "
                f"(decompose_factor): {first.bound.halves} and {layout.bound.halves}; their sum is "
                "near no one Kronecker product in particular",
                hint="turn the sum into LoRA: lora(..., rank=...)",
            )


def _outer(layout: UpdateLayout) -> tuple[Any, ...]:
    return layout.kind, layout.kernel, layout.bound.rows, layout.bound.columns


def _shown(layout: UpdateLayout) -> str:
    return f"{layout.kind} {layout.bound.rows} x {layout.bound.columns}"

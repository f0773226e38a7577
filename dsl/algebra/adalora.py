"""The algebra of AdaLoRA (Zhang et al. 2023, arXiv:2303.10512): updates of the form P diag(E) Q.

PEFT calls them lora_B, lora_E and lora_A, and multiplies with alpha / (init_r + 1e-5) whatever rank
a module was left with. `exact` gives AdaLoRA again: the factors stacked, with coefficients and
scalings in E. `elementwise` sums P, E and Q each on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from ..errors import IncompatibleError, quoted
from ..tensors.tensorfile import Header
from .adalora_layout import FACTORS, AdaLoraSettings, factors_of, kept_ranks, rank_of, settings_of
from .fields import require_semantics
from .generic import counted
from .interface import (
    Block,
    Column,
    ComposedTensor,
    Composition,
    Inspection,
    ModuleUpdates,
    Operand,
    Piece,
    Summand,
    TensorSum,
    UpdateLayout,
)
from .lora_fields import refusal
from .lora_result import shared_fields, target_fields
from .modules import (
    PREFIX,
    Member,
    Part,
    added,
    all_modules,
    parts_at,
    require_all,
    require_equal_shapes,
    require_floats,
    require_kept,
)
from .replaced import Replaced, compose_replaced
from .scaling import float32, number

_OWN_FIELDS: Final = frozenset({"beta1", "beta2", "deltaT", "init_r", "orth_reg_weight"}) | {
    "rank_pattern",
    "target_r",
    "tfinal",
    "tinit",
    "total_step",
}


def inspect(config: Mapping[str, Any], header: Header) -> Inspection:
    """Check that factors and configuration belong together, and say what they are.

    Raises:
        IncompatibleError: they do not.
    """
    general = counted(config, header)
    modules, _ = factors_of(config, header)
    return Inspection(
        peft_type=general.peft_type,
        rank=max(rank_of(tensors) for tensors in modules.values()),
        alpha=float(number(settings_of(config).alpha)),
        modules=tuple(sorted(modules)),
        parameters=general.parameters,
        dtype=general.dtype,
    )


def refuse(operand: Operand) -> None:
    """Refuse a configuration that no sum of factors can do justice to.

    Raises:
        IncompatibleError: with the reason and what to do.
    """
    config = operand.config
    found = refusal({field: config[field] for field in config if field not in _OWN_FIELDS})
    if found is not None:
        raise IncompatibleError(f"{operand.quoted} {found.reason}", hint=found.remedy)


def updates(operand: Operand, header: Header) -> ModuleUpdates:
    """The update of every module as the product of its three factors.

    Raises:
        IncompatibleError: the factors do not fit the configuration.
    """
    member, beside = _member(Summand(operand, header, 0, ()))
    scaling = float(settings_of(operand.config).scaling)
    layouts = {
        module: UpdateLayout("adalora", tensors, scaling)
        for module, tensors in sorted(member.modules.items())
        if rank_of(tensors)
    }
    return ModuleUpdates(layouts, beside)


def compose(semantics: str, summands: Sequence[Summand]) -> Composition:
    """Describe a sum of the updates (`exact`) or of each factor on its own (`elementwise`).

    Raises:
        IncompatibleError: the adapters cannot be summed, with what to do.
        UnsupportedError: the semantics is not one of AdaLoRA.
    """
    require_semantics("AdaLoRA", semantics, ("elementwise", "exact"))
    found = [_member(summand) for summand in summands]
    members = [member for member, _ in found]
    # A module that was left with rank zero changes nothing.
    parts = {
        module: there
        for module in all_modules(members)
        if (there := _parts(semantics, module, members))
    }
    if not parts:
        raise IncompatibleError("no update of a rank above zero is left at any module")
    configs = [summand.operand.config for summand in summands]
    ranks = {module: _composed_rank(semantics, there) for module, there in parts.items()}
    if semantics == "exact":
        rank = max(ranks.values())
        settings = AdaLoraSettings(rank, Fraction(rank))
        sums = [_exact(module, there, settings) for module, there in parts.items()]
    else:
        settings = _equal_settings(summands)
        sums = [_elementwise(there) for there in parts.values()]
    beside, fields = compose_replaced(summands, [replaced for _, replaced in found])
    tensors = [*beside, *(tensor for summed in sums for tensor in summed)]
    config = {
        "peft_type": "ADALORA",
        "bias": "none",
        "fan_in_fan_out": any(config.get("fan_in_fan_out") for config in configs),
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": number(settings.alpha),
        "lora_dropout": 0.0,
        "init_r": settings.rank,
        "target_r": settings.rank,
        # PEFT insists on a schedule, which is of no use after training.
        "total_step": 1,
        "rank_pattern": _rank_pattern(ranks, settings.rank),
        **fields,
        **target_fields(configs, [frozenset(m.modules) for m in members], frozenset(parts)),
        **shared_fields(configs),
    }
    return Composition(
        tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
        config=dict(sorted(config.items())),
        rank=max(ranks.values()),
        sums=()
        if semantics == "exact"
        else tuple(_mixed(module, there, settings) for module, there in parts.items()),
    )


def _equal_settings(summands: Sequence[Summand]) -> AdaLoraSettings:
    first = summands[0].operand
    for summand in summands[1:]:
        ours, theirs = settings_of(first.config), settings_of(summand.operand.config)
        if ours != theirs:
            raise IncompatibleError(
                f"elementwise sums need equal init_r and lora_alpha, but {first.quoted} has "
                f"{ours.rank} and {number(ours.alpha)}, {summand.operand.quoted} has "
                f"{theirs.rank} and {number(theirs.alpha)}",
                hint="write exact(...) around the expression, or --semantics exact",
            )
    return settings_of(first.config)


def _member(summand: Summand) -> tuple[Member, Replaced]:
    operand = summand.operand
    try:
        modules, beside = factors_of(operand.config, summand.header)
    except IncompatibleError as error:
        raise IncompatibleError(f"{operand.quoted}: {error.message}", hint=error.hint) from error
    require_floats(operand, summand.header.entries)
    require_kept(summand, modules.keys() | beside.modules)
    return Member(summand, modules), beside


def _parts(semantics: str, module: str, members: Sequence[Member]) -> list[Part]:
    parts, absent = parts_at(module, members)
    if semantics == "exact":
        return [part for part in parts if rank_of(part.tensors)]
    if parts:
        require_all(module, parts, absent)
        masks = [kept_ranks(part.operand.config, module) for part in parts]
        for part, mask in zip(parts, masks, strict=True):
            if mask != masks[0]:
                raise IncompatibleError(
                    f"elementwise sums need the same ranks, but training kept others of "
                    f"{quoted(module, 120)} in {parts[0].operand.quoted} than in "
                    f"{part.operand.quoted} (rank_pattern)",
                    hint="write exact(...) around the expression, or --semantics exact",
                )
        require_equal_shapes(module, parts)
    return [part for part in parts if rank_of(part.tensors)]


def _composed_rank(semantics: str, parts: Sequence[Part]) -> int:
    ranks = [rank_of(part.tensors) for part in parts]
    return sum(ranks) if semantics == "exact" else ranks[0]


def _elementwise(parts: Sequence[Part]) -> list[ComposedTensor]:
    sources = [part.source for part in parts]
    weights = [float32(part.coefficient) for part in parts]
    return [
        added([part.tensors[name] for part in parts], sources, weights) for name in sorted(FACTORS)
    ]


def _mixed(module: str, parts: Sequence[Part], settings: AdaLoraSettings) -> TensorSum:
    scaling = float(settings.scaling)
    return TensorSum(
        module,
        tuple((part.source, UpdateLayout("adalora", part.tensors, scaling)) for part in parts),
        tuple(float32(part.coefficient) for part in parts),
    )


def _exact(module: str, parts: Sequence[Part], result: AdaLoraSettings) -> list[ComposedTensor]:
    first = parts[0].tensors
    for part in parts[1:]:
        ours = first["lora_A"].shape[1], first["lora_B"].shape[0]
        theirs = part.tensors["lora_A"].shape[1], part.tensors["lora_B"].shape[0]
        if ours != theirs:
            raise IncompatibleError(
                f"{parts[0].operand.quoted} and {part.operand.quoted} have updates of different "
                f"shapes at {quoted(module, 120)}: {ours} and {theirs}",
                hint="adapters of different base models cannot be composed",
            )
    rank, (columns, rows) = (
        _composed_rank("exact", parts),
        (first["lora_A"].shape[1], first["lora_B"].shape[0]),
    )

    def piece(part: Part, name: str, weight: float = 1.0) -> tuple[Piece]:
        entry = part.tensors[name]
        return (Piece(part.source, entry.start, entry.dtype, weight),)

    def stacked(name: str, weights: Sequence[float]) -> tuple[Block, ...]:
        return tuple(
            Block(part.tensors[name].elements, (Column(1, piece(part, name, weight)),))
            for part, weight in zip(parts, weights, strict=True)
        )

    weights = [
        float32(part.coefficient * settings_of(part.operand.config).scaling / result.scaling)
        for part in parts
    ]
    beside = tuple(Column(rank_of(part.tensors), piece(part, "lora_B")) for part in parts)
    name = f"{PREFIX}{module}.".__add__
    return [
        ComposedTensor(name("lora_A"), (rank, columns), stacked("lora_A", [1.0] * len(parts))),
        ComposedTensor(name("lora_B"), (rows, rank), (Block(rows, beside),)),
        ComposedTensor(name("lora_E"), (rank, 1), stacked("lora_E", weights)),
    ]


def _rank_pattern(ranks: Mapping[str, int], full: int) -> dict[str, list[bool]] | None:
    """What PEFT needs to make room for modules of less than the full rank."""
    if all(rank == full for rank in ranks.values()):
        return None
    return {
        f"{module}.lora_E": [True] * rank + [False] * (full - rank)
        for module, rank in sorted(ranks.items())
    }

"""The algebra of VeRA (Kopiczko et al. 2023, arXiv:2310.11454): diag(b) B diag(d) A.

A and B are random and shared by all modules, and are no part of a sum: they must be the same in all
adapters, byte for byte where they are saved, else drawn from one seed for the same modules. The
trained vectors b and d are summed each on its own (`elementwise`); `exact` is for one adapter at a
module, whose coefficient goes into b. A module that falls away keeps its place with b = 0, since
PEFT sizes A and B by all modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import IncompatibleError, quoted
from ..tensors.tensorfile import DTYPE_BYTES, Header, TensorEntry
from .fields import COMMON_FIELDS, positive, require_semantics, require_understood
from .generic import counted
from .interface import ComposedTensor, Composition, Inspection, ModuleUpdates, Operand, Summand
from .lora_layout import check_targets
from .lora_result import shared_fields, target_fields
from .modules import (
    Member,
    Part,
    added,
    all_modules,
    find,
    parts_at,
    require_all,
    require_equal_shapes,
    require_floats,
    require_kept,
)
from .replaced import REPLACING_FIELDS, Replaced, compose_replaced, replaced_alone
from .scaling import float32

_B: Final = "vera_lambda_b"
_D: Final = "vera_lambda_d"
_PROJECTIONS: Final = ("base_model.vera_A", "base_model.vera_B")
_UNDERSTOOD: Final = (COMMON_FIELDS | REPLACING_FIELDS - {"trainable_token_indices"}) | {
    "d_initial",
    "fan_in_fan_out",
    "projection_prng_key",
    "r",
    "save_projection",
    "vera_dropout",
}
_CHUNK_BYTES: Final = 1 << 20


def inspect(config: Mapping[str, Any], header: Header) -> Inspection:
    """Check that vectors and configuration belong together, and say what they are.

    Raises:
        IncompatibleError: they do not.
    """
    general = counted(config, header)
    modules, _ = _modules(config, header)
    return Inspection(
        peft_type=general.peft_type,
        rank=_rank(config),
        alpha=None,
        modules=tuple(sorted(modules)),
        parameters=general.parameters,
        dtype=general.dtype,
    )


def refuse(operand: Operand) -> None:
    """Refuse a configuration with anything that is not understood.

    Raises:
        IncompatibleError: naming the field.
    """
    require_understood(operand, _UNDERSTOOD)


def updates(operand: Operand, header: Header) -> ModuleUpdates:
    """Refuse: how much of A a module uses is not known without the base model.

    Raises:
        IncompatibleError: always.
    """
    raise IncompatibleError(
        f"{operand.quoted} is a VeRA adapter: a module uses as many columns of the shared A as it "
        "has inputs, and how many these are is not known without the base model",
        hint="turn it into LoRA where it was trained: peft.save_as_lora(folder, model, rank=...)",
    )


def compose(semantics: str, summands: Sequence[Summand]) -> Composition:
    """Describe a sum of the vectors, or exactly where one adapter is alone.

    Raises:
        IncompatibleError: the adapters cannot be summed, with what to do.
        UnsupportedError: the semantics is not one of VeRA.
        WeightsError: a file is damaged.
    """
    require_semantics("VeRA", semantics, ("elementwise", "exact"))
    found = [_member(summand) for summand in summands]
    members = [member for member, _ in found]
    projections = _projections(members)
    tensors, fields = compose_replaced(summands, [replaced for _, replaced in found])
    changed = False
    for module in all_modules(members):
        parts, absent = parts_at(module, members)
        changed |= bool(parts)
        tensors += _composed(semantics, module, parts, absent) or _unchanged(module, members)
    if not changed:
        raise IncompatibleError("the coefficients cancel out at every module: nothing is left")
    configs = [summand.operand.config for summand in summands]
    modules = frozenset(all_modules(members))
    config = {
        "peft_type": "VERA",
        "bias": "none",
        "fan_in_fan_out": any(config.get("fan_in_fan_out") for config in configs),
        "inference_mode": True,
        "init_weights": True,
        "projection_prng_key": configs[0].get("projection_prng_key", 0),
        "r": _rank(configs[0]),
        "save_projection": bool(projections),
        "vera_dropout": 0.0,
        **fields,
        **target_fields(configs, [frozenset(member.modules) for member in members], modules),
        **shared_fields(configs),
    }
    return Composition(
        tensors=tuple(sorted([*tensors, *projections], key=lambda tensor: tensor.name)),
        config=dict(sorted(config.items())),
        rank=_rank(configs[0]),
    )


def _composed(
    semantics: str, module: str, parts: Sequence[Part], absent: Sequence[Member]
) -> list[ComposedTensor]:
    if not parts:
        return []
    if semantics == "exact" and len(parts) > 1:
        names = f"{parts[0].operand.quoted} and {parts[1].operand.quoted}"
        raise IncompatibleError(
            f"{names} both change {quoted(module, 120)}, and a sum of {len(parts)} VeRA updates "
            "has as many vectors d, so that it is no VeRA adapter and has no exact form",
            hint="leave exact(...) out to sum their vectors element by element, or keep them at "
            "different modules with only(...) or layers(...)",
        )
    if semantics == "elementwise":
        require_all(module, parts, absent)
    require_equal_shapes(module, parts)
    sources = [part.source for part in parts]
    weights = [float32(part.coefficient) for part in parts]
    return [
        added([part.tensors[_B] for part in parts], sources, weights),
        added(
            [part.tensors[_D] for part in parts],
            sources,
            weights if semantics == "elementwise" else [1.0],
        ),
    ]


def _unchanged(module: str, members: Sequence[Member]) -> list[ComposedTensor]:
    member = next(member for member in members if module in member.modules)
    tensors, source = member.modules[module], member.summand.source
    return [added([tensors[_B]], [source], [0.0]), added([tensors[_D]], [source], [1.0])]


def _member(summand: Summand) -> tuple[Member, Replaced]:
    operand = summand.operand
    try:
        modules, beside = _modules(operand.config, summand.header)
    except IncompatibleError as error:
        raise IncompatibleError(f"{operand.quoted}: {error.message}", hint=error.hint) from error
    require_floats(operand, summand.header.entries)
    require_kept(summand, modules.keys() | beside.modules)
    return Member(summand, modules), beside


def _modules(
    config: Mapping[str, Any], header: Header
) -> tuple[dict[str, dict[str, TensorEntry]], Replaced]:
    modules, others = find("VeRA", header, frozenset({_B, _D}))
    rank = _rank(config)
    for module, tensors in modules.items():
        if tensors.keys() != {_B, _D} or tensors[_D].shape != (rank,):
            shapes = ", ".join(f"{name} {list(tensors[name].shape)}" for name in sorted(tensors))
            raise IncompatibleError(
                f"{quoted(module, 120)} has {shapes}, expected {_B} and {_D} with one number for "
                f"each of {rank} ranks"
            )
    check_targets(config, tuple(modules))
    saved = {entry.name for entry in others if entry.name in _PROJECTIONS}
    if len(saved) != (2 if config.get("save_projection", True) else 0):
        raise IncompatibleError(
            f"save_projection is {config.get('save_projection', True)}, but there "
            f"are {len(saved)} of the 2 projections among the tensors",
            hint="save the adapter again",
        )
    beside = [entry for entry in others if entry.name not in _PROJECTIONS]
    return modules, replaced_alone("VeRA", config, beside)


def _rank(config: Mapping[str, Any]) -> int:
    return positive("r", config.get("r", 256))


def _projections(members: Sequence[Member]) -> list[ComposedTensor]:
    """The projections that all adapters share, where at least one has them saved.

    Raises:
        IncompatibleError: they differ, or whether they do cannot be known.
    """
    saved = [(member, _saved(member.summand)) for member in members]
    known = [(member, entries) for member, entries in saved if entries]
    first = known[0] if known else saved[0]
    for member, entries in saved:
        if member is first[0]:
            continue
        operands = first[0].summand.operand, member.summand.operand
        if entries and not _are_equal(first[0].summand, first[1], member.summand, entries):
            raise _differ(operands, "are not the same numbers")
        if not entries:
            keys = [operand.config.get("projection_prng_key", 0) for operand in operands]
            if keys[0] != keys[1]:
                raise _differ(operands, f"have the seeds {keys[0]} and {keys[1]}")
            if member.modules.keys() != first[0].modules.keys() or _rank(
                operands[0].config
            ) != _rank(operands[1].config):
                raise _differ(
                    operands, "are drawn for different modules or ranks, and so are not the same"
                )
    source = first[0].summand.source
    return [added([entry], [source], [1.0]) for entry in first[1]]


def _saved(summand: Summand) -> list[TensorEntry]:
    return [entry for entry in summand.header.entries if entry.name in _PROJECTIONS]


def _differ(operands: tuple[Operand, Operand], how: str) -> IncompatibleError:
    return IncompatibleError(
        f"the projections A and B of {operands[0].quoted} and {operands[1].quoted} {how}; "
        "vectors of VeRA only mean something together with theirs",
        hint="train them with one projection_prng_key, rank and target_modules, "
        "and save_projection=True",
    )


def _are_equal(
    one: Summand, ours: Sequence[TensorEntry], other: Summand, theirs: Sequence[TensorEntry]
) -> bool:
    """Whether two files hold the same projections, read in small pieces."""
    if not (one.operand.is_there and other.operand.is_there):
        # Who makes the file that is missing compares the tensors that it copies.
        return [(e.name, e.shape) for e in ours] == [(e.name, e.shape) for e in theirs]
    with one.operand.path.open("rb") as first, other.operand.path.open("rb") as second:
        for a, b in zip(ours, theirs, strict=True):
            if (a.name, a.dtype, a.shape) != (b.name, b.dtype, b.shape):
                return False
            first.seek(a.start)
            second.seek(b.start)
            left = a.elements * DTYPE_BYTES[a.dtype]
            while left:
                count = min(left, _CHUNK_BYTES)
                chunk = first.read(count)
                if not chunk or chunk != second.read(count):
                    return False
                left -= len(chunk)
    return True

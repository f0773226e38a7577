"""The algebra of IA3 (Liu et al. 2022, arXiv:2205.05638), whose vectors multiply activations.

A vector of ones is the base model, so that a sum is affine around it: 1 + sum c_i (l_i - 1), as
Zhang et al. 2023 (arXiv:2306.14870) have it. A module's update is linear in its vector: `exact` and
`elementwise` are the same, and an adapter without a vector for a module has ones there.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import IncompatibleError, quoted
from ..patterns import fullmatch
from ..tensors.tensorfile import Header, TensorEntry
from .fields import COMMON_FIELDS, require_semantics, require_understood
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
    require_equal_shapes,
    require_floats,
    require_kept,
)
from .replaced import Replaced, compose_replaced, replaced_alone
from .scaling import float32

_VECTOR: Final = "ia3_l"
_IDENTITY: Final = 1.0
_UNDERSTOOD: Final = COMMON_FIELDS | {"fan_in_fan_out", "feedforward_modules", "modules_to_save"}


def inspect(config: Mapping[str, Any], header: Header) -> Inspection:
    """Check that vectors and configuration belong together, and say what they are.

    Raises:
        IncompatibleError: they do not.
    """
    general = counted(config, header)
    return Inspection(
        peft_type=general.peft_type,
        rank=None,
        alpha=None,
        modules=tuple(sorted(_vectors(config, header)[0])),
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
    """Refuse: there is no update without the base model.

    Raises:
        IncompatibleError: always.
    """
    raise IncompatibleError(
        f"{operand.quoted} is an IA3 adapter, which multiplies the base model's own weights: "
        "its update is not known without that"
    )


def compose(semantics: str, summands: Sequence[Summand]) -> Composition:
    """Describe the sum around ones.

    Raises:
        IncompatibleError: the adapters cannot be summed, with what to do.
        UnsupportedError: the semantics is not one of IA3.
    """
    require_semantics("IA3", semantics, ("elementwise", "exact"))
    found = [_member(summand) for summand in summands]
    members = [member for member, _ in found]
    composed = {
        module: _composed(module, parts)
        for module in all_modules(members)
        if (parts := parts_at(module, members)[0])
    }
    if not composed:
        raise IncompatibleError("the coefficients cancel out at every module: nothing is left")
    tensors, fields = compose_replaced(summands, [beside for _, beside in found])
    configs = [summand.operand.config for summand in summands]
    targets = target_fields(
        configs, [frozenset(member.modules) for member in members], frozenset(composed)
    )
    config = {
        "peft_type": "IA3",
        "fan_in_fan_out": any(config.get("fan_in_fan_out") for config in configs),
        "feedforward_modules": _feedforward(composed, members),
        "inference_mode": True,
        "init_ia3_weights": True,
        **targets,
        **shared_fields(configs),
        **fields,
    }
    return Composition(
        tensors=tuple(sorted([*composed.values(), *tensors], key=lambda tensor: tensor.name)),
        config=dict(sorted(config.items())),
        rank=None,
    )


def _composed(module: str, parts: Sequence[Part]) -> ComposedTensor:
    require_equal_shapes(module, parts)
    first = parts[0].operand
    for part in parts[1:]:
        if is_feedforward(first.config, module) != is_feedforward(part.operand.config, module):
            raise IncompatibleError(
                f"{first.quoted} and {part.operand.quoted} scale {quoted(module, 120)} "
                "differently, one its input and the other its output (feedforward_modules)",
                hint="train them with the same feedforward_modules",
            )
    # One adapter as it is needs no arithmetic, which could only round.
    alone = len(parts) == 1 and parts[0].coefficient == 1
    return added(
        [part.tensors[_VECTOR] for part in parts],
        [part.source for part in parts],
        [float32(part.coefficient) for part in parts],
        origin=0.0 if alone else _IDENTITY,
    )


def _member(summand: Summand) -> tuple[Member, Replaced]:
    operand = summand.operand
    try:
        vectors, beside = _vectors(operand.config, summand.header)
    except IncompatibleError as error:
        raise IncompatibleError(f"{operand.quoted}: {error.message}", hint=error.hint) from error
    require_floats(operand, [*vectors.values(), *beside.entries])
    require_kept(summand, vectors.keys() | beside.modules)
    members = {module: {_VECTOR: vector} for module, vector in vectors.items()}
    return Member(summand, members), beside


def _vectors(config: Mapping[str, Any], header: Header) -> tuple[dict[str, TensorEntry], Replaced]:
    modules, others = find("IA3", header, frozenset({_VECTOR}))
    vectors = {module: tensors[_VECTOR] for module, tensors in modules.items()}
    for module, vector in vectors.items():
        # PEFT keeps a row for an input, a column for an output, and rows for all convolutions.
        shape = vector.shape
        is_row = len(shape) > 2 or is_feedforward(config, module)
        if len(shape) < 2 or vector.elements != shape[1 if is_row else 0] or not vector.elements:
            raise IncompatibleError(
                f"adapter_config.json makes {quoted(module, 120)} "
                f"{'a' if is_row else 'no'} feedforward module, "
                f"but its vector is of shape {list(shape)}"
            )
    check_targets(config, tuple(vectors))
    return vectors, replaced_alone("IA3", config, others)


def is_feedforward(config: Mapping[str, Any], module: str) -> bool:
    """Whether PEFT scales the input of a module instead of its output.

    Raises:
        IncompatibleError: feedforward_modules are neither names nor a regular expression.
    """
    names = config.get("feedforward_modules")
    if isinstance(names, str):
        try:
            return fullmatch(names, module)
        except re.error as error:
            raise IncompatibleError(
                f"feedforward_modules is {quoted(names)}, which is no regular expression: {error}"
            ) from error
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise IncompatibleError(
            f"feedforward_modules is {reprlib.repr(names)}, expected names of modules"
        )
    return module.endswith(tuple(names))


def _feedforward(composed: Mapping[str, Any], members: Sequence[Member]) -> list[str] | str:
    """The parents' choice where they agree and nothing fell away, else full names."""
    stated = [member.summand.operand.config.get("feedforward_modules") for member in members]
    whole = all(member.modules.keys() == composed.keys() for member in members)
    if whole and all(names == stated[0] for names in stated) and stated[0] is not None:
        return stated[0] if isinstance(stated[0], str) else sorted(stated[0])
    found = [
        module
        for module in sorted(composed)
        if any(
            module in member.modules and is_feedforward(member.summand.operand.config, module)
            for member in members
        )
    ]
    # As a list PEFT would take them as ends of names, and of names of other modules too.
    return "|".join(map(re.escape, found)) if found else []

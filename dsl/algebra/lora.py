"""The algebra of LoRA (Hu et al. 2021, arXiv:2106.09685): rsLoRA, patterns and DoRA included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import IncompatibleError, UnsupportedError, quoted
from ..tensors.tensorfile import Header
from . import dora
from .generic import counted
from .interface import (
    ComposedTensor,
    Composition,
    Inspection,
    ModuleUpdates,
    Operand,
    Summand,
    UpdateLayout,
)
from .lora_fields import changes_layout, refusal
from .lora_layout import Factors, Layout, is_saved_embedding, layout
from .lora_result import result_config
from .lora_rules import RULES, Rule
from .lora_sum import EXACT_HINT, Part, Weighing, exact, factorwise
from .modules import require_floats, require_kept
from .replaced import Replaced, compose_replaced
from .scaling import number


def inspect(config: Mapping[str, Any], header: Header) -> Inspection:
    """Check that factors and configuration belong together, and say what they are.

    Raises:
        IncompatibleError: they do not.
    """
    general = counted(config, header)
    if changes_layout(config):
        return general
    factors = layout(config, header).factors
    scalings = [factor.scaling for factor in factors.values()]
    alphas = {scaling.alpha for scaling in scalings}
    return Inspection(
        peft_type=general.peft_type,
        rank=max(scaling.rank for scaling in scalings),
        alpha=float(number(alphas.pop())) if len(alphas) == 1 else None,
        modules=tuple(sorted(factors)),
        parameters=general.parameters,
        dtype=general.dtype,
    )


def refuse(operand: Operand) -> None:
    """Refuse a configuration that no sum of factors can do justice to.

    Raises:
        IncompatibleError: with the reason and what to do.
    """
    found = refusal(operand.config)
    if found is not None:
        raise IncompatibleError(f"{operand.quoted} {found.reason}", hint=found.remedy)


@dataclass(frozen=True, slots=True)
class _Member:
    summand: Summand
    factors: Mapping[str, Factors]
    beside: Replaced


def compose(semantics: str, summands: Sequence[Summand]) -> Composition:
    """Describe a sum of LoRA adapters under `exact` or one of the rules for factors.

    Raises:
        IncompatibleError: the adapters cannot be summed, with what to do.
        UnsupportedError: the semantics is not one of LoRA.
    """
    rule = RULES.get(semantics)
    if rule is None and semantics != "exact":
        raise UnsupportedError(
            f"LoRA has no semantics {quoted(semantics)}, expected one of {', '.join(RULES)}, exact"
        )
    members = _members(summands)
    parts_by_module = {
        module: parts
        for module in sorted(set().union(*(member.factors for member in members)))
        if (parts := _parts(module, members, rule))
    }
    if not parts_by_module:
        raise IncompatibleError("the coefficients cancel out at every module: nothing is left")
    dora.require_sums(
        semantics,
        {module: [part.operand for part in parts] for module, parts in parts_by_module.items()},
        [
            module
            for member in members
            for module in member.beside.values.get(dora.FIELD, ())
            if member.summand.coefficient(module)
        ],
    )
    weighing = None if rule is None else Weighing(rule)
    sums = {
        module: exact(module, parts) if weighing is None else factorwise(weighing, module, parts)
        for module, parts in parts_by_module.items()
    }
    beside, fields = _beside(semantics, members)
    tensors = [*beside, *(tensor for summed in sums.values() for tensor in summed.tensors)]
    scalings = {module: summed.scaling for module, summed in sums.items()}
    return Composition(
        tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
        config=result_config(
            [summand.operand.config for summand in summands],
            [frozenset(member.factors) for member in members],
            scalings,
            fields,
        ),
        rank=max(scaling.rank for scaling in scalings.values()),
        # Of DoRA they would be sums of directions, and no updates.
        sums=()
        if fields.get(dora.FIELD)
        else tuple(summed.mixed for summed in sums.values() if summed.mixed is not None),
    )


def _members(summands: Sequence[Summand]) -> list[_Member]:
    members: list[_Member] = []
    for summand in summands:
        # Adapters of one training setup have equal headers and configurations: look once.
        known = (m for m in members if _is_laid_out_equally(m.summand, summand))
        twin = next(known, None)
        found = (
            _layout(summand.operand, summand.header)
            if twin is None
            else Layout(twin.factors, twin.beside)
        )
        require_kept(summand, found.factors.keys() | found.beside.modules)
        members.append(_Member(summand, found.factors, found.beside))
    return members


def _beside(
    semantics: str, members: Sequence[_Member]
) -> tuple[list[ComposedTensor], dict[str, Any]]:
    """Sum what replaces values of the base model; the same under all semantics that know it."""
    for member in members:
        if member.beside.values and semantics == "peft-linear":
            raise IncompatibleError(
                f"{member.summand.operand.quoted} has values of the base model trained as a whole "
                f"({', '.join(sorted(member.beside.values))}), which PEFT's add_weighted_adapter "
                "loses",
                hint="compose it under another semantics",
            )
    return compose_replaced(
        [member.summand for member in members], [member.beside for member in members]
    )


def _is_laid_out_equally(one: Summand, other: Summand) -> bool:
    return one.header is other.header and one.operand.config == other.operand.config


def updates(operand: Operand, header: Header) -> ModuleUpdates:
    """The update of every module as the product of its factors.

    Raises:
        IncompatibleError: the adapter is DoRA, or factors do not fit the configuration.
    """
    found = _layout(operand, header)
    if dora.FIELD in found.beside.values:
        raise dora.unknown_update(operand)
    layouts = {
        module: UpdateLayout(
            form="lora",
            tensors={"a": factors.a, "b": factors.b},
            scaling=factors.scaling.rounded,
            groups=factors.groups,
            kind=factors.kind,
            kernel=factors.a.shape[2:],
        )
        for module, factors in sorted(found.factors.items())
    }
    return ModuleUpdates(layouts, found.beside)


def _layout(operand: Operand, header: Header) -> Layout:
    try:
        found = layout(operand.config, header)
    except IncompatibleError as error:
        raise IncompatibleError(f"{operand.quoted}: {error.message}", hint=error.hint) from error
    for other in found.beside.rest:
        _refuse_other(operand, other.name)
    for module, factors in found.factors.items():
        if ".base_layer." in f"{module}.":
            raise IncompatibleError(
                f"{operand.quoted} adapts {quoted(module, 120)} inside of an adapted module, "
                "which is not understood here"
            )
        require_floats(operand, (factors.a, factors.b))
    require_floats(operand, found.beside.entries)
    return found


def _refuse_other(operand: Operand, tensor: str) -> None:
    if is_saved_embedding(tensor):
        raise IncompatibleError(
            f"{operand.quoted} carries a whole embedding layer, {quoted(tensor, 120)}: "
            "its vocabulary was resized, or PEFT saved the layer because it is adapted",
            hint="if the vocabulary is the base model's, save the adapter again with "
            "save_pretrained(..., save_embedding_layers=False)",
        )
    raise IncompatibleError(
        f"{operand.quoted} has the tensor {quoted(tensor, 120)}, which is no LoRA factor"
    )


def _parts(module: str, members: Sequence[_Member], rule: Rule | None) -> list[Part]:
    parts: list[Part] = []
    absent: list[_Member] = []
    for member in members:
        operand, source = member.summand.operand, member.summand.source
        coefficient = member.summand.coefficient(module)
        factors = member.factors.get(module)
        if coefficient and factors is not None:
            parts.append(Part(operand, source, coefficient, factors))
        elif coefficient:
            absent.append(member)
    if parts and absent and rule is not None and rule.needs_equal_modules:
        names = absent[0].summand.operand.quoted, parts[0].operand.quoted
        raise IncompatibleError(
            f"{rule.name} sums need the same modules, but {names[0]} has no factors for "
            f"{quoted(module, 120)}, which {names[1]} adapts",
            hint=f"{EXACT_HINT}; or restrict {names[1]} with only(...) or layers(...)",
        )
    return parts

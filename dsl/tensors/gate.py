"""The gate: what must agree between adapters before any of their tensors is looked at.

Adding numbers of adapters of different models, tokenizers or kinds always succeeds and never means
anything, so each difference is refused with the names, the values and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..algebra import ALGEBRAS, Algebra, Operand
from ..algebra.refused import REFUSED
from ..errors import IncompatibleError, quoted

_Value: TypeAlias = Callable[[Operand], Any]


def admit(operands: Sequence[Operand]) -> tuple[Algebra, tuple[str, ...]]:
    """Check that adapters may be composed, by their configurations alone.

    Args:
        operands: at least one; messages name them by their labels.

    Returns:
        The algebra of their PEFT type, and warnings about what could not be checked.

    Raises:
        IncompatibleError: they may not.
    """
    algebra = _algebra(operands)
    warnings = admit_updates(operands)
    for operand in operands:
        algebra.refuse(operand)
    return algebra, warnings


def admit_updates(operands: Sequence[Operand]) -> tuple[str, ...]:
    """Check that the updates of adapters may be composed; their PEFT types may differ.

    Args:
        operands: at least one; messages name them by their labels.

    Returns:
        Warnings about what could not be checked.

    Raises:
        IncompatibleError: they may not.
    """
    warnings = [*_check_base(operands), *_check_revision(operands)]
    _check_rest(operands)
    return tuple(warnings)


def _algebra(operands: Sequence[Operand]) -> Algebra:
    def kind(operand: Operand) -> str:
        return str(operand.config.get("peft_type") or "unknown").upper()

    _require_equal("PEFT types", kind, operands, "train all of them with one method")
    name = kind(operands[0])
    if name in REFUSED:
        raise IncompatibleError(
            f"{operands[0].quoted} is of PEFT type {quoted(name)}: it {REFUSED[name].reason}",
            hint=REFUSED[name].remedy,
        )
    if name not in ALGEBRAS:
        raise IncompatibleError(
            f"{operands[0].quoted} is of PEFT type {quoted(name)}, which cannot be composed; "
            f"expected one of {', '.join(ALGEBRAS)}"
        )
    return ALGEBRAS[name]


def _check_base(operands: Sequence[Operand]) -> list[str]:
    base = _field("base_model_name_or_path")
    for other in operands[1:]:
        if base(other) != base(operands[0]):
            raise _conflict(
                "base models",
                base,
                (operands[0], other),
                "if they are one model under two names, add one of them again with --base",
            )
    if base(operands[0]) is None:
        return ["no base model is recorded: that the adapters belong to one could not be checked"]
    return []


def _check_revision(operands: Sequence[Operand]) -> list[str]:
    revision = _field("revision")
    _require_equal(
        "revisions of the base model",
        revision,
        operands,
        "if both revisions have the same weights, add one of them again with --base-revision",
    )
    known = [operand for operand in operands if revision(operand) is not None]
    unknown = [operand.quoted for operand in operands if revision(operand) is None]
    if not known or not unknown:
        return []
    stated = f"{_shown(revision(known[0]))} for {known[0].quoted}"
    return [f"the base model's revision is {stated} but not recorded for {_listed(unknown)}"]


def _check_rest(operands: Sequence[Operand]) -> None:
    _require_equal(
        "tokenizers",
        lambda operand: operand.tokenizer_digest,
        operands,
        "a token means something else to each of them; train with one tokenizer",
    )
    _require_equal(
        "task types",
        _field("task_type"),
        operands,
        "they were trained around different kinds of model; "
        "correct task_type in adapter_config.json if that is not so",
    )
    # Weights of the base lie transposed for it, and so does what is added to them.
    _require_equal(
        "settings of fan_in_fan_out",
        lambda operand: str(bool(operand.config.get("fan_in_fan_out"))).lower(),
        operands,
        "the base model has only one of the two: correct adapter_config.json of the other",
    )


def _require_equal(what: str, value: _Value, operands: Sequence[Operand], hint: str) -> None:
    """Refuse two values that are known and differ."""
    known = [operand for operand in operands if value(operand) is not None]
    for other in known[1:]:
        if value(other) != value(known[0]):
            raise _conflict(what, value, (known[0], other), hint)


def _conflict(
    what: str, value: _Value, pair: tuple[Operand, Operand], hint: str
) -> IncompatibleError:
    values = " and ".join(f"{operand.quoted} has {_shown(value(operand))}" for operand in pair)
    return IncompatibleError(f"the {what} differ: {values}, expected the same", hint=hint)


def _field(name: str) -> _Value:
    """Read a field of the configuration, where empty means not known."""
    return lambda operand: operand.config.get(name) or None


def _shown(value: Any) -> str:
    return "none recorded" if value is None else quoted(str(value), 120)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more

"""The updates of adapters as functions of updates take them: where they lie, and of what form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import IncompatibleError, UnsupportedError, quoted

if TYPE_CHECKING:
    from ..algebra.interface import ModuleUpdates, Operand
    from ..tensors.tensorfile import Header


def updates_of(operand: Operand, header: Header) -> ModuleUpdates:
    """The true updates of an adapter, and what it replaces beside them.

    Raises:
        IncompatibleError: its PEFT type has no updates without the base model, or some that LoRA
            cannot have.
        UnsupportedError: its PEFT type is none that can be composed.
    """
    from ..algebra import ALGEBRAS
    from ..algebra.refused import REFUSED

    kind = str(operand.config.get("peft_type") or "unknown").upper()
    if kind not in ALGEBRAS:
        reason = f"it {REFUSED[kind].reason}" if kind in REFUSED else "which is not known here"
        raise UnsupportedError(f"{operand.quoted} is of PEFT type {quoted(kind)}: {reason}")
    algebra = ALGEBRAS[kind]
    algebra.refuse(operand)
    found = algebra.updates(operand, header)
    for module, layout in found.layouts.items():
        if layout.kernel and layout.form != "lora":
            raise IncompatibleError(
                f"{operand.quoted} changes the convolution {quoted(module, 120)}, of which {kind} "
                "does not say all that LoRA needs (its groups)",
                hint='leave it out with only(..., modules="...")',
            )
    return found

"""What is carried along when a function works on updates: heads, biases, tokens beside them.

They are no updates, but values in place of the base model's, and are summed as in any composition:
around the base model's own, so that the coefficients at each such module must sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from ..algebra.replaced import compose_replaced
from ..decomposition.layouts import updates_of
from ..errors import IncompatibleError
from ..meaning.plan import Atom, Derived, Plan
from .blueprint import Adapter, Blueprint, summands_of


@dataclass(frozen=True, slots=True)
class Carried:
    """Tensors that replace values of the base model, as a sum, and the fields that explain them.

    `blueprint` is None where there are none.
    """

    blueprint: Blueprint | None
    fields: Mapping[str, Any]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the tensors, by name."""
        tensors = self.blueprint.tensors if self.blueprint else ()
        return {tensor.name: tensor.shape for tensor in tensors}

    @property
    def memory_bytes(self) -> int:
        """What the largest of them takes in float32."""
        return max((4 * prod(shape) for shape in self.shapes.values()), default=0)


def carried(derived: Derived, adapters: Mapping[Atom, Adapter]) -> Carried:
    """What a function carries along from its operand; several operands may not have any.

    Raises:
        IncompatibleError: the coefficients do not sum to 1 at such a module, or there are several
            operands.
    """
    found = [_of_sum(plan, adapters) for plan in derived.operands]
    if len(found) == 1:
        return found[0]
    if any(one.blueprint for one in found):
        raise IncompatibleError(
            f"{derived.function} works on updates, and its adapters have values of the base model "
            "trained as a whole beside them, which it cannot merge",
            hint="leave such modules out with only(..., modules=...)",
        )
    return Carried(None, {})


def _of_sum(plan: Plan, adapters: Mapping[Atom, Adapter]) -> Carried:
    summands = summands_of(plan, adapters)
    beside = [updates_of(one.operand, one.header).beside for one in summands]
    if not any(one.values for one in beside):
        return Carried(None, {})
    tensors, fields = compose_replaced(summands, beside)
    if not tensors:
        return Carried(None, fields)
    blueprint = Blueprint(
        sources=tuple(one.operand.path for one in summands),
        tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
        config={},
        rank=None,
        dtype="float32",
        size_bytes=0,
        bytes_to_read=0,
        warnings=(),
    )
    return Carried(blueprint, fields)

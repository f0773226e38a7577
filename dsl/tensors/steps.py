"""What functions that are not linear must make before a sum can be carried out, known beforehand.

A step makes one adapter, as a file of float32 tensors, one module at a time; from then on that is
an adapter like any other. What a step will need is known from headers, before anything is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..functions import FUNCTION_BY_NAME
from ..meaning.plan import Atom, Derived, Plan
from .blueprint import Adapter


@dataclass(frozen=True, slots=True)
class ModuleError:
    """What lowering the rank of an update lost at one module, named as in the base model.

    Attributes:
        norm: Frobenius norm of the update before.
        relative: the norm of what was lost over that; 0 where the update is zero.
    """

    module: str
    norm: float
    relative: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a step lost, module by module."""

    derived: Derived
    modules: tuple[ModuleError, ...]

    @property
    def relative(self) -> float:
        """The Frobenius norm of all that was lost over that of all updates."""
        whole = sum(one.norm**2 for one in self.modules)
        lost = sum((one.relative * one.norm) ** 2 for one in self.modules)
        return float((lost / whole) ** 0.5) if whole else 0.0


class Step(Protocol):
    """One function to be carried out.

    Attributes:
        derived: what is made.
        adapter: what it will be, as far as that is known before.
        memory_bytes: the most that all tensors and buffers take at once.
        disk_bytes: the most that its file takes, which is removed in the end.
        largest: the tensor or module for which the most memory is needed.
        tolerance: how far, relative to the norm of a tensor or update, the result may differ
            between machines; None where it is the same to the bit.
        is_dense: whether updates are made as whole matrices, which takes minutes for large models.
    """

    @property
    def derived(self) -> Derived: ...  # noqa: D102
    @property
    def adapter(self) -> Adapter: ...  # noqa: D102
    @property
    def memory_bytes(self) -> int: ...  # noqa: D102
    @property
    def disk_bytes(self) -> int: ...  # noqa: D102
    @property
    def largest(self) -> str: ...  # noqa: D102
    @property
    def tolerance(self) -> float | None: ...  # noqa: D102
    @property
    def is_dense(self) -> bool: ...  # noqa: D102

    def carry_out(self, path: Path) -> Report | None:
        """Write the adapter's weights, and say what was lost where anything can be.

        Raises:
            WeightsError: a source is damaged, or the result would not be finite.
        """
        ...


@dataclass(frozen=True)
class Makings:
    """What a blueprint with functions is made of, so that it can be prepared again step by step.

    Args:
        plan: the canonical form.
        adapters: the catalogued adapters in it.
        dtype: of the result, as it was asked for.
        steps: what has to be made, the innermost first.
    """

    plan: Plan
    adapters: Mapping[Atom, Adapter]
    dtype: str | None
    steps: tuple[Step, ...]

    @property
    def memory_bytes(self) -> int:
        """The most that any step takes; they are carried out one after the other."""
        return max(step.memory_bytes for step in self.steps)

    @property
    def disk_bytes(self) -> int:
        """What all temporary files take together."""
        return sum(step.disk_bytes for step in self.steps)

    @property
    def tolerance(self) -> float | None:
        """How far the result may differ between machines: the largest of the steps' tolerances."""
        known = [step.tolerance for step in self.steps if step.tolerance is not None]
        return max(known, default=None)


def foresee(derived: Derived, adapters: Mapping[Atom, Adapter]) -> Step:
    """The step that makes what is derived; its operands' atoms must be known.

    Raises:
        IncompatibleError, UnsupportedError: the function cannot work on these adapters.
    """
    from .value_step import ValueStep

    function = FUNCTION_BY_NAME[derived.function]
    is_exact = any(name == "rank" for name, _ in derived.options)
    if function.works_on == "values" and not is_exact:
        return ValueStep.foreseen(derived, adapters)
    raise NotImplementedError


def operand_labels(adapters: Sequence[Adapter]) -> str:
    """Adapters as messages list them."""
    return ", ".join(adapter.operand.label for adapter in adapters)

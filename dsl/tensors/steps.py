"""What functions that are not linear must make before a sum can be carried out, known beforehand.

A step makes one adapter, as a file of float32 tensors, one module at a time; from then on that is
an adapter like any other. What a step will need is known from headers, before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any, Protocol

from ..algebra.interface import FactorSum
from ..functions import FUNCTION_BY_NAME
from ..meaning.plan import AdapterKey, Atom, Derived, Plan
from ..merging import Place
from .blueprint import DTYPES, Adapter, Operand
from .tensorfile import header_bytes, parse_header


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


@dataclass(frozen=True, slots=True)
class Meetings:
    """Where factors of catalogued adapters meet, which only means something around a common start.

    Attributes:
        keys: the adapters.
        paths: their files.
        sums: the modules, with the adapters that meet there by their numbers.
    """

    keys: tuple[AdapterKey, ...] = ()
    paths: tuple[Path, ...] = ()
    sums: tuple[FactorSum, ...] = ()


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

    def meetings(self) -> Meetings:
        """Where factors of catalogued adapters meet in it."""
        ...

    def carry_out(self, path: Path) -> tuple[Mapping[str, Any], Report | None]:
        """Write the adapter's weights.

        Returns:
            The adapter's configuration, and what was lost where anything can be.

        Raises:
            WeightsError: a source is damaged.
            UnsupportedError: the result would not be finite.
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
    from .update_step import UpdateStep
    from .value_step import ValueStep

    is_exact = "rank" in dict(derived.options)
    if FUNCTION_BY_NAME[derived.function].works_on == "values" and not is_exact:
        return ValueStep.foreseen(derived, adapters)
    return UpdateStep.foreseen(derived, adapters)


def foreseen_adapter(
    derived: Derived,
    adapters: Mapping[Atom, Adapter],
    *,
    config: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    tokenizer_digest: str | None,
) -> Adapter:
    """What is derived, as the adapter that it will be.

    Args:
        derived: what will be made.
        adapters: of the atoms in it.
        config: its adapter_config.
        shapes: of its tensors, all float32, by name.
        tokenizer_digest: that of its operands.
    """
    beginning = header_bytes((name, "F32", shape) for name, shape in shapes.items())
    size = len(beginning) + 4 * sum(prod(shape) for shape in shapes.values())
    operand = Operand(
        key=derived,
        label=derived.words(lambda key: adapters[key].operand.label),
        path=Path(f"{derived.digest}.safetensors"),
        config=config,
        tokenizer_digest=tokenizer_digest,
        is_there=False,
    )
    atoms = {atom for plan in derived.operands for atom in plan.atoms}
    dtypes = {dtype for atom in atoms for dtype in _dtypes(adapters[atom])}
    header = parse_header(beginning[8:], size, operand.path)
    return Adapter(operand, header, dtypes.pop() if len(dtypes) == 1 else "float32")


def _dtypes(adapter: Adapter) -> set[str]:
    names = {stored: name for name, stored in DTYPES.items()}
    if adapter.dtype is not None:
        return {adapter.dtype}
    return {names.get(entry.dtype, "float32") for entry in adapter.header.entries}


def tokenizer_of(operands: Iterable[Operand]) -> str | None:
    """The tokenizer of adapters that have one and the same, as far as it is known."""
    known = {operand.tokenizer_digest for operand in operands} - {None}
    return known.pop() if len(known) == 1 else None


def place_of(derived: Derived, tensor: str = "") -> Place:
    """What a merge method must know of its operands.

    An operand and its multiples are one and the same here, so that `dare(l*x)` keeps the same
    values whatever l is.
    """
    return Place(
        tensor,
        tuple(_unscaled(operand).digest for operand in derived.operands),
        tuple(
            sum((term.coefficient for term in operand.terms), Fraction(0))
            for operand in derived.operands
        ),
    )


def _unscaled(plan: Plan) -> Plan:
    """A sum divided by its first coefficient."""
    first = plan.terms[0].coefficient
    terms = (replace(term, coefficient=term.coefficient / first) for term in plan.terms)
    return Plan(plan.semantics, tuple(terms))

"""Adapters whose tensors lie by name within modules, and sums that take each tensor on its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeAlias

from ..errors import IncompatibleError, quoted
from ..tensors.tensorfile import Header, TensorEntry
from .interface import Block, Column, ComposedTensor, Operand, Piece, Summand, keeps

PREFIX: Final = "base_model.model."
"""What PEFT puts before the name that a module has in the base model."""

DTYPES: Final = ("F32", "F16", "BF16")
"""The numbers that can be computed with, as the format names them."""

Tensors: TypeAlias = Mapping[str, TensorEntry]
"""The tensors of one module by what PEFT calls them, for example `lokr_w1`."""


@dataclass(frozen=True, slots=True)
class Member:
    """An adapter that takes part, with its tensors by module (named as in the base model)."""

    summand: Summand
    modules: Mapping[str, Tensors]


@dataclass(frozen=True, slots=True)
class Part:
    """What one adapter brings to a module: a coefficient that is not zero, and its tensors."""

    operand: Operand
    source: int
    coefficient: Fraction
    tensors: Tensors


def find(
    kind: str, header: Header, names: frozenset[str]
) -> tuple[dict[str, dict[str, TensorEntry]], tuple[TensorEntry, ...]]:
    """Find the tensors of a PEFT type by module, and all others.

    Args:
        kind: how messages name the type.
        header: of the adapter's file.
        names: last parts of the names of tensors that belong to the type.

    Raises:
        IncompatibleError: there are none.
    """
    modules: dict[str, dict[str, TensorEntry]] = {}
    others: list[TensorEntry] = []
    for entry in header.entries:
        module, _, name = entry.name.removeprefix(PREFIX).rpartition(".")
        if entry.name.startswith(PREFIX) and name in names and module:
            modules.setdefault(module, {})[name] = entry
        else:
            others.append(entry)
    if not modules:
        raise IncompatibleError(
            f"there are no {kind} tensors among the {len(header.entries)} tensors",
            hint=f"they are named like {PREFIX}model.layers.0.self_attn.q_proj.{min(names)}",
        )
    return modules, tuple(others)


def require_floats(operand: Operand, entries: Iterable[TensorEntry]) -> None:
    """Refuse numbers that cannot be computed with.

    Raises:
        IncompatibleError: naming the tensor.
    """
    for entry in entries:
        if entry.dtype not in DTYPES:
            raise IncompatibleError(
                f"{operand.quoted} has {entry.dtype} numbers in {quoted(entry.name, 120)}, "
                f"expected one of {', '.join(DTYPES)}",
                hint="convert the adapter to float32",
            )


def require_kept(summand: Summand, modules: Iterable[str]) -> None:
    """Refuse a term whose filters keep no module of its adapter: they hold a mistake.

    Raises:
        IncompatibleError: with the filter, and the name of a module that there is.
    """
    names = sorted(modules)
    for term in summand.terms:
        if not any(keeps(term, module) for module in names):
            text = "..."
            for kept in term.filters:
                text = kept.around(text)
            raise IncompatibleError(
                f"{text} keeps no module of {summand.operand.quoted}",
                hint=f"its {len(names)} modules are named like {quoted(names[0], 120)}",
            )


def parts_at(module: str, members: Sequence[Member]) -> tuple[list[Part], list[Member]]:
    """What takes part at a module, and the members that should but have no tensors there."""
    parts: list[Part] = []
    absent: list[Member] = []
    for member in members:
        coefficient = member.summand.coefficient(module)
        tensors = member.modules.get(module)
        if coefficient and tensors is not None:
            operand, source = member.summand.operand, member.summand.source
            parts.append(Part(operand, source, coefficient, tensors))
        elif coefficient:
            absent.append(member)
    return parts, absent


def all_modules(members: Iterable[Member]) -> list[str]:
    """The modules of all members, sorted."""
    return sorted(set().union(*(member.modules for member in members)))


def require_all(module: str, parts: Sequence[Part], absent: Sequence[Member]) -> None:
    """Refuse an elementwise sum at a module that an adapter has no tensors for.

    Raises:
        IncompatibleError: naming the module and both.
    """
    if absent:
        names = absent[0].summand.operand.quoted, parts[0].operand.quoted
        raise IncompatibleError(
            f"elementwise sums need the same modules, but {names[0]} has no factors for "
            f"{quoted(module, 120)}, which {names[1]} adapts",
            hint=f"restrict {names[1]} with only(...) or layers(...)",
        )


def require_equal_shapes(module: str, parts: Sequence[Part]) -> None:
    """Refuse parts that do not have the same tensors of the same shapes.

    Raises:
        IncompatibleError: naming the module and both.
    """
    first = parts[0]
    for part in parts[1:]:
        if _shapes(part.tensors) != _shapes(first.tensors):
            raise IncompatibleError(
                f"{first.operand.quoted} and {part.operand.quoted} have tensors of different "
                f"shapes at {quoted(module, 120)}: {_shown(first.tensors)} and "
                f"{_shown(part.tensors)}",
                hint="only adapters of one base model and with the same settings can be summed "
                "element by element",
            )


def _shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: entry.shape for name, entry in tensors.items()}


def _shown(tensors: Tensors) -> str:
    return ", ".join(f"{name} {list(tensors[name].shape)}" for name in sorted(tensors))


def added(
    entries: Sequence[TensorEntry],
    sources: Sequence[int],
    coefficients: Sequence[float],
    origin: float = 0.0,
) -> ComposedTensor:
    """The sum of whole tensors of equal shapes, each times its coefficient (float32 values)."""
    pieces = tuple(
        Piece(source, entry.start, entry.dtype, coefficient)
        for entry, source, coefficient in zip(entries, sources, coefficients, strict=True)
    )
    first = entries[0]
    block = Block(first.elements, (Column(1, pieces, origin),))
    return ComposedTensor(first.name, first.shape, (block,))

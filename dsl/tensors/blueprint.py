"""From a plan to a blueprint: all checks and all arithmetic that needs no tensor's value.

A blueprint is frozen data: which slices of which files, times what, make which tensors.
Executing it cannot find anything wrong any more but damaged files and numbers that overflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..algebra.interface import Block, ComposedTensor, Mixed, Operand, Summand
from ..errors import CheckError, did_you_mean, quoted
from ..meaning.plan import AdapterKey, Atom, Plan
from .gate import admit
from .tensorfile import DTYPE_BYTES, Header, header_bytes, header_text, parse_header

if TYPE_CHECKING:
    from .steps import Makings

__all__ = ["DTYPES", "Adapter", "Blueprint", "Operand", "assemble", "prepare"]

DTYPES: Final[Mapping[str, str]] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""The dtypes a result can have: what people write, and the format's name of it."""


@dataclass(frozen=True)
class Blueprint:
    """All that is needed to write a composed adapter.

    Args:
        sources: the files that are read.
        tensors: the result's tensors, sorted by name, as sums of slices of the sources.
        config: the result's adapter_config.json.
        rank: of the result; the largest one where modules differ, None where the type has none.
        dtype: of all tensors of the result: float32, float16 or bfloat16.
        size_bytes: of the result's file.
        bytes_to_read: from the sources, headers not counted.
        warnings: what could not be checked, one sentence each.
        sums: how tensors of the sources are mixed, module by module; empty where they are not.
        makings: what functions must make first, whose files are not there yet; None for a sum.
    """

    sources: tuple[Path, ...]
    tensors: tuple[ComposedTensor, ...]
    config: Mapping[str, Any]
    rank: int | None
    dtype: str
    size_bytes: int
    bytes_to_read: int
    warnings: tuple[str, ...]
    sums: tuple[Mixed, ...] = ()
    makings: Makings | None = None

    def header(self) -> bytes:
        """The beginning of the result's file: the length and the text of its header."""
        dtype = DTYPES[self.dtype]
        return header_bytes((tensor.name, dtype, tensor.shape) for tensor in self.tensors)


@dataclass(frozen=True)
class Adapter:
    """An adapter and the header of its file, whether or not the file is there already.

    Args:
        operand: what messages and algebras know of it.
        header: of its weights.
        dtype: float32, float16 or bfloat16, as what it was made of has it; None where that is
            nothing but its own tensors'.
    """

    operand: Operand
    header: Header
    dtype: str | None = None


def prepare(
    plan: Plan,
    operands: Mapping[AdapterKey, Operand],
    dtype: str | None,
    headers: dict[Path, Header] | None = None,
) -> Blueprint:
    """Check that a plan can be carried out rightly, and how; reads configurations and headers.

    Args:
        plan: the canonical form.
        operands: every adapter of the plan by its key.
        dtype: float32, float16 or bfloat16; None for the dtype that holds all inputs' values.
        headers: those of files that were read before; what is read now is added.

    Raises:
        CheckError: no such dtype.
        IncompatibleError: the adapters cannot be composed rightly, with what to do.
        UnsupportedError: the semantics is not one of the adapters' type.
        WeightsError: a file is damaged.
    """
    if dtype is not None and dtype not in DTYPES:
        raise CheckError(
            f"unknown dtype {quoted(dtype)}, expected one of {', '.join(DTYPES)}",
            hint=did_you_mean(dtype, DTYPES),
        )
    chosen = [operands[key] for key in plan.adapters]
    adapters: dict[Atom, Adapter] = {
        operand.key: Adapter(operand, header)
        for operand, header in zip(
            chosen, _headers(chosen, {} if headers is None else headers), strict=True
        )
    }
    if not plan.derived:
        return assemble(plan, adapters, dtype)
    # Only plans with functions pay for loading torch before anything is computed.
    from .steps import Makings, foresee

    steps = []
    foreseen = dict(adapters)
    for derived in plan.derived:
        step = foresee(derived, foreseen)
        foreseen[derived] = step.adapter
        steps.append(step)
    makings = Makings(plan, adapters, dtype, tuple(steps))
    return replace(assemble(plan, foreseen, dtype), makings=makings)


def assemble(plan: Plan, adapters: Mapping[Atom, Adapter], dtype: str | None) -> Blueprint:
    """The blueprint of a sum all of whose atoms are known.

    Args:
        plan: the sum.
        adapters: its atoms, and perhaps others.
        dtype: of the result; None for the dtype that holds all inputs' values.

    Raises:
        IncompatibleError, UnsupportedError, WeightsError: as `prepare`.
    """
    chosen = [adapters[atom] for atom in plan.atoms]
    algebra, warnings = admit([adapter.operand for adapter in chosen])
    composition = algebra.compose(plan.semantics, summands_of(plan, adapters))
    dtype = dtype or _promoted(composition.tensors, [adapter.dtype for adapter in chosen])
    names = [(tensor.name, DTYPES[dtype], tensor.shape) for tensor in composition.tensors]
    elements = sum(prod(tensor.shape) for tensor in composition.tensors)
    return Blueprint(
        sources=tuple(adapter.operand.path for adapter in chosen),
        tensors=composition.tensors,
        config=composition.config,
        rank=composition.rank,
        dtype=dtype,
        size_bytes=len(header_bytes(names)) + elements * DTYPE_BYTES[DTYPES[dtype]],
        bytes_to_read=sum(_bytes_to_read(tensor.blocks) for tensor in composition.tensors),
        warnings=warnings,
        sums=composition.sums,
    )


def summands_of(plan: Plan, adapters: Mapping[Atom, Adapter]) -> list[Summand]:
    """The atoms of a sum, each with its terms, numbered in their order."""
    return [
        Summand(
            adapters[atom].operand,
            adapters[atom].header,
            source,
            tuple(term for term in plan.terms if term.adapter == atom),
        )
        for source, atom in enumerate(plan.atoms)
    ]


def _headers(operands: Sequence[Operand], known: dict[Path, Header]) -> list[Header]:
    """Read the headers; equal ones, which adapters of one base mostly have, are parsed once."""
    parsed: dict[tuple[bytes, int], Header] = {}
    for operand in operands:
        if operand.path not in known:
            text = header_text(operand.path)
            if text not in parsed:
                parsed[text] = parse_header(*text, operand.path)
            known[operand.path] = parsed[text]
    return [known[operand.path] for operand in operands]


def _promoted(tensors: Sequence[ComposedTensor], natural: Sequence[str | None]) -> str:
    """The smallest dtype that holds the values of all inputs."""
    names = {stored: name for name, stored in DTYPES.items()}
    found = {
        natural[piece.source] or names[piece.dtype]
        for tensor in tensors
        for block in tensor.blocks
        for column in block.columns
        for piece in column.pieces
    }
    return found.pop() if len(found) == 1 else "float32"


def _bytes_to_read(blocks: Sequence[Block]) -> int:
    return sum(
        block.rows * column.width * sum(DTYPE_BYTES[piece.dtype] for piece in column.pieces)
        for block in blocks
        for column in block.columns
    )

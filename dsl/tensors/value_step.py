"""Functions of values under `elementwise`: from the tensors of adapters to a tensor of the result.

What the tensors of the result are, and whether the adapters go together at all, is what the algebra
of their PEFT type says of the mean of them: equal modules, ranks and scalings, an origin that is
not zero (IA3), tensors that are shared and not summed (the projections of VeRA).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy
import torch

from ..algebra.interface import ComposedTensor, FactorPair, FactorSum, Operand, Summand
from ..errors import IncompatibleError, UnsupportedError, quoted
from ..functions import FUNCTION_BY_NAME
from ..meaning.plan import AdapterKey, Atom, Derived, Plan, Term
from ..merging import MERGES, Merge
from .blueprint import Adapter, Blueprint, assemble
from .execute import execute
from .gate import admit
from .steps import Meetings, Report, foreseen_adapter, place_of, tokenizer_of
from .tensorfile import Header, header_bytes, parse_header

_REPLACING_TYPES: Final = frozenset({"LN_TUNING", "TRAINABLE_TOKENS"})
_BATCH_BYTES: Final = 8 << 20
READING_BYTES: Final = 32 << 20
"""What reading the values of sums takes at the most, beside the values."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One tensor of the result: which operands have it, and the value around which it changes.

    A tensor that is shared is the same in all of them, and is copied.
    """

    name: str
    shape: tuple[int, ...]
    operands: frozenset[int]
    origin: float
    is_shared: bool

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class ValueStep:
    """A merge method at work on each tensor of adapters of one kind (see `steps.Step`)."""

    derived: Derived
    adapter: Adapter
    memory_bytes: int
    disk_bytes: int
    largest: str
    tolerance: float | None
    jobs: tuple[_Job, ...]
    parts: tuple[Blueprint, ...]
    is_dense: bool = False

    @classmethod
    def foreseen(cls, derived: Derived, adapters: Mapping[Atom, Adapter]) -> ValueStep:
        """The step as far as headers and configurations say.

        Raises:
            IncompatibleError: the operands do not go together, or have values that replace the base
                model's.
            UnsupportedError: their PEFT type knows no elementwise sum.
        """
        merge = MERGES[derived.function]
        parts = tuple(assemble(operand, adapters, "float32") for operand in derived.operands)
        operands = [
            _operand(number, plan, part, adapters)
            for number, (plan, part) in enumerate(zip(derived.operands, parts, strict=True))
        ]
        config, jobs = _mean(derived, operands, [header_of(part) for part in parts])
        shapes = {job.name: job.shape for job in jobs}
        largest = max(jobs, key=lambda job: job.elements)
        adapter = foreseen_adapter(
            derived,
            adapters,
            config=config,
            shapes=shapes,
            tokenizer_digest=tokenizer_of(operands),
        )
        return cls(
            derived=derived,
            adapter=adapter,
            memory_bytes=_memory_bytes(merge, len(parts), largest.elements),
            disk_bytes=adapter.header.size_bytes,
            largest=largest.name,
            tolerance=merge.tolerance,
            jobs=jobs,
            parts=parts,
        )

    def carry_out(self, path: Path) -> tuple[Mapping[str, Any], Report | None]:
        """Write the adapter's weights, some tensors at a time; nothing is lost.

        Returns:
            The adapter's configuration.

        Raises:
            WeightsError: a source is damaged.
            UnsupportedError: a value would not be finite.
            IncompatibleError: tensors that must be the same in all adapters are not.
        """
        merge, options = MERGES[self.derived.function], dict(self.derived.options)
        with path.open("wb") as file:
            file.write(header_bytes((job.name, "F32", job.shape) for job in self.jobs))
            for batch in self._batches():
                names = [job.name for job in batch]
                values = [composed_values(part, names) for part in self.parts]
                for job in batch:
                    place = place_of(self.derived, job.name)
                    if job.is_shared:
                        there = [one[job.name] for one in values if job.name in one]
                        result = self._shared(job.name, there)
                    else:
                        tensors = [_change(job, one, n) for n, one in enumerate(values)]
                        result = merge.compute(tensors, options, place)
                        result = result + job.origin if job.origin else result
                    require_finite(result, job.name, self.adapter.operand)
                    file.write(result.contiguous().numpy().data)
        return self.adapter.operand.config, None

    def meetings(self) -> Meetings:
        """Where factors of catalogued adapters meet in it."""
        known: dict[AdapterKey, Path] = {}
        pairs: dict[str, dict[int, FactorPair]] = {}
        for plan, part in zip(self.derived.operands, self.parts, strict=True):
            for mixed in part.sums:
                for pair in mixed.pairs if isinstance(mixed, FactorSum) else ():
                    atom = plan.atoms[pair.source]
                    if isinstance(atom, AdapterKey):
                        known.setdefault(atom, part.sources[pair.source])
                        number = list(known).index(atom)
                        moved = FactorPair(number, pair.a, pair.b, pair.scaling, pair.groups)
                        pairs.setdefault(mixed.module, {})[number] = moved
        sums = tuple(
            FactorSum(module, tuple(found.values()), (), (), ()) for module, found in pairs.items()
        )
        return Meetings(tuple(known), tuple(known.values()), sums)

    def _batches(self) -> Iterator[list[_Job]]:
        """Tensors that are read together: many small ones, or one large one."""
        batch: list[_Job] = []
        size = 0
        for job in self.jobs:
            own = 4 * job.elements * len(self.parts)
            if batch and size + own > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(job)
            size += own
        yield batch

    def _shared(self, name: str, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        for other in tensors[1:]:
            if not torch.equal(tensors[0], other):
                raise IncompatibleError(
                    f"{self.adapter.operand.quoted}: the adapters share {quoted(name, 120)}, "
                    "but have not the same numbers there",
                    hint="train them with one projection_prng_key, rank and target_modules",
                )
        return tensors[0]


def _operand(number: int, plan: Plan, part: Blueprint, adapters: Mapping[Atom, Adapter]) -> Operand:
    """An operand of the function as if it were an adapter with a file of its own."""
    return Operand(
        key=AdapterKey("", str(number)),
        label=plan.words(lambda key: adapters[key].operand.label),
        path=Path(f"operand {number}"),
        config=part.config,
        tokenizer_digest=tokenizer_of(adapters[atom].operand for atom in plan.atoms),
        is_there=False,
    )


def header_of(part: Blueprint) -> Header:
    """The header of what a blueprint makes."""
    return parse_header(part.header()[8:], part.size_bytes, Path("an operand"))


def _mean(
    derived: Derived, operands: Sequence[Operand], headers: Sequence[Header]
) -> tuple[Mapping[str, Any], tuple[_Job, ...]]:
    """The configuration and the tensors of the mean of the operands."""
    given = list(zip(operands, headers, strict=True))
    if len(given) == 1:
        # Beside another one of its kind: alone, its tensors would all be copied, and the algebra
        # would not say which ones are summed, and around what.
        given.append((replace(operands[0], key=AdapterKey("", "again")), headers[0]))
    algebra, _ = admit([operand for operand, _ in given])
    share = Fraction(1, len(given))
    composition = algebra.compose(
        "elementwise",
        [
            Summand(operand, header, number, (Term(share, operand.key),))
            for number, (operand, header) in enumerate(given)
        ],
    )
    _require_no_replaced(derived, operands[0], composition.config)
    jobs = tuple(_job(tensor, len(operands)) for tensor in composition.tensors)
    return composition.config, jobs


def _job(tensor: ComposedTensor, count: int) -> _Job:
    columns = [column for block in tensor.blocks for column in block.columns]
    pieces = [piece for column in columns for piece in column.pieces]
    return _Job(
        name=tensor.name,
        shape=tensor.shape,
        operands=frozenset(piece.source % count for piece in pieces),
        origin=columns[0].origin,
        is_shared=all(piece.coefficient == 1.0 for piece in pieces),
    )


def _require_no_replaced(derived: Derived, operand: Operand, config: Mapping[str, Any]) -> None:
    """Refuse values of the base model that were trained as a whole."""
    named = [
        field
        for field in ("modules_to_save", "trainable_token_indices", "use_dora")
        if config.get(field)
    ]
    if str(config.get("bias") or "none") != "none":
        named.append("bias")
    if not named and config.get("peft_type") not in _REPLACING_TYPES:
        return
    what = ", ".join(named) or str(config["peft_type"])
    raise IncompatibleError(
        f"{operand.quoted} has values of the base model trained as a whole ({what}), and "
        f"{derived.function} works on what training changed, which is not known of them",
        hint="leave such modules out with only(..., modules=...), or train without them"
        if named
        else f"{FUNCTION_BY_NAME['mean'].name}(...) is right for them",
    )


def _memory_bytes(merge: Merge, count: int, elements: int) -> int:
    """All operands' values of the largest tensor (or of many small ones), and the method's own."""
    read = max(_BATCH_BYTES, 4 * elements * count)
    return read + READING_BYTES + int(4 * elements * (count + merge.held))


def composed_values(part: Blueprint, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Some tensors of a composition in float32, by name; those that it does not have are absent.

    Raises:
        WeightsError: a source is damaged.
        UnsupportedError: a value would not be finite.
    """
    wanted = set(names)
    tensors = tuple(tensor for tensor in part.tensors if tensor.name in wanted)
    if not tensors:
        return {}
    header = header_bytes((tensor.name, "F32", tensor.shape) for tensor in tensors)
    size = len(header) + 4 * sum(prod(tensor.shape) for tensor in tensors)
    data = bytearray(size)
    position = 0

    def keep(block: memoryview) -> None:
        nonlocal position
        data[position : position + len(block)] = block
        position += len(block)

    execute(replace(part, tensors=tensors, size_bytes=size), keep, budget_bytes=READING_BYTES)
    return {
        entry.name: torch.frombuffer(
            data, dtype=torch.float32, count=entry.elements, offset=entry.start
        ).reshape(entry.shape)
        for entry in parse_header(header[8:], size, Path("values")).entries
    }


def _change(job: _Job, values: Mapping[str, torch.Tensor], number: int) -> torch.Tensor:
    """What an operand changes at a tensor: its values less the origin; zero where it has none."""
    if number not in job.operands:
        return torch.zeros(job.shape, dtype=torch.float32)
    tensor = values[job.name]
    return tensor - job.origin if job.origin else tensor


def require_finite(values: torch.Tensor, name: str, operand: Operand) -> None:
    """Refuse a tensor with a NaN or an infinity.

    Raises:
        UnsupportedError: naming what would hold it.
    """
    if not bool(numpy.isfinite(values.numpy()).all()):
        raise UnsupportedError(
            f"{operand.quoted} would hold a NaN or an infinity in tensor {quoted(name, 120)}",
            hint="values are too large",
        )

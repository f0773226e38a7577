"""Functions of true updates: `truncate`, `lora`, `core`, and the merge methods under `exact`.

An operand under `exact` is the sum of the updates of its atoms, which no adapter needs to be able
to hold; under another semantics it is the update of the adapter that the sum comes to. What makes
the update of a module lies in a few small tensors, which are read for one module at a time.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Final, Self

import torch

from ..algebra.interface import Operand, UpdateLayout
from ..algebra.modules import PREFIX, require_kept
from ..decomposition.functions import check, update_function
from ..decomposition.interface import Bound, Found, UpdateFunction
from ..decomposition.layouts import updates_of
from ..decomposition.updates import Update
from ..errors import IncompatibleError
from ..meaning.plan import AdapterKey, Atom, Derived, Plan
from ..merging import MERGES
from .blueprint import Adapter, Blueprint, assemble, summands_of
from .carried import Carried, carried
from .gate import admit_updates
from .merged_updates import merged_update
from .sources import Sources
from .steps import Meetings, ModuleError, Report, foreseen_adapter, place_of, tokenizer_of
from .tensorfile import header_bytes
from .value_step import READING_BYTES, composed_values, header_of, require_finite
from .values import read_values

# Decompositions are rounded differently on different machines, and where singular values lie close
# together that is amplified.
_TOLERANCE: Final = 1e-3


@dataclass(frozen=True)
class _Part:
    """A summand of an operand: the update of an adapter, or of what a sum comes to.

    `coefficients` are those of its modules, without the modules where they are zero. Tensors are
    read from the adapter's file, or from the sum where there is a `blueprint`.
    """

    operand: Operand
    layouts: Mapping[str, UpdateLayout]
    coefficients: Mapping[str, Fraction]
    blueprint: Blueprint | None = None

    def bytes_to_read(self, module: str) -> int:
        """What the module's tensors take in memory."""
        return sum(8 * entry.elements for entry in self.layouts[module].tensors.values())

    def update(self, module: str, sources: Sources, number: int) -> Update:
        """The update of a module times its coefficient; its file is that of a number."""
        layout = self.layouts[module]
        if self.blueprint is None:
            tensors = {
                name: read_values(sources, number, entry) for name, entry in layout.tensors.items()
            }
        else:
            wanted = [entry.name for entry in layout.tensors.values()]
            found = composed_values(self.blueprint, wanted)
            tensors = {name: found[entry.name] for name, entry in layout.tensors.items()}
        (update,) = layout.update(tensors)
        return update.times(float(self.coefficients[module]))


@dataclass(frozen=True)
class UpdateStep:
    """A function at work on the true update of each module (see `steps.Step`)."""

    derived: Derived
    adapter: Adapter
    memory_bytes: int
    disk_bytes: int
    largest: str
    is_dense: bool
    function: UpdateFunction
    operands: tuple[tuple[_Part, ...], ...]
    ranks: Mapping[str, int]
    carried: Carried
    tolerance: float | None = _TOLERANCE

    @classmethod
    def foreseen(cls, derived: Derived, adapters: Mapping[Atom, Adapter]) -> Self:
        """The step as far as headers and configurations say.

        Raises:
            IncompatibleError: the operands do not go together, or have no updates of their own.
            UnsupportedError: their PEFT type has no such function.
        """
        operands = tuple(_parts(plan, adapters) for plan in derived.operands)
        parts = [part for operand in operands for part in operand]
        admit_updates([part.operand for part in parts])
        function, options = _function(derived, parts), dict(derived.options)
        bounds = {module: _bounds(function, module, operands) for module in _modules(parts)}
        if not bounds:
            raise IncompatibleError("the coefficients cancel out at every module: nothing is left")
        found = {module: function.rank(options, known) for module, known in bounds.items()}
        ranks = function.result.ranks(options, found)
        memory = {
            module: function.memory_bytes(options, known)
            + sum(part.bytes_to_read(module) for part in parts if module in part.coefficients)
            for module, known in bounds.items()
        }
        beside = carried(derived, adapters)
        shapes = _shapes(function, parts, ranks) | beside.shapes
        largest = max(memory, key=lambda module: memory[module])
        held = 4 * sum(map(torch.Size.numel, map(torch.Size, shapes.values())))
        merges = derived.function in MERGES
        sums = any(part.blueprint for part in parts)
        return cls(
            derived=derived,
            adapter=foreseen_adapter(
                derived,
                adapters,
                config=_config(function, parts, ranks, beside),
                shapes=shapes,
                tokenizer_digest=tokenizer_of([part.operand for part in parts]),
            ),
            memory_bytes=(READING_BYTES if sums or beside.blueprint else 0)
            + max(memory[largest] + (held if _waits(options) else 0), beside.memory_bytes),
            disk_bytes=held + len(header_bytes((n, "F32", s) for n, s in shapes.items())),
            largest=largest,
            is_dense=merges or any(one.is_dense for known in bounds.values() for one in known),
            function=function,
            operands=operands,
            ranks=ranks,
            carried=beside,
        )

    def carry_out(self, path: Path) -> tuple[Mapping[str, Any], Report]:
        """Write the adapter's weights, a module at a time, and say what was lost.

        Returns:
            The adapter's configuration, whose ranks may depend on what was found, and the report.

        Raises:
            WeightsError: a source is damaged.
            UnsupportedError: a value would not be finite.
        """
        options, result = dict(self.derived.options), self.function.result
        parts = [part for operand in self.operands for part in operand]
        written: dict[str, tuple[int, ...]] = {}
        errors: list[ModuleError] = []
        waiting: dict[str, Found] = {}
        ranks = dict(self.ranks)
        reserved = len(header_bytes((n, "F32", s) for n, s in self._shapes(ranks).items()))
        with Sources([part.operand.path for part in parts]) as sources, path.open("wb") as file:
            file.seek(reserved)
            for module in ranks:
                found = self.function.compute(options, self._updates(module, sources), module)
                errors.append(ModuleError(module, found.norm, found.relative_error))
                if "energy" in options:
                    ranks[module] = found.rank
                if _waits(options):
                    waiting[module] = found
                else:
                    written |= self._written(file, module, found, ranks[module])
            if waiting:
                ranks = dict(result.ranks(options, ranks))
                for module, found in waiting.items():
                    written |= self._written(file, module, found, ranks[module])
            for name, values in self._carried_along():
                file.write(values.numpy().data)
                written[name] = tuple(values.shape)
            file.seek(0)
            file.write(_header(written, reserved))
        return _config(self.function, parts, ranks, self.carried), Report(
            self.derived, tuple(errors)
        )

    def meetings(self) -> Meetings:
        """None: updates are the same whatever factors they have."""
        return Meetings()

    def _updates(self, module: str, sources: Sources) -> list[Update]:
        """The update of each operand; without terms where it does not change the module."""
        updates, number = [], 0
        for operand in self.operands:
            update = Update(())
            for part in operand:
                if module in part.coefficients:
                    update += part.update(module, sources, number)
                number += 1
            updates.append(update)
        return updates

    def _written(
        self, file: IO[bytes], module: str, found: Found, rank: int
    ) -> dict[str, tuple[int, ...]]:
        """Write what was found at a module, and return the shapes by name."""
        parts = (part for operand in self.operands for part in operand)
        layout = next(part.layouts[module] for part in parts if module in part.coefficients)
        shapes: dict[str, tuple[int, ...]] = {}
        for ending, tensor in self.function.result.tensors(layout, found, rank).items():
            name = f"{PREFIX}{module}.{ending}"
            require_finite(tensor, name, self.adapter.operand)
            file.write(tensor.contiguous().numpy().data)
            shapes[name] = tuple(tensor.shape)
        return shapes

    def _carried_along(self) -> Iterator[tuple[str, torch.Tensor]]:
        """What replaces values of the base model, one tensor at a time."""
        if self.carried.blueprint is not None:
            for name in self.carried.shapes:
                yield from composed_values(self.carried.blueprint, [name]).items()

    def _shapes(self, ranks: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        parts = [part for operand in self.operands for part in operand]
        return _shapes(self.function, parts, ranks) | self.carried.shapes


def _function(derived: Derived, parts: Sequence[_Part]) -> UpdateFunction:
    merge = MERGES.get(derived.function)
    if merge is not None:
        return merged_update(merge, place_of(derived))
    kinds = {str(part.operand.config.get("peft_type")).upper() for part in parts}
    kind = kinds.pop() if len(kinds) == 1 else "several"
    return update_function(derived.function, kind, dict(derived.options))


def _parts(plan: Plan, adapters: Mapping[Atom, Adapter]) -> tuple[_Part, ...]:
    if plan.semantics != "exact":
        blueprint = assemble(plan, adapters, "float32")
        operand = Operand(
            key=AdapterKey("", plan.digest),
            label=plan.words(lambda key: adapters[key].operand.label),
            path=blueprint.sources[0],
            config=blueprint.config,
            tokenizer_digest=tokenizer_of([adapters[atom].operand for atom in plan.atoms]),
            is_there=False,
        )
        found = updates_of(operand, header_of(blueprint)).layouts
        return (_Part(operand, found, dict.fromkeys(found, Fraction(1)), blueprint),)
    parts = []
    for summand in summands_of(plan, adapters):
        known = updates_of(summand.operand, summand.header)
        require_kept(summand, known.layouts.keys() | known.beside.modules)
        sums = {module: summand.coefficient(module) for module in known.layouts}
        coefficients = {module: value for module, value in sums.items() if value}
        parts.append(_Part(summand.operand, known.layouts, coefficients))
    return tuple(parts)


def _modules(parts: Iterable[_Part]) -> list[str]:
    return sorted({module for part in parts for module in part.coefficients})


def _bounds(
    function: UpdateFunction, module: str, operands: Sequence[Sequence[_Part]]
) -> list[Bound]:
    """What is known of every operand's update of a module, checked to go together."""
    there = [part for operand in operands for part in operand if module in part.coefficients]
    found = [part.layouts[module] for part in there]
    check(function, module, found, [part.operand.config for part in there])
    shape = found[0].bound
    bounds = []
    for operand in operands:
        own = [part.layouts[module].bound for part in operand if module in part.coefficients]
        bounds.append(sum(own[1:], own[0]) if own else Bound(shape.rows, shape.columns, 0))
    return bounds


def _shapes(
    function: UpdateFunction, parts: Sequence[_Part], ranks: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for module, rank in ranks.items():
        layout = next(part.layouts[module] for part in parts if module in part.coefficients)
        for ending, shape in function.result.shapes(layout, rank).items():
            shapes[f"{PREFIX}{module}.{ending}"] = shape
    return shapes


def _config(
    function: UpdateFunction,
    parts: Sequence[_Part],
    ranks: Mapping[str, int],
    beside: Carried,
) -> dict[str, Any]:
    config = function.result.config(
        [part.operand.config for part in parts],
        [frozenset(part.layouts) for part in parts],
        ranks,
    )
    return {**config, **beside.fields}


def _waits(options: Mapping[str, object]) -> bool:
    """Whether the ranks of all modules must be known before any tensor can be written."""
    return "pad" in options and "energy" in options


def _header(shapes: Mapping[str, tuple[int, ...]], reserved: int) -> bytes:
    """The beginning of a file whose tensors lie in the order given, of a size fixed before."""
    claims: dict[str, Any] = {}
    position = 0
    for name, shape in shapes.items():
        end = position + 4 * torch.Size(shape).numel()
        claims[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
    return struct.pack("<Q", reserved - 8) + text.ljust(reserved - 8)

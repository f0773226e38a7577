"""Blueprints carried out: file to file in order, in bounded memory, always the same bits.

The result is cut into tasks of some hundred kilobytes, which threads compute from slices of the
sources while finished ones are written in order. Every element is computed for itself, so nothing
depends on the cuts. Sums of one layout, such as those of one expression at several values of its
parameters, are computed together: what they share is read and converted once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, cycle
from math import prod
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import numpy
import torch

from ..errors import UnsupportedError, quoted
from .blueprint import DTYPES, Blueprint
from .kernels import CHUNK_ELEMENTS, KERNELS, TORCH_DTYPES, WORKSPACE_BYTES, Workspace, store
from .schedule import Part, Run, Task, cut, join, layout, overlay
from .sources import Sources
from .tensorfile import BLOCK_BYTES, DTYPE_BYTES, Blocks, first_not_finite, parse_header

_TASK_ELEMENTS: Final = 1 << 19
_MOST_THREADS: Final = 4

Write = Callable[[memoryview], object]


def execute(
    blueprint: Blueprint, write: Write, *, budget_bytes: int = 256 << 20, threads: int | None = None
) -> None:
    """Write a composed adapter as a canonical safetensors file.

    Args:
        blueprint: what to compute.
        write: takes the file's bytes in order; a buffer must not be kept after the call returns.
        budget_bytes: the most that all buffers may take; never changes the result.
        threads: how many compute; by default as many as torch uses, at most 4. Never changes the
            result.

    Raises:
        WeightsError: a source is damaged.
        UnsupportedError: the result would hold a NaN or an infinity, or the budget is too small
            for a single step.
    """
    work = _overlaid([blueprint])
    sizes = _sizes(work, budget_bytes, threads)
    tasks = list(cut(work.runs, sizes.task_elements))
    result = Blocks(write, sizes.block_bytes)
    with Sources(work.sources) as sources:
        result.write(memoryview(blueprint.header()))
        executor = _Executor(work, sources, sizes)
        for (block,) in executor.in_order(tasks):
            result.write(block)
    result.flush()


def state_dict(blueprint: Blueprint) -> dict[str, torch.Tensor]:
    """The composed tensors in memory, named as in the file.

    Raises:
        WeightsError: a source is damaged.
        UnsupportedError: the result would hold a NaN or an infinity.
    """
    return next(state_dicts([blueprint]))


def state_dicts(
    blueprints: Sequence[Blueprint], *, budget_bytes: int = 256 << 20
) -> Iterator[dict[str, torch.Tensor]]:
    """The composed tensors of several sums in memory, one sum after another.

    Neighbours of one layout are computed together, each source read once for all of them.

    Args:
        blueprints: what to compute.
        budget_bytes: the most that results waiting to be taken may have together, one excepted.

    Raises:
        WeightsError: a source is damaged.
        UnsupportedError: a result would hold a NaN or an infinity.
    """
    for group in _groups(blueprints, budget_bytes):
        results = _in_memory(group)
        while results:
            yield results.pop(0)


def _groups(blueprints: Sequence[Blueprint], budget_bytes: int) -> Iterator[list[Blueprint]]:
    group: list[Blueprint] = []
    known: object = None
    for blueprint in blueprints:
        found = blueprint.dtype, layout(blueprint.tensors)
        size_bytes = sum(member.size_bytes for member in (*group, blueprint))
        if group and (found != known or size_bytes > budget_bytes):
            yield group
            group = []
        known = found
        group.append(blueprint)
    if group:
        yield group


def _in_memory(group: Sequence[Blueprint]) -> list[dict[str, torch.Tensor]]:
    """The tensors of sums of one layout, computed right where they stay."""
    work = _overlaid(group)
    header = group[0].header()
    entries = parse_header(header[8:], group[0].size_bytes, Path("the result")).entries
    data = [numpy.empty(group[0].size_bytes, dtype=numpy.uint8) for _ in group]
    sizes = _sizes(work, 256 << 20, None)
    tasks = list(cut(work.runs, sizes.task_elements))
    with Sources(work.sources) as sources:
        places = [one.data[len(header) :] for one in data]
        _Executor(work, sources, sizes).in_place(tasks, places)
    return [
        {
            entry.name: torch.from_numpy(one[entry.start : entry.end])
            .view(TORCH_DTYPES[entry.dtype])
            .reshape(entry.shape)
            for entry in entries
        }
        for one in data
    ]


@dataclass(frozen=True, slots=True)
class _Work:
    """Sums laid over each other, and the files that they read."""

    first: Blueprint
    count: int
    runs: Sequence[Run]
    sources: Sequence[Path]

    @property
    def products(self) -> int:
        """How many products are to be computed."""
        return self.count * sum(
            run.rows * lane.width * len(lane.shares) for run in self.runs for lane in run.lanes
        )


def _overlaid(blueprints: Sequence[Blueprint]) -> _Work:
    sources = list(dict.fromkeys(path for one in blueprints for path in one.sources))
    numbers = {path: number for number, path in enumerate(sources)}
    runs = overlay(
        [join(one.tensors) for one in blueprints],
        [[numbers[path] for path in one.sources] for one in blueprints],
    )
    return _Work(blueprints[0], len(blueprints), list(runs), sources)


@dataclass(frozen=True, slots=True)
class _Sizes:
    chunk_elements: int
    task_elements: int
    block_bytes: int
    threads: int


def _sizes(work: _Work, budget_bytes: int, threads: int | None) -> _Sizes:
    """Choose sizes for which all buffers together stay within the budget."""
    width = DTYPE_BYTES[DTYPES[work.first.dtype]]
    least_chunk = max(lane.width for run in work.runs for lane in run.lanes)
    least_task = max(run.width for run in work.runs)
    block = min(BLOCK_BYTES, max(64, budget_bytes // 4))
    count = threads or min(_MOST_THREADS, torch.get_num_threads())
    chunk, task = max(CHUNK_ELEMENTS, least_chunk), max(_TASK_ELEMENTS, least_task)
    while True:
        # Every thread's workspace; one task for each thread and two more that wait or are being
        # written; a block for writing.
        workspaces = count * chunk * (WORKSPACE_BYTES + 4 * work.count)
        needed = workspaces + (count + 2) * width * task * work.count + block
        if needed <= budget_bytes:
            return _Sizes(chunk, task, block, count)
        if (count, chunk, task) == (1, least_chunk, least_task):
            raise UnsupportedError(
                f"a budget of {budget_bytes} bytes is too small for this composition, "
                f"expected at least {needed}"
            )
        count = max(1, count // 2)
        chunk, task = max(chunk // 2, least_chunk), max(task // 2, least_task)


class _Executor:
    """Computes tasks in threads: into buffers that are handed on in order, or right in place."""

    def __init__(self, work: _Work, sources: Sources, sizes: _Sizes) -> None:
        self._work = work
        self._sources = sources
        self._sizes = sizes
        self._dtype = DTYPES[work.first.dtype]
        self._size = DTYPE_BYTES[self._dtype]
        self._workspaces: SimpleQueue[Workspace] = SimpleQueue()

    def in_order(self, tasks: Sequence[Task]) -> Iterator[list[memoryview]]:
        """The results of one task after another; each is valid until the next one is asked for."""
        waiting = min(self._sizes.threads + 2, len(tasks))
        largest = max(task.elements for task in tasks) * self._size
        buffers = cycle([self._buffers(largest) for _ in range(waiting)])
        yield from self._computed(zip(tasks, buffers, strict=False), len(tasks), waiting)

    def in_place(self, tasks: Sequence[Task], results: Sequence[memoryview]) -> None:
        """Compute all tasks into the data of the results."""
        places = (
            [result[task.start * self._size :][: task.elements * self._size] for result in results]
            for task in tasks
        )
        for _ in self._computed(zip(tasks, places, strict=True), len(tasks), len(tasks)):
            pass

    def _buffers(self, size_bytes: int) -> list[memoryview]:
        return [memoryview(bytearray(size_bytes)) for _ in range(self._work.count)]

    def _computed(
        self, work: Iterable[tuple[Task, list[memoryview]]], tasks: int, waiting: int
    ) -> Iterator[list[memoryview]]:
        threads = min(self._sizes.threads, tasks)
        KERNELS.expect(self._work.products)
        for _ in range(threads):
            self._workspaces.put(Workspace(self._sizes.chunk_elements, self._work.count))
        if tasks == 1:
            for task, places in work:
                yield self._compute(task, places)
            return
        pending: deque[Future[list[memoryview]]] = deque()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="compose")
        try:
            for task, places in work:
                if len(pending) == waiting:
                    yield pending.popleft().result()
                pending.append(pool.submit(self._compute, task, places))
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _compute(self, task: Task, places: Sequence[memoryview]) -> list[memoryview]:
        results = [place[: task.elements * self._size] for place in places]
        values = [torch.frombuffer(one, dtype=TORCH_DTYPES[self._dtype]) for one in results]
        workspace = self._workspaces.get()
        try:
            # What overflows is found in the result and named there.
            with torch.inference_mode(), numpy.errstate(all="ignore"):
                position = 0
                for part in task.parts:
                    end = position + (part.last - part.first) * part.run.width
                    there = slice(position * self._size, end * self._size)
                    if not self._copied(part, [one[there] for one in results]):
                        self._sum(part, [one[position:end] for one in values], workspace)
                    position = end
        finally:
            self._workspaces.put(workspace)
        for one in results:
            bad = first_not_finite(one, self._dtype)
            if bad is not None:
                raise self._not_finite(task.start + bad)
        return results

    def _copied(self, part: Part, places: Sequence[memoryview]) -> bool:
        """Read a part right into its place where nothing is to be computed."""
        shares = part.run.lanes[0].shares
        if len(part.run.lanes) > 1 or len(shares) > 1 or shares[0].dtype != self._dtype:
            return False
        if any(coefficient != 1.0 for coefficient in shares[0].coefficients):
            return False
        start = shares[0].start + part.first * part.run.width * self._size
        self._sources.read(shares[0].source, places[0], start)
        for place in places[1:]:
            place[:] = places[0]
        return True

    def _sum(self, part: Part, values: Sequence[torch.Tensor], workspace: Workspace) -> None:
        run, rows = part.run, part.last - part.first
        tables = [one.view(rows, run.width) for one in values]
        step = self._sizes.chunk_elements // max(lane.width for lane in run.lanes)
        for row in range(0, rows, step):
            count = min(step, rows - row)
            left = 0
            for lane in run.lanes:
                width = lane.width
                first = (part.first + row) * width
                sums = workspace.add_up(lane, first, count * width, self._sources.read)
                for total, table in zip(sums, tables, strict=True):
                    store(total, table[row : row + count, left : left + width])
                left += width

    def _not_finite(self, element: int) -> UnsupportedError:
        first = self._work.first
        ends = list(accumulate(prod(tensor.shape) for tensor in first.tensors))
        name = first.tensors[bisect_right(ends, element)].name
        return UnsupportedError(
            f"the result would hold a NaN or an infinity as {first.dtype} "
            f"in tensor {quoted(name, 120)}",
            hint="the sum is too large"
            + (": compose with --dtype float32" if first.dtype == "float16" else ""),
        )

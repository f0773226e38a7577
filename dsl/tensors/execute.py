"""Blueprints carried out: file to file in order, in bounded memory, always the same bits.

The result is cut into tasks of some hundred kilobytes, which threads compute from slices of the
sources while finished ones are written in order. Every element is computed for itself, so nothing
depends on the cuts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, cycle
from math import prod
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import torch

from ..algebra.interface import Block, Piece
from ..errors import UnsupportedError, WeightsError, quoted
from .blueprint import DTYPES, Blueprint
from .kernels import CHUNK_ELEMENTS, TORCH_DTYPES, Workspace, first_not_finite, store
from .schedule import Part, Task, cut, join
from .sources import Sources
from .tensorfile import BLOCK_BYTES, DTYPE_BYTES, Blocks, parse_header

_TASK_ELEMENTS: Final = 2 * CHUNK_ELEMENTS
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
        WeightsError: a source is damaged, or the result would hold a NaN or an infinity.
        UnsupportedError: the budget is too small for a single step.
    """
    blocks = join(blueprint.tensors)
    sizes = _sizes(blueprint, blocks, budget_bytes, threads)
    tasks = list(cut(blocks, sizes.task_elements))
    result = Blocks(write, sizes.block_bytes)
    with Sources(blueprint.sources) as sources:
        result.write(memoryview(blueprint.header()))
        _Executor(blueprint, sources, sizes).run(tasks, result.write)
    result.flush()


def state_dict(blueprint: Blueprint) -> dict[str, torch.Tensor]:
    """The composed tensors in memory, named as in the file.

    Raises:
        WeightsError: a source is damaged, or the result would hold a NaN or an infinity.
    """
    data = bytearray(blueprint.size_bytes)
    position = 0

    def keep(block: memoryview) -> None:
        nonlocal position
        data[position : position + len(block)] = block
        position += len(block)

    execute(blueprint, keep)
    header = parse_header(blueprint.header()[8:], len(data), Path("the result"))
    return {
        entry.name: torch.frombuffer(
            data, dtype=TORCH_DTYPES[entry.dtype], count=entry.elements, offset=entry.start
        ).reshape(entry.shape)
        for entry in header.entries
    }


@dataclass(frozen=True, slots=True)
class _Sizes:
    chunk_elements: int
    task_elements: int
    block_bytes: int
    threads: int


def _sizes(
    blueprint: Blueprint, blocks: Sequence[Block], budget_bytes: int, threads: int | None
) -> _Sizes:
    """Choose sizes for which all buffers together stay within the budget."""
    width = DTYPE_BYTES[DTYPES[blueprint.dtype]]
    least_chunk = max(column.width for block in blocks for column in block.columns)
    least_task = max(block.width for block in blocks)
    block = min(BLOCK_BYTES, max(64, budget_bytes // 4))
    count = threads or min(_MOST_THREADS, torch.get_num_threads())
    chunk, task = max(CHUNK_ELEMENTS, least_chunk), max(_TASK_ELEMENTS, least_task)
    while True:
        # Three float32 numbers an element of every thread's workspace; one task for each thread
        # and two more that wait or are being written; a block for writing.
        needed = count * 12 * chunk + (count + 2) * width * task + block
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
    """Computes tasks in threads and writes them in order."""

    def __init__(self, blueprint: Blueprint, sources: Sources, sizes: _Sizes) -> None:
        self._blueprint = blueprint
        self._sources = sources
        self._sizes = sizes
        self._dtype = DTYPES[blueprint.dtype]
        self._size = DTYPE_BYTES[self._dtype]
        self._workspaces: SimpleQueue[Workspace] = SimpleQueue()

    def run(self, tasks: Sequence[Task], write: Write) -> None:
        threads = min(self._sizes.threads, len(tasks))
        for _ in range(threads):
            self._workspaces.put(Workspace(self._sizes.chunk_elements))
        largest = max(task.elements for task in tasks) * self._size
        buffers = [bytearray(largest) for _ in range(min(threads + 2, len(tasks)))]
        if len(tasks) == 1:
            write(self._compute(tasks[0], buffers[0]))
            return
        pending: deque[Future[memoryview]] = deque()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="compose")
        try:
            for task, buffer in zip(tasks, cycle(buffers), strict=False):
                if len(pending) == len(buffers):
                    write(pending.popleft().result())
                pending.append(pool.submit(self._compute, task, buffer))
            while pending:
                write(pending.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def _compute(self, task: Task, buffer: bytearray) -> memoryview:
        result = memoryview(buffer)[: task.elements * self._size]
        values = torch.frombuffer(result, dtype=TORCH_DTYPES[self._dtype])
        workspace = self._workspaces.get()
        try:
            with torch.inference_mode():
                position = 0
                for part in task.parts:
                    end = position + (part.last - part.first) * part.block.width
                    if not self._copied(part, result[position * self._size : end * self._size]):
                        self._sum(part, values[position:end], workspace)
                    position = end
                bad = first_not_finite(values)
        finally:
            self._workspaces.put(workspace)
        if bad is not None:
            raise self._not_finite(task.start + bad)
        return result

    def _copied(self, part: Part, place: memoryview) -> bool:
        """Read a part right into its place where nothing is to be computed."""
        pieces = part.block.columns[0].pieces
        if len(part.block.columns) > 1 or not _is_copy(pieces, self._dtype):
            return False
        start = pieces[0].start + part.first * part.block.width * self._size
        self._sources.read(pieces[0].source, place, start)
        return True

    def _sum(self, part: Part, values: torch.Tensor, workspace: Workspace) -> None:
        block, rows = part.block, part.last - part.first
        table = values.view(rows, block.width)
        step = self._sizes.chunk_elements // max(column.width for column in block.columns)
        for row in range(0, rows, step):
            count = min(step, rows - row)
            left = 0
            for column in block.columns:
                width = column.width
                first = (part.first + row) * width
                sums = workspace.add_up(column, first, count * width, self._sources.read)
                store(sums, table[row : row + count, left : left + width])
                left += width

    def _not_finite(self, element: int) -> WeightsError:
        ends = list(accumulate(prod(tensor.shape) for tensor in self._blueprint.tensors))
        name = self._blueprint.tensors[bisect_right(ends, element)].name
        return WeightsError(
            f"the result would hold a NaN or an infinity as {self._blueprint.dtype} "
            f"in tensor {quoted(name, 120)}",
            hint="a source is damaged, or the sum is too large"
            + (": compose with --dtype float32" if self._blueprint.dtype == "float16" else ""),
        )


def _is_copy(pieces: Sequence[Piece], dtype: str) -> bool:
    return len(pieces) == 1 and pieces[0].coefficient == 1.0 and pieces[0].dtype == dtype

"""Blueprints with functions made ready: every step carried out, into files that go away again."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnsupportedError, quoted
from ..sizes import size_words
from .blueprint import Blueprint, assemble
from .tensorfile import read_header

if TYPE_CHECKING:
    from .steps import Makings, Report, Step


@dataclass(frozen=True, slots=True)
class Ready:
    """A blueprint that can be executed, and what the functions in it reported."""

    blueprint: Blueprint
    reports: tuple[Report, ...] = ()


def require_memory(blueprint: Blueprint, memory_bytes: int) -> None:
    """Refuse functions that need more memory than they may have.

    Raises:
        UnsupportedError: naming the function, what it needs, and the limit.
    """
    steps = blueprint.makings.steps if blueprint.makings else ()
    for step in steps:
        if step.memory_bytes > memory_bytes:
            raise UnsupportedError(
                f"{step.derived.function} needs {size_words(step.memory_bytes)} of memory for "
                f"{quoted(step.largest, 120)}, and the limit is {size_words(memory_bytes)}",
                hint=f"raise it with --memory {size_words(step.memory_bytes)}" + _instead(step),
            )


def _instead(step: Step) -> str:
    if not step.is_dense:
        return ""
    return "; it makes the update of a module as a whole matrix, which elementwise does not"


@contextmanager
def made_ready(blueprint: Blueprint, folder: Path | None, memory_bytes: int) -> Iterator[Ready]:
    """Carry out what functions in a blueprint make, each into a temporary file.

    Args:
        blueprint: a prepared one; without functions it is given back as it is.
        folder: where the temporary files go; None for the system's place. They are removed in the
            end.
        memory_bytes: the most that a function may take.

    Raises:
        UnsupportedError: a function needs more memory.
        WeightsError: a source is damaged.
        UnsupportedError: a function's result would not be finite.
        IncompatibleError: what a function gave does not go together with the rest.
    """
    require_memory(blueprint, memory_bytes)
    makings = blueprint.makings
    if makings is None:
        yield Ready(blueprint)
        return
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        paths = [stack.enter_context(_temporary(folder)) for _ in makings.steps]
        yield _made(makings, paths)


@contextmanager
def _temporary(folder: Path | None) -> Iterator[Path]:
    """A file that goes away in the end; locked, so that one left by a dead process is told."""
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        path = Path(file.name)
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _made(makings: Makings, paths: Sequence[Path]) -> Ready:
    from ..one_thread import in_one_thread
    from .steps import foresee

    adapters = dict(makings.adapters)
    reports: list[Report] = []
    for foreseen, path in zip(makings.steps, paths, strict=True):
        step: Step = foresee(foreseen.derived, adapters)
        # Only whole matrices are large enough for more threads to pay.
        config, report = (
            step.carry_out(path) if step.is_dense else in_one_thread(step.carry_out, path)
        )
        if report is not None:
            reports.append(report)
        operand = replace(step.adapter.operand, path=path, config=config, is_there=True)
        adapters[step.derived] = replace(step.adapter, operand=operand, header=read_header(path))
    return Ready(assemble(makings.plan, adapters, makings.dtype), tuple(reports))

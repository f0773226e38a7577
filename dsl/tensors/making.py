"""Blueprints with functions made ready: every step carried out, into files that go away again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnsupportedError
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
                f"{step.derived.function} needs {in_words(step.memory_bytes)} of memory for "
                f"'{step.largest}', and the limit is {in_words(memory_bytes)}",
                hint=f"raise it: --memory {_rounded(step.memory_bytes)}",
            )


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
        WeightsError: a source is damaged, or a function's result would not be finite.
        IncompatibleError: what a function gave does not go together with the rest.
    """
    require_memory(blueprint, memory_bytes)
    makings = blueprint.makings
    if makings is None:
        yield Ready(blueprint)
        return
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="making-", dir=folder))
    try:
        yield _made(makings, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _made(makings: Makings, folder: Path) -> Ready:
    from .steps import foresee

    adapters = dict(makings.adapters)
    reports: list[Report] = []
    for foreseen in makings.steps:
        step: Step = foresee(foreseen.derived, adapters)
        path = folder / f"{step.derived.digest}.safetensors"
        config, report = step.carry_out(path)
        if report is not None:
            reports.append(report)
        operand = replace(step.adapter.operand, path=path, config=config, is_there=True)
        adapters[step.derived] = replace(step.adapter, operand=operand, header=read_header(path))
    return Ready(assemble(makings.plan, adapters, makings.dtype), tuple(reports))


def in_words(size_bytes: int) -> str:
    """A size for people, rounded up in the last digit.

    >>> in_words(256 << 20), in_words(5 * 10**9)
    ('256 MiB', '4.7 GiB')
    """
    if size_bytes < 1 << 30:
        return f"{-(-size_bytes >> 20)} MiB"
    return f"{-(-size_bytes * 10 >> 30) / 10:.1f} GiB"


def _rounded(size_bytes: int) -> str:
    return in_words(size_bytes).replace(" ", "")

"""Functions at work in a composition: what each does, what it needs, what it lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..dsl.functions import FUNCTION_BY_NAME
from ..dsl.meaning.plan import AdapterKey, Derived
from ..dsl.tensors.making import made_ready
from ..store import BlobStore, VersionRecord

if TYPE_CHECKING:
    from ..dsl.tensors.blueprint import Blueprint
    from ..dsl.tensors.steps import Report, Step
    from .composition import Compiled


@dataclass(frozen=True, slots=True)
class Working:
    """One function at work.

    Attributes:
        function: its name.
        call: with the names of the adapters.
        works_on: what it takes there: `elementwise`, or true updates (`exact`).
        what: that in words.
        memory_bytes, disk_bytes: the most that it takes at once, and its temporary file.
        largest: the tensor or module for which it takes most.
        is_dense: whether it makes updates as whole matrices.
        tolerance: how far results may differ between machines; None where not at all.
        error: Frobenius norm of what lowering the rank lost over that of all updates; None where
            nothing can be lost, and where it was not carried out.
        error_by_module: the same at each module.
    """

    function: str
    call: str
    works_on: str
    what: str
    memory_bytes: int
    disk_bytes: int
    largest: str
    is_dense: bool
    tolerance: float | None
    error: float | None = None
    error_by_module: Mapping[str, float] = field(default_factory=dict)


def workings_of(
    blueprint: Blueprint, parents: Mapping[AdapterKey, VersionRecord]
) -> tuple[Working, ...]:
    """The functions of a blueprint that are still to be carried out, the innermost first."""
    steps = blueprint.makings.steps if blueprint.makings else ()
    return tuple(_working(step, parents) for step in steps)


@contextmanager
def made(blobs: BlobStore, compiled: Compiled) -> Iterator[Compiled]:
    """A compiled request with everything made that functions in it make, while it is needed.

    Raises:
        UnsupportedError: a function needs more memory than the request may take.
        WeightsError: weights are damaged, or what a function makes would not be finite.
    """
    folder = blobs.root / "tmp"
    with made_ready(compiled.blueprint, folder, compiled.request.memory_bytes) as ready:
        makings = compiled.blueprint.makings
        if makings is None:
            yield compiled
            return
        reported = {report.derived: report for report in ready.reports}
        workings = [
            _reported(working, reported.get(step.derived))
            for working, step in zip(
                workings_of(compiled.blueprint, compiled.parents), makings.steps, strict=True
            )
        ]
        yield replace(compiled, blueprint=ready.blueprint, workings=tuple(workings))


def tolerance_of(workings: tuple[Working, ...]) -> float | None:
    """How far a result may differ between machines, relative to its norm; None for not at all."""
    known = [one.tolerance for one in workings if one.tolerance is not None]
    return max(known, default=None)


def errors_as_json(workings: tuple[Working, ...]) -> tuple[dict[str, Any], ...]:
    """What functions lost, for a lock."""
    return tuple(
        {"call": one.call, "relative": one.error, "modules": dict(one.error_by_module)}
        for one in workings
        if one.error is not None
    )


def with_errors(
    workings: tuple[Working, ...], errors: Iterable[Mapping[str, Any]]
) -> tuple[Working, ...]:
    """Functions with what they lost, as a lock has it."""
    by_call = {one["call"]: one for one in errors}
    return tuple(
        replace(
            one,
            error=by_call[one.call]["relative"],
            error_by_module=dict(by_call[one.call]["modules"]),
        )
        if one.call in by_call
        else one
        for one in workings
    )


def named(derived: Derived, parents: Mapping[AdapterKey, VersionRecord]) -> str:
    """A call with the names of adapters in place of their digests."""
    return derived.words(lambda key: parents[key].label)


def _working(step: Step, parents: Mapping[AdapterKey, VersionRecord]) -> Working:
    derived = step.derived
    function = FUNCTION_BY_NAME[derived.function]
    is_exact = function.works_on == "updates" or "rank" in dict(derived.options)
    what = function.exact if is_exact else function.elementwise
    return Working(
        function=function.name,
        call=named(derived, parents),
        works_on="exact" if is_exact else "elementwise",
        what=what or "the true update of each module",
        memory_bytes=step.memory_bytes,
        disk_bytes=step.disk_bytes,
        largest=step.largest,
        is_dense=step.is_dense,
        tolerance=step.tolerance,
    )


def _reported(working: Working, report: Report | None) -> Working:
    if report is None:
        return working
    errors = {one.module: one.relative for one in report.modules}
    return replace(working, error=report.relative, error_by_module=errors)

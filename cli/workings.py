"""Functions at work in a composition, as commands print them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .output import print_fields, print_text

if TYPE_CHECKING:
    from ..hub.workings import Working

_SHOWN_MODULES = 3


def working_json(working: Working) -> dict[str, Any]:
    """Return what a function does, needs and loses."""
    return {
        "function": working.function,
        "call": working.call,
        "works_on": working.works_on,
        "memory": working.memory_bytes,
        "disk": working.disk_bytes,
        "largest": working.largest,
        "dense": working.is_dense,
        "tolerance": working.tolerance,
        "error": working.error,
        "modules": dict(working.error_by_module),
    }


def print_workings(workings: Iterable[Working]) -> None:
    """Print what functions do, need and lose, one after another."""
    from ..dsl.sizes import size_words

    for working in workings:
        print_text(f"  {working.call}")
        print_fields(
            (
                ("works on", f"{working.works_on}: {working.what}"),
                ("memory", f"{size_words(working.memory_bytes)}, most for {working.largest}"),
                ("temporary file", size_words(working.disk_bytes)),
                ("the same", _sameness(working)),
                ("lost", _loss(working)),
            ),
            indent="    ",
        )


def _sameness(working: Working) -> str:
    if working.tolerance is None:
        return "to the bit on any machine"
    return f"on any machine to {working.tolerance:g} of the norm"


def _loss(working: Working) -> str | None:
    """Return the relative error in all, and where it is largest."""
    if working.error is None:
        return None
    worst = sorted(working.error_by_module.items(), key=lambda item: -item[1])[:_SHOWN_MODULES]
    most = ", ".join(f"{module} {error:.4f}" for module, error in worst)
    return f"{working.error:.4f} of the norm of the updates; most at {most}"

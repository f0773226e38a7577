"""What the weights say about a composition before it is made: its distance, and its risks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..dsl.algebra.interface import Mixed
from ..dsl.meaning.plan import AdapterKey, Atom, Plan
from ..dsl.tensors.alignment import Alignment, alignments
from ..dsl.tensors.blueprint import Blueprint
from ..dsl.tensors.divergence import Divergence, divergence
from ..store import VersionRecord

if TYPE_CHECKING:
    from ..dsl.tensors.steps import Makings


def distance_from_exact(blueprint: Blueprint) -> Divergence | None:
    """How far a blueprint's result lies from the exact sum of updates; None where it is that sum.

    Raises:
        WeightsError: a source cannot be read.
    """
    return divergence(blueprint.sources, blueprint.sums) if blueprint.sums else None


def distance_in_words(blueprint: Blueprint) -> str | None:
    """The same in a sentence, for people."""
    found = distance_from_exact(blueprint)
    return None if found is None else found.total.words


def with_risks(
    blueprint: Blueprint,
    plan: Plan,
    parents: Mapping[AdapterKey, VersionRecord],
    makings: Makings | None = None,
) -> Blueprint:
    """The blueprint, with a warning where it mixes adapters that seem to have no common start.

    Reads the A factors of sums of factors, and nothing of exact sums.

    Args:
        blueprint: a prepared plan, with everything made that functions make.
        plan: what was prepared; its atoms are the blueprint's sources.
        parents: the catalogue's records of the adapters.
        makings: what functions in the plan have made.

    Raises:
        WeightsError: a source cannot be read.
    """
    warnings = list(blueprint.warnings)
    for step in makings.steps if makings else ():
        met = step.meetings()
        what = f"{step.derived.words(lambda key: parents[key].label)} is"
        warnings += _warned(met.keys, met.paths, met.sums, parents, (what, "works on"))
    what = f"{plan.semantics} sums are"
    warnings += _warned(plan.atoms, blueprint.sources, blueprint.sums, parents, (what, "sums"))
    return replace(blueprint, warnings=tuple(warnings))


def _warned(
    atoms: Sequence[Atom],
    paths: Sequence[Path],
    sums: Sequence[Mixed],
    parents: Mapping[AdapterKey, VersionRecord],
    words: tuple[str, str],
) -> list[str]:
    unrelated = [one for one in alignments(paths, sums) if one.unrelated]
    return (
        [_warning(unrelated, [_source(one, parents) for one in atoms], words)] if unrelated else []
    )


def _source(atom: Atom, parents: Mapping[AdapterKey, VersionRecord]) -> tuple[str, bool]:
    """What a source is called, and whether it was composed."""
    if isinstance(atom, AdapterKey):
        return parents[atom].label, parents[atom].kind == "composed"
    return atom.words(lambda key: parents[key].label), True


def _warning(
    unrelated: Sequence[Alignment],
    sources: Sequence[tuple[str, bool]],
    words: tuple[str, str],
) -> str:
    """One sentence on the pair that is least alike; how many more there are, and what to do."""
    mixing, does = words
    least = min(unrelated, key=lambda one: one.cosine)
    pair = sources[least.first], sources[least.second]
    more = len(unrelated) - 1
    others = f", and {more} more {'pair' if more == 1 else 'pairs'} likewise" if more else ""
    composed = [f"'{name}'" for name, is_composed in pair if is_composed]
    caution = f" ({' and '.join(composed)} being composed may also cause it)" if composed else ""
    return (
        f"the A factors of '{pair[0][0]}' and '{pair[1][0]}' have a cosine of "
        f"{round(least.cosine, 2) + 0.0:.2f}{others}: going by the weights, they did not start "
        f"from one initialisation{caution}, and {mixing} only right around a "
        f"shared start; exact(...) {does} the updates themselves"
    )

"""What the weights say about a composition before it is made: its distance, and its risks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..dsl.meaning.plan import AdapterKey, Atom, Plan
from ..dsl.tensors.alignment import Alignment, alignments
from ..dsl.tensors.blueprint import Blueprint
from ..dsl.tensors.divergence import Divergence, divergence
from ..store import VersionRecord


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
    blueprint: Blueprint, plan: Plan, parents: Mapping[AdapterKey, VersionRecord]
) -> Blueprint:
    """The blueprint, with a warning where its sum mixes adapters that seem to have no common start.

    Reads the A factors of sums of factors, and nothing of exact sums.

    Args:
        blueprint: a prepared plan.
        plan: what was prepared; its atoms are the blueprint's sources.
        parents: the catalogue's records of the adapters.

    Raises:
        WeightsError: a source cannot be read.
    """
    unrelated = [one for one in alignments(blueprint.sources, blueprint.sums) if one.unrelated]
    if not unrelated:
        return blueprint
    sources = [_source(atom, parents) for atom in plan.atoms]
    return replace(blueprint, warnings=(*blueprint.warnings, _warning(unrelated, sources, plan)))


def _source(atom: Atom, parents: Mapping[AdapterKey, VersionRecord]) -> tuple[str, bool]:
    """What a source is called, and whether it was composed."""
    if isinstance(atom, AdapterKey):
        return parents[atom].label, parents[atom].kind == "composed"
    return atom.words(lambda key: parents[key].label), True


def _warning(
    unrelated: Sequence[Alignment], sources: Sequence[tuple[str, bool]], plan: Plan
) -> str:
    """One sentence on the pair that is least alike; how many more there are, and what to do."""
    least = min(unrelated, key=lambda one: one.cosine)
    pair = sources[least.first], sources[least.second]
    more = len(unrelated) - 1
    others = f", and {more} more {'pair' if more == 1 else 'pairs'} likewise" if more else ""
    composed = [f"'{name}'" for name, is_composed in pair if is_composed]
    caution = f" ({' and '.join(composed)} being composed may also cause it)" if composed else ""
    return (
        f"the A factors of '{pair[0][0]}' and '{pair[1][0]}' have a cosine of "
        f"{round(least.cosine, 2) + 0.0:.2f}{others}: going by the weights, they did not start "
        f"from one initialisation{caution}, and {plan.semantics} sums are only right around a "
        "shared start; exact(...) sums the updates themselves"
    )

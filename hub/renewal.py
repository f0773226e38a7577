"""Which compositions would come out differently today, and composing them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..dsl.errors import DslError
from ..dsl.meaning.catalogue import Candidate, Context, label
from ..dsl.meaning.evaluate import Evaluation
from ..dsl.meaning.lock import Lock, lock_from_json
from ..dsl.meaning.plan import AdapterKey, Plan, Term, readable
from ..dsl.text.parse import parse
from ..store import Catalog, VersionRecord
from .composition import Outdated, Request, resolve_request
from .cookbook import recipes_behind, recipes_of
from .errors import SourceError


def request_again(record: VersionRecord) -> Request:
    """The request that made a version, to be asked again.

    Raises:
        SourceError: the version was not composed.
    """
    lock = lock_of(record)
    context = Context(**lock.context)
    return Request(lock.expression, lock.parameters, lock.plan.semantics, lock.dtype, context)


def lock_of(record: VersionRecord) -> Lock:
    """The lock of a composed version.

    Raises:
        SourceError: the version was not composed.
    """
    if record.composition is None:
        raise SourceError(f"{label(record)} was not composed: it is of kind {record.kind}")
    return lock_from_json(record.composition.lock)


def find_outdated(catalog: Catalog, name: str | None = None) -> list[Outdated]:
    """The latest compositions (or the one called `name`) that would come out differently today.

    Raises:
        UnknownVersionError: there is no such name. SourceError: it was not composed.
    """
    composed = ("and", (("compare", "kind", "=", "composed"), ("flag", "here")))
    records = [record for record in catalog.find(composed) if record.withdrawn is None]
    if name is not None:
        asked = catalog.get(name)
        parents = _parent_labels(asked)
        records = [asked, *(record for record in records if record.label in parents)]
    found = {record.label: _compared(catalog, record) for record in records}
    stale = {entry.version.label: entry for entry in found.values() if entry.reasons}
    return [
        _with_stale_parents(entry, stale)
        for entry in found.values()
        if (name is None or entry.version.name == name)
        and (entry.reasons or _stale_parents(entry.version, stale))
    ]


def difference(before: Plan, after: Plan, names: Mapping[AdapterKey, str]) -> tuple[str, ...]:
    """The summands that two plans do not share, `- ` for the first, `+ ` for the second."""
    old, new = set(before.terms), set(after.terms)
    removed = [f"- {_shown(term, names)}" for term in before.terms if term not in new]
    added = [f"+ {_shown(term, names)}" for term in after.terms if term not in old]
    return (*removed, *added)


def renewals_of(catalog: Catalog, records: Iterable[VersionRecord]) -> tuple[Outdated, ...]:
    """The composed ones among versions that a fresh resolution would make differently."""
    compared = (_compared(catalog, one) for one in records if one.composition and one.here)
    return tuple(entry for entry in compared if entry.reasons)


def changes_since(record: VersionRecord, evaluation: Evaluation) -> tuple[str, ...]:
    """The summands that differ between a composed version and an evaluation of today."""
    lock = lock_of(record)
    names = {**lock_names(lock), **evaluation_names(evaluation)}
    return difference(lock.plan, evaluation.plan, names)


def lock_names(lock: Lock) -> dict[AdapterKey, str]:
    """What a lock calls its adapters."""
    return {adapter.key: f"{adapter.name}@v{adapter.version}" for adapter in lock.adapters}


def evaluation_names(evaluation: Evaluation) -> dict[AdapterKey, str]:
    """What the catalogue calls the adapters of an evaluation."""
    return {key: label(candidate) for key, candidate in evaluation.adapters.items()}


def _shown(term: Term, names: Mapping[AdapterKey, str]) -> str:
    kept = "".join(f", {one.as_json()}" for one in term.filters)
    atom = term.adapter
    what = names[atom] if isinstance(atom, AdapterKey) else atom.words(names.__getitem__)
    return f"{readable(term.coefficient)} * {what}{kept}"


def _compared(catalog: Catalog, record: VersionRecord) -> Outdated:
    request = request_again(record)
    lock = lock_of(record)
    reasons = _withdrawn_parents(catalog, record)
    try:
        evaluation = resolve_request(catalog, request, parse(request.expression))
    except DslError as error:
        return Outdated(record, (), (*reasons, f"it cannot be resolved any more: {error.message}"))
    if evaluation.plan.digest == lock.plan.digest:
        return Outdated(record, (), tuple(reasons))
    changes = changes_since(record, evaluation)
    reasons += _changed_recipes(catalog, record, request)
    reasons += _moves(lock, evaluation, known=bool(reasons))
    return Outdated(record, changes, tuple(reasons))


def _changed_recipes(catalog: Catalog, record: VersionRecord, request: Request) -> list[str]:
    """The recipes behind a composition that were saved anew since it was made, in words."""
    behind = recipes_behind(parse(request.expression), recipes_of(catalog))
    saved = {one.name: one for one in catalog.recipes.latest()}
    return [
        f"the recipe {name} was changed: it is v{saved[name].version} now"
        for name in sorted(behind)
        if name in saved and saved[name].created_at > record.created_at
    ]


def _moves(lock: Lock, evaluation: Evaluation, *, known: bool) -> list[str]:
    """What happened to the parents, in words; something, unless a reason is known already."""
    before = {adapter.name: adapter for adapter in lock.adapters}
    after = {item.name: item for item in evaluation.adapters.values()}
    moves = [
        f"{name}@v{before[name].version} is now v{after[name].version}"
        for name in sorted(before.keys() & after.keys())
        if before[name].version != after[name].version
    ]
    gone, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    if gone:
        moves.append(f"no longer selected: {', '.join(gone)}")
    if new:
        moves.append(f"newly selected: {', '.join(new)}")
    awaited = [label(item) for item in evaluation.adapters.values() if not _is_here(item)]
    if awaited:
        listed = ", ".join(sorted(awaited))
        moves.append(f"the weights of {listed} are not here yet, and may be the same")
    return moves if moves or known else ["the expression means another sum today"]


def _is_here(candidate: Candidate) -> bool:
    return not isinstance(candidate, VersionRecord) or candidate.here


def _withdrawn_parents(catalog: Catalog, record: VersionRecord) -> list[str]:
    reasons = []
    for parent in record.composition.parents if record.composition else ():
        versions = catalog.by_digest(parent.digest, parent.config_digest)
        withdrawn = [item for item in versions if item.withdrawn is not None]
        if versions and len(withdrawn) == len(versions):
            reasons.append(f"{withdrawn[-1].label} was withdrawn: {withdrawn[-1].withdrawn}")
    return reasons


def _parent_labels(record: VersionRecord) -> set[str]:
    parents = record.composition.parents if record.composition else ()
    return {f"{parent.name}@v{parent.version}" for parent in parents}


def _stale_parents(record: VersionRecord, stale: Mapping[str, Outdated]) -> list[str]:
    return sorted(_parent_labels(record) & stale.keys())


def _with_stale_parents(entry: Outdated, stale: Mapping[str, Outdated]) -> Outdated:
    more = tuple(f"its parent {name} is outdated" for name in _stale_parents(entry.version, stale))
    return Outdated(entry.version, entry.changes, entry.reasons + more)

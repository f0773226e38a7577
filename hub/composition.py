"""From an expression to what it means here and now: compiled against the catalogue."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from ..dsl.checks.check import check
from ..dsl.meaning.catalogue import Choice, Context, label
from ..dsl.meaning.evaluate import Evaluation, evaluate
from ..dsl.meaning.plan import AdapterKey
from ..dsl.sizes import DEFAULT_MEMORY_BYTES, size_words
from ..dsl.syntax import Program
from ..dsl.tensors.blueprint import Blueprint, Operand, prepare
from ..dsl.tensors.divergence import Divergence
from ..dsl.text.parse import parse
from ..dsl.text.print import print_program
from ..store import BlobError, BlobStore, Catalog, ParentRecord, VersionRecord
from .assessment import distance_from_exact, with_risks
from .awaited import Bring, Download, Look, refuse_awaited, weights_of
from .cookbook import recipes_of
from .errors import IntegrityError
from .workings import Working, made, workings_of

_MOST_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: the program, its parameters, and what selectors leave open.

    `memory_bytes` is the most that carrying it out may take.
    """

    expression: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    semantics: str | None = None
    dtype: str | None = None
    context: Context = field(default_factory=Context)
    memory_bytes: int = DEFAULT_MEMORY_BYTES


@dataclass(frozen=True, slots=True)
class Compiled:
    """A request understood, resolved and found possible; no tensor has been read yet.

    Where functions have to make something first, the blueprint cannot be executed before
    `workings.made` has them do so; `workings` are those functions then, with what they lost.
    """

    request: Request
    program: Program
    evaluation: Evaluation
    parents: Mapping[AdapterKey, VersionRecord]
    blueprint: Blueprint
    workings: tuple[Working, ...] = ()


@dataclass(frozen=True, slots=True)
class Outdated:
    """A composed version and how it would come out today.

    Attributes:
        version: the composed version.
        changes: lines of the difference, `- ` for what it was made of, `+ ` for what it would be.
        reasons: what happened since, one sentence each; empty when nothing did.
    """

    version: VersionRecord
    changes: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an expression means here and now, without carrying it out.

    Attributes:
        program: the syntax as understood, printed back.
        choices: what each selector chose, and why.
        terms: coefficient, label, digest and filters of each summand.
        size_bytes, bytes_to_read: of the result's file, and of the inputs.
        divergence: how far the semantics lie from the exact sum; None under `exact`, and for
            PEFT types whose update is no product of two factors.
        renewals: composed adapters among the chosen ones that would come out differently today.
        workings: the functions in it that are not linear: what they do and need; and what they
            lose, where they could be carried out to see.
        downloads: weights that are not here yet. Until they are, canonical form and digest, and
            what else only weights can tell, are None.
    """

    program: str
    choices: tuple[Choice, ...]
    terms: tuple[ParentRecord, ...]
    canonical: str | None
    digest: str | None
    semantics: str
    rank: int | None
    dtype: str
    size_bytes: int
    bytes_to_read: int
    warnings: tuple[str, ...]
    divergence: Divergence | None = None
    renewals: tuple[Outdated, ...] = ()
    workings: tuple[Working, ...] = ()
    downloads: tuple[Download, ...] = ()


def compile_request(
    catalog: Catalog,
    blobs: BlobStore,
    request: Request,
    bring: Bring = refuse_awaited,
    look: Look | None = None,
) -> Compiled:
    """Parse, check, resolve, plan and prepare a request; reads headers, no tensors.

    Args:
        bring: gets the weights of adapters that are not here yet, before anything is planned.
        look: gives a file with the header of such weights instead; nothing is brought then.

    Raises:
        DslError: every way in which a program can be wrong or impossible.
    """
    program = parse(request.expression)
    while True:
        evaluation = resolve_request(catalog, request, program)
        parents = parents_of(catalog, evaluation)
        awaited = [record for record in parents.values() if not record.here]
        if not awaited or look is not None:
            break
        bring(awaited)  # They have other digests now, so that the sum has another form.
    operands = {key: operand(record, blobs, look) for key, record in parents.items()}
    blueprint = prepare(evaluation.plan, operands, request.dtype)
    return Compiled(request, program, evaluation, parents, blueprint)


def parents_of(catalog: Catalog, evaluation: Evaluation) -> dict[AdapterKey, VersionRecord]:
    """The adapters of an evaluated program as they are catalogued."""
    return {
        # What the catalogue itself answered is not asked for again.
        key: chosen
        if isinstance(chosen, VersionRecord)
        else catalog.get(chosen.name, chosen.version)
        for key, chosen in evaluation.adapters.items()
    }


def resolve_request(catalog: Catalog, request: Request, program: Program) -> Evaluation:
    """What a parsed request means in a catalogue at this moment.

    Raises:
        DslError: it cannot mean an adapter, or what it selects is not there.
    """
    recipes = recipes_of(catalog)
    functions = {name: recipe.function for name, recipe in recipes.items()}
    checked = check(program, request.parameters, functions)
    return evaluate(checked, catalog, request.context, request.semantics, recipes)


def operand(record: VersionRecord, blobs: BlobStore, look: Look | None = None) -> Operand:
    """A catalogued version as the executor knows it; `look` stands in for weights not here."""
    return Operand(
        key=AdapterKey(record.digest, record.config_digest),
        label=label(record),
        path=weights_of(record, blobs, look),
        config=record.config,
        tokenizer_digest=record.tokenizer_digest,
    )


def refuse_damaged_parents(blobs: BlobStore, compiled: Compiled) -> None:
    """Read the weights of every parent and compare them with their digests.

    A result made of other bytes than its lock names could never be made again.

    Raises:
        IntegrityError: weights that are damaged or gone, with the adapter's name.
    """
    refuse_damaged(blobs, compiled.parents.values())


def refuse_damaged(blobs: BlobStore, records: Iterable[VersionRecord]) -> None:
    """Read the weights of versions, some at once, and compare them with their digests.

    Raises:
        IntegrityError: weights that are damaged or gone, with the adapter's name.
    """

    def check(record: VersionRecord) -> None:
        try:
            blobs.verify(record.digest)
        except BlobError as error:
            raise IntegrityError(f"the weights of {label(record)}: {error}") from error

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for _ in pool.map(check, {record.digest: record for record in records}.values()):
            pass


def explain(
    blobs: BlobStore,
    compiled: Compiled,
    renewals: tuple[Outdated, ...] = (),
    downloads: tuple[Download, ...] = (),
) -> Explanation:
    """What the compiled request means; in full, unless weights are still to be downloaded.

    Functions are carried out to see what they lose and what the sum is far from, unless they make
    whole matrices, which may take minutes, or may not have the memory that they need.
    """
    workings = workings_of(compiled.blueprint, compiled.parents)
    limit = compiled.request.memory_bytes
    beyond = [one for one in workings if one.memory_bytes > limit]
    if downloads or beyond or any(one.is_dense for one in workings):
        warnings = tuple(
            f"{one.call} needs {size_words(one.memory_bytes)} of memory, and the limit is "
            f"{size_words(limit)}: compose it with --memory {size_words(one.memory_bytes)}"
            for one in beyond
        )
        blueprint = compiled.blueprint
        blueprint = replace(blueprint, warnings=(*blueprint.warnings, *warnings))
        return _explanation(
            replace(compiled, blueprint=blueprint, workings=workings), renewals, downloads, None
        )
    with made(blobs, compiled) as ready:
        plan, makings = ready.evaluation.plan, compiled.blueprint.makings
        blueprint = with_risks(ready.blueprint, plan, ready.parents, makings)
        divergence = distance_from_exact(blueprint)
        return _explanation(replace(ready, blueprint=blueprint), renewals, downloads, divergence)


def _explanation(
    compiled: Compiled,
    renewals: tuple[Outdated, ...],
    downloads: tuple[Download, ...],
    divergence: Divergence | None,
) -> Explanation:
    plan, blueprint = compiled.evaluation.plan, compiled.blueprint
    return Explanation(
        program=print_program(compiled.program),
        choices=compiled.evaluation.choices,
        terms=_without_digests(parent_records(compiled), downloads),
        canonical=None if downloads else plan.canonical,
        digest=None if downloads else plan.digest,
        semantics=plan.semantics,
        rank=blueprint.rank,
        dtype=blueprint.dtype,
        size_bytes=blueprint.size_bytes,
        bytes_to_read=blueprint.bytes_to_read,
        warnings=blueprint.warnings,
        divergence=divergence,
        renewals=renewals,
        workings=compiled.workings,
        downloads=downloads,
    )


def _without_digests(
    terms: tuple[ParentRecord, ...], downloads: tuple[Download, ...]
) -> tuple[ParentRecord, ...]:
    """The summands; those that are still to be downloaded have no digest yet."""
    unknown = {one.label for one in downloads}
    return tuple(
        replace(term, digest="") if f"{term.name}@v{term.version}" in unknown else term
        for term in terms
    )


def parent_records(compiled: Compiled) -> tuple[ParentRecord, ...]:
    """The adapters in the plan, also within functions, with their names in the catalogue."""
    return tuple(
        ParentRecord(
            coefficient=str(leaf.coefficient),
            digest=leaf.adapter.weights,
            config_digest=leaf.adapter.config,
            filters=list(leaf.restrictions),
            name=compiled.parents[leaf.adapter].name,
            version=compiled.parents[leaf.adapter].version,
        )
        for leaf in compiled.evaluation.plan.leaves()
    )

"""From an expression to what it means here and now: compiled against the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..dsl.checks.check import check
from ..dsl.meaning.catalogue import Choice, Context, label
from ..dsl.meaning.evaluate import Evaluation, evaluate
from ..dsl.meaning.plan import AdapterKey
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


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: the program, its parameters, and what selectors leave open."""

    expression: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    semantics: str | None = None
    dtype: str | None = None
    context: Context = field(default_factory=Context)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A request understood, resolved and found possible; no tensor has been read yet."""

    request: Request
    program: Program
    evaluation: Evaluation
    parents: Mapping[AdapterKey, VersionRecord]
    blueprint: Blueprint


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
        parents: dict[AdapterKey, VersionRecord] = {}
        for key, candidate in evaluation.adapters.items():
            parents[key] = catalog.get(candidate.name, candidate.version)
        awaited = [record for record in parents.values() if not record.here]
        if not awaited or look is not None:
            break
        bring(awaited)  # They have other digests now, so that the sum has another form.
    operands = {key: operand(record, blobs, look) for key, record in parents.items()}
    blueprint = prepare(evaluation.plan, operands, request.dtype)
    return Compiled(request, program, evaluation, parents, blueprint)


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
    for record in compiled.parents.values():
        try:
            blobs.verify(record.digest)
        except BlobError as error:
            raise IntegrityError(f"the weights of {label(record)}: {error}") from error


def explain(
    compiled: Compiled,
    renewals: tuple[Outdated, ...] = (),
    downloads: tuple[Download, ...] = (),
) -> Explanation:
    """What the compiled request means; in full, unless weights are still to be downloaded."""
    plan = compiled.evaluation.plan
    blueprint = compiled.blueprint
    if not downloads:
        blueprint = with_risks(blueprint, plan, compiled.parents)
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
        divergence=None if downloads else distance_from_exact(blueprint),
        renewals=renewals,
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

"""Carrying a compiled composition out: into the catalogue, into a PEFT folder, or both."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..dsl.algebra import inspect
from ..dsl.meaning.lock import LOCK_NAME, Lock, LockedAdapter
from ..dsl.meaning.plan import AdapterKey
from ..dsl.tensors.configuration import config_digest
from ..dsl.tensors.execute import execute
from ..dsl.tensors.tensorfile import read_header
from ..store import (
    BlobStore,
    Catalog,
    CompositionRecord,
    NewVersion,
    ParentRecord,
    VersionRecord,
)
from .assessment import distance_in_words, with_risks
from .cards.card import CardFacts, write_card
from .cards.licenses import license_of
from .composition import Compiled, parent_records, refuse_damaged_parents
from .doubts import changed_languages
from .errors import OutputError
from .naming import refuse_odd_name, refuse_other_kind
from .output_folder import new_folder
from .peft_folder import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, config_text
from .remote.places import place_of_version, places_of
from .workings import Working, errors_as_json, made, tolerance_of, with_errors, workings_of


@dataclass(frozen=True, slots=True)
class Result:
    """What a person says of a composed adapter.

    Attributes:
        name: in the catalogue; None keeps it out of there.
        output: a folder to write; None writes none.
        languages: normal forms and as given, of the languages that it is for.
    """

    name: str | None
    output: str | Path | None = None
    languages: tuple[str, ...] = ()
    languages_given: tuple[str, ...] = ()
    task: str | None = None
    license: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Composed:
    """A composed adapter: its content, its parents, and where it went.

    Attributes:
        digest, config_digest: sha256 of the result's weights and of its effective configuration.
        name, version: in the catalogue; None when it was only written to a folder.
        output: the folder that was written.
        created: whether this made a new version.
        computed: False when the weights were already there and nothing was calculated.
        workings: the functions in it that are not linear, with what they lost.
    """

    digest: str
    config_digest: str
    canonical: str
    semantics: str
    rank: int | None
    dtype: str
    size_bytes: int
    parents: tuple[ParentRecord, ...]
    warnings: tuple[str, ...]
    name: str | None
    version: int | None
    output: Path | None
    created: bool
    computed: bool
    workings: tuple[Working, ...] = ()


def carry_out(catalog: Catalog, blobs: BlobStore, compiled: Compiled, result: Result) -> Composed:
    """Compose, and keep the result as it was asked for; all or nothing.

    Raises:
        SourceError, NameTakenError: a name that cannot be one. OutputError: a folder that is taken.
        WeightsError: a result that is not finite. IntegrityError: a parent that is damaged.
    """
    if result.name is not None:
        refuse_odd_name(result.name)
        refuse_other_kind(catalog, result.name, "composed")
    known = _known(catalog, blobs, compiled) if result.name is not None else None
    if known is not None and result.output is None and compiled.blueprint.makings is not None:
        return _kept(catalog, blobs, _as_known(compiled, known), result, known, None)
    if known is None:
        refuse_damaged_parents(blobs, compiled)
    with made(blobs, compiled) as ready:
        plan, makings = ready.evaluation.plan, compiled.blueprint.makings
        blueprint = with_risks(ready.blueprint, plan, ready.parents, makings)
        ready = replace(ready, blueprint=blueprint)
        if result.output is None:
            return _kept(catalog, blobs, ready, result, known, None)
        with new_folder(result.output) as folder:
            if result.name is None:
                return _into_folder(catalog, folder, ready, result)
            return _kept(catalog, blobs, ready, result, known, folder)


def _known(catalog: Catalog, blobs: BlobStore, compiled: Compiled) -> VersionRecord | None:
    """An equal composition whose weights are there, so that they need not be computed again."""
    plan = compiled.evaluation.plan
    known = catalog.composed(plan.digest, compiled.blueprint.dtype)
    return known if known is not None and blobs.contains(known.digest) else None


def _as_known(compiled: Compiled, known: VersionRecord) -> Compiled:
    """What carrying out functions would give, as an equal composition has it."""
    blueprint = replace(
        compiled.blueprint,
        config=known.config,
        rank=known.rank,
        size_bytes=known.size_bytes,
        sums=(),
        warnings=known.composition.warnings if known.composition else (),
    )
    errors = known.composition.lock.get("errors", ()) if known.composition else ()
    workings = with_errors(workings_of(compiled.blueprint, compiled.parents), errors)
    return replace(compiled, blueprint=blueprint, workings=workings)


def _into_folder(catalog: Catalog, folder: Path, compiled: Compiled, result: Result) -> Composed:
    with (folder / WEIGHTS_NAME).open("wb") as file:
        hashed = hashlib.sha256()

        def write(buffer: memoryview) -> None:
            hashed.update(buffer)
            file.write(buffer)

        execute(compiled.blueprint, write, budget_bytes=compiled.request.memory_bytes)
    lock = _lock(catalog, compiled, hashed.hexdigest())
    _write_beside(catalog, folder, compiled, lock, result)
    return _composed(compiled, lock, result, None, created=True, computed=True)


def _kept(
    catalog: Catalog,
    blobs: BlobStore,
    compiled: Compiled,
    result: Result,
    known: VersionRecord | None,
    folder: Path | None,
) -> Composed:
    """Put the result into the catalogue, and into a folder; `known` has its weights already."""
    if known is not None:
        digest = known.digest
    else:
        with blobs.writer(compiled.blueprint.size_bytes) as writer:
            execute(compiled.blueprint, writer.write, budget_bytes=compiled.request.memory_bytes)
            digest = writer.commit().digest
    lock = _lock(catalog, compiled, digest)
    if folder is not None:
        shutil.copyfile(blobs.path(digest), folder / WEIGHTS_NAME)
        _write_beside(catalog, folder, compiled, lock, result)
    new = _new_version(compiled, lock, result, blobs.path(digest))
    before = catalog.find(("compare", "name", "=", new.name), latest=False)
    added = catalog.add(new, stored=blobs.contains)
    composed = _composed(
        compiled,
        lock,
        result,
        added.version.version,
        created=added.created,
        computed=known is None,
    )
    if not added.created:
        return composed
    changed = changed_languages(new, [one for one in before if one.withdrawn is None])
    return replace(composed, warnings=(*composed.warnings, *changed))


def _write_beside(
    catalog: Catalog, folder: Path, compiled: Compiled, lock: Lock, result: Result
) -> None:
    """The three small files beside the weights."""
    datasets = {record.dataset for record in compiled.parents.values() if record.dataset}
    facts = CardFacts(
        title=result.name or "Composed adapter",
        base_model=str(compiled.blueprint.config["base_model_name_or_path"]),
        peft_type=str(compiled.blueprint.config["peft_type"]),
        task_type=compiled.blueprint.config.get("task_type"),
        languages=result.languages,
        license=_license(compiled, result),
        datasets=sorted(datasets),
        provenance={"kind": "composed"} | ({"task": result.task} if result.task else {}),
        places=places_of(catalog, lock),
        distance=distance_in_words(compiled.blueprint),
        warnings=compiled.blueprint.warnings,
    )
    (folder / CONFIG_NAME).write_text(config_text(compiled.blueprint.config), encoding="utf-8")
    (folder / CARD_NAME).write_text(write_card(facts, lock), encoding="utf-8")
    (folder / LOCK_NAME).write_text(lock.text(), encoding="utf-8")


def _lock(catalog: Catalog, compiled: Compiled, digest: str) -> Lock:
    config = hashlib.sha256(config_text(compiled.blueprint.config).encode()).hexdigest()
    parents = sorted(compiled.parents.items())
    return Lock(
        expression=compiled.request.expression,
        parameters=dict(compiled.request.parameters),
        context=compiled.request.context.stated,
        plan=compiled.evaluation.plan,
        distances=compiled.evaluation.distances,
        dtype=compiled.blueprint.dtype,
        adapters=tuple(_locked(catalog, key, record) for key, record in parents),
        result=AdapterKey(digest, config_digest(compiled.blueprint.config)),
        files={WEIGHTS_NAME: digest, CONFIG_NAME: config},
        tools={"isogloss": version("isogloss"), "torch": version("torch")},
        tolerance=tolerance_of(compiled.workings),
        errors=errors_as_json(compiled.workings),
    )


def _locked(catalog: Catalog, key: AdapterKey, record: VersionRecord) -> LockedAdapter:
    place = place_of_version(catalog, record)
    return LockedAdapter(
        key=key,
        name=record.name,
        version=record.version,
        base_model=record.base_model or "",
        source=place.source if place else None,
        source_revision=place.commit if place else None,
        license=record.license,
    )


def _license(compiled: Compiled, result: Result) -> str | None:
    parents = [record.license for _, record in sorted(compiled.parents.items())]
    return result.license or license_of(parents)


def _new_version(compiled: Compiled, lock: Lock, result: Result, weights: Path) -> NewVersion:
    blueprint = compiled.blueprint
    inspection = inspect(blueprint.config, read_header(weights))
    if result.name is None:
        raise OutputError("a composed adapter needs a name to be kept in the catalogue")
    base: Any = blueprint.config["base_model_name_or_path"]
    tokenizers = {record.tokenizer_digest for record in compiled.parents.values()}
    return NewVersion(
        name=result.name,
        kind="composed",
        languages=result.languages,
        languages_given=result.languages_given,
        task=result.task,
        base_model=base,
        base_revision=blueprint.config.get("revision"),
        tokenizer_digest=tokenizers.pop() if len(tokenizers) == 1 else None,
        peft_type=inspection.peft_type,
        rank=inspection.rank,
        alpha=inspection.alpha,
        target_modules=inspection.modules,
        config=blueprint.config,
        parameters=inspection.parameters,
        dtype=inspection.dtype,
        library_versions=dict(lock.tools),
        license=_license(compiled, result),
        note=result.note,
        digest=lock.result.weights,
        config_digest=lock.result.config,
        size_bytes=blueprint.size_bytes,
        composition=CompositionRecord(
            expression=lock.expression,
            canonical=lock.plan.canonical,
            semantics=lock.plan.semantics,
            plan_digest=lock.plan.digest,
            dtype=lock.dtype,
            lock=lock.as_json(),
            tool_versions=dict(lock.tools),
            parents=parent_records(compiled),
            warnings=compiled.blueprint.warnings,
        ),
    )


def _composed(
    compiled: Compiled,
    lock: Lock,
    result: Result,
    number: int | None,
    *,
    created: bool,
    computed: bool,
) -> Composed:
    return Composed(
        digest=lock.result.weights,
        config_digest=lock.result.config,
        canonical=lock.plan.canonical,
        semantics=lock.plan.semantics,
        rank=compiled.blueprint.rank,
        dtype=lock.dtype,
        size_bytes=compiled.blueprint.size_bytes,
        parents=parent_records(compiled),
        warnings=compiled.blueprint.warnings,
        name=result.name,
        version=number,
        output=None if result.output is None else Path(result.output),
        created=created,
        computed=computed,
        workings=compiled.workings,
    )

"""A composed adapter that comes from outside: its lineage, rebuilt from the lock beside it."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

from ..dsl.algebra import Inspection
from ..dsl.errors import DslError
from ..dsl.languages import normalize
from ..dsl.meaning.lock import LOCK_NAME, Lock, read_lock
from ..dsl.tensors.configuration import config_digest
from ..store import CompositionRecord, NewVersion, ParentRecord
from .errors import IntegrityError, SourceError
from .naming import refuse_odd_name
from .peft_folder import CONFIG_NAME, WEIGHTS_NAME, PeftFolder
from .provenance import Provenance, said_by_card

# What a person may say of a composition; the lock says all else.
_OPEN = ("kind", "languages", "task", "name", "license", "note")


def read_lock_beside(folder: PeftFolder) -> Lock | None:
    """The lock of a folder that isogloss composed; None where there is none.

    Raises:
        IntegrityError: the lock is garbled, or not of the files beside it.
    """
    path = folder.path / LOCK_NAME
    if not path.is_file():
        return None
    try:
        lock = read_lock(path.read_bytes())
    except DslError as error:
        raise IntegrityError(f"'{path}': {error}") from error
    files = {WEIGHTS_NAME: lock.result.weights} | dict(lock.files)
    for name in (WEIGHTS_NAME, CONFIG_NAME):
        if name not in files:
            continue
        with (folder.path / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != files[name]:
            raise IntegrityError(
                f"{name} was changed after it was composed: its sha256 is {found}, "
                f"{LOCK_NAME} says {files[name]}. If it was trained on since then, remove "
                f"{LOCK_NAME} and add it as --kind task or lm"
            )
    if config_digest(folder.config) != lock.result.config:
        raise IntegrityError(f"{CONFIG_NAME} is not the one that {LOCK_NAME} promises")
    return lock


def composed_version(
    folder: PeftFolder, lock: Lock, said: Provenance, inspection: Inspection, size_bytes: int
) -> NewVersion:
    """The version that a composed folder is, with its parents by digest.

    Raises:
        SourceError: something is said of it that only the lock can say.
    """
    _refuse_training(said)
    card = said_by_card(folder.card)
    given = said.languages or card.languages or ()
    name = said.name or f"composed-{lock.plan.digest[:12]}"
    refuse_odd_name(name)
    config: dict[str, Any] = dict(folder.config)
    return NewVersion(
        name=name,
        kind="composed",
        languages=tuple(sorted({normalize(code) for code in given})),
        languages_given=given,
        task=said.task or card.task,
        base_model=config.get("base_model_name_or_path"),
        base_revision=config.get("revision"),
        tokenizer_digest=folder.tokenizer_digest,
        peft_type=inspection.peft_type,
        rank=inspection.rank,
        alpha=inspection.alpha,
        target_modules=inspection.modules,
        config=config,
        parameters=inspection.parameters,
        dtype=inspection.dtype,
        library_versions=dict(lock.tools),
        license=said.license or card.license,
        note=said.note,
        digest=lock.result.weights,
        config_digest=lock.result.config,
        size_bytes=size_bytes,
        composition=CompositionRecord(
            expression=lock.expression,
            canonical=lock.plan.canonical,
            semantics=lock.plan.semantics,
            plan_digest=lock.plan.digest,
            dtype=lock.dtype,
            lock=lock.as_json(),
            tool_versions=dict(lock.tools),
            parents=_parents(lock),
        ),
    )


def _parents(lock: Lock) -> tuple[ParentRecord, ...]:
    by_key = {adapter.key: adapter for adapter in lock.adapters}
    try:
        return tuple(
            ParentRecord(
                coefficient=str(leaf.coefficient),
                digest=leaf.adapter.weights,
                config_digest=leaf.adapter.config,
                filters=list(leaf.restrictions),
                name=by_key[leaf.adapter].name,
                version=by_key[leaf.adapter].version,
            )
            for leaf in lock.plan.leaves()
        )
    except KeyError as error:
        raise IntegrityError(f"{LOCK_NAME} has a term without its adapter: {error}") from error


def _refuse_training(said: Provenance) -> None:
    wrong = [
        one.name
        for one in fields(said)
        if one.name not in _OPEN and getattr(said, one.name) is not None
    ]
    if said.kind not in (None, "composed"):
        wrong.insert(0, "kind")
    if wrong:
        listed = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise SourceError(
            f"{LOCK_NAME} says that this adapter was composed, so {listed} cannot be said of it: "
            "leave it out"
        )

"""What goes into the catalogue and comes out of it: frozen values without a tie to a database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from hashlib import sha256
from typing import Any

from .errors import RecordError

KINDS = ("task", "lm", "composed")

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_COUNTS = ("rank", "parameters", "steps", "batch_size", "seed", "size_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentRecord:
    """One term of a composition: which adapter, how much of it, and what was kept of it.

    `coefficient` is an exact fraction as text (``"3/10"``); `digest` and `config_digest` are the
    sha256 of the parent's weights and of its effective configuration; `filters` holds plain JSON
    values; `name` and `version` say what the parent was called when the composition was made.
    """

    coefficient: str
    digest: str
    config_digest: str
    filters: list[Any] = field(default_factory=list)
    name: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositionRecord:
    """How a composed version was made: what was written, what it meant, and from what.

    `warnings` are what was said of it then.
    """

    expression: str
    canonical: str
    semantics: str
    plan_digest: str
    dtype: str
    lock: Mapping[str, Any]
    tool_versions: Mapping[str, str]
    parents: tuple[ParentRecord, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    name: str
    kind: str
    languages: tuple[str, ...]
    languages_given: tuple[str, ...] = ()
    task: str | None = None
    dataset: str | None = None
    dataset_revision: str | None = None
    objective: str | None = None
    base_model: str | None = None
    base_revision: str | None = None
    tokenizer_digest: str | None = None
    peft_type: str
    rank: int | None = None
    alpha: float | None = None
    target_modules: tuple[str, ...] = ()
    config: Mapping[str, Any]
    parameters: int | None = None
    dtype: str | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    library_versions: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    license: str | None = None
    note: str | None = None
    source: str | None = None
    source_revision: str | None = None
    digest: str
    config_digest: str
    original_digest: str | None = None
    size_bytes: int
    here: bool = True
    composition: CompositionRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion(_Described):
    """An adapter as it is handed to the catalogue, before it has a version number.

    `languages` are normal tags, sorted; a composed adapter may have none. `digest` is the sha256 of
    the canonical weights file, `config_digest` that of the effective configuration and
    `original_digest` that of the file as it was found. `size_bytes` is the canonical file's.
    `training` holds what else is known of the run that made it, as plain JSON: fingerprint of the
    data, seeds, losses.
    A version that is not `here` waits at its source for its weights to be fetched: it has no size
    yet, and for its digest stands `awaited_digest` where nobody says the true one.

    Raises RecordError when a value is ill-formed.
    """

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.kind not in KINDS:
            raise RecordError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")
        if (self.kind == "composed") != (self.composition is not None):
            raise RecordError(
                f"kind {self.kind!r} does not fit: a version of kind 'composed' has a composition, "
                "and no other kind has one"
            )
        self._check_languages()
        self._check_digests()
        self._check_place()
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and not -(2**63) <= value < 2**63:
                raise RecordError(f"{name} {value} is beyond what 64 bits hold")
        for part in (self, self.composition):
            for item in fields(part) if part else ():
                value = getattr(part, item.name)
                if isinstance(value, str):
                    check_text(item.name, value)

    def _check_languages(self) -> None:
        if list(self.languages) != sorted(set(self.languages)):
            raise RecordError(f"languages {self.languages!r} must be sorted and without repeats")
        for tag in self.languages:
            check_text("language", tag)
            if "," in tag or not tag:
                raise RecordError(f"language {tag!r} is not a tag")
        if not self.languages and self.kind != "composed":
            raise RecordError(f"an adapter of kind {self.kind!r} needs a language")

    def _check_place(self) -> None:
        if not self.here and not (self.source and self.source_revision):
            raise RecordError(f"the weights of {self.name!r} are not here, and nobody says where")
        if not self.here and self.size_bytes:
            raise RecordError(f"the weights of {self.name!r} are not here, so have no size")

    def _check_digests(self) -> None:
        digests = {
            "digest": self.digest,
            "config_digest": self.config_digest,
            "original_digest": self.original_digest,
        }
        for parent in self.composition.parents if self.composition else ():
            digests[f"parent {parent.coefficient}"] = parent.digest
            digests[f"configuration of parent {parent.coefficient}"] = parent.config_digest
        for name, value in digests.items():
            if value is not None and not _DIGEST.fullmatch(value):
                raise RecordError(f"{name} {value!r} is not a sha256: 64 lower-case hex digits")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord(_Described):
    """A version of an adapter as the catalogue has it.

    `version` counts from 1; `created_at` is in UTC; `withdrawn` is the reason, or None.
    """

    version: int
    created_at: datetime
    withdrawn: str | None = None

    @property
    def label(self) -> str:
        """The reference by which a person names this version: ``name@v3``."""
        return f"{self.name}@v{self.version}"


@dataclass(frozen=True, slots=True)
class Added:
    """The outcome of adding: the version, whether it is new, and what a person should know."""

    version: VersionRecord
    created: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The outcome of withdrawing: the version, what was made of it, and whether it is news."""

    version: VersionRecord
    descendants: tuple[VersionRecord, ...]
    created: bool


def awaited_digest(source: str, revision: str) -> str:
    """Return what stands for the digest of weights that are only known by where they are.

    It is the sha256 of the address, so that two places are two adapters.
    """
    return sha256(f"{source}@{revision}".encode()).hexdigest()


def check_name(name: str) -> None:
    """Refuse a name that could not be written as a reference.

    Raises RecordError unless `name` is ``name`` or ``owner/name`` in letters, digits, ``. _ -``.
    """
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise RecordError(
            f"name {name!r} cannot be used: write 'name' or 'owner/name' in letters, digits, "
            "'.', '_' and '-' (at most 200 characters)"
        )


def check_text(what: str, text: str) -> None:
    """Refuse text that not every supported database can hold.

    Raises RecordError on a NUL character, and on half of a surrogate pair.
    """
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise RecordError(f"{what} {text!r} holds a character that is not text")

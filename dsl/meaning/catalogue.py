"""What the language needs of a catalogue: a few methods, so that this room knows no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..errors import AmbiguousError, NotFoundError, Span, did_you_mean
from ..text.query import Condition
from .reference import AdapterReference

if TYPE_CHECKING:
    from ..relatedness import Selection


class Candidate(Protocol):
    """What the language needs to know of a catalogued version."""

    @property
    def name(self) -> str:
        """Its name in the catalogue."""
        ...

    @property
    def version(self) -> int:
        """Its number, from 1."""
        ...

    @property
    def kind(self) -> str:
        """`task`, `lm` or `composed`."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """Normal forms, sorted."""
        ...

    @property
    def task(self) -> str | None:
        """What it was trained for, if it is a task vector."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of its canonical weights."""
        ...

    @property
    def config_digest(self) -> str:
        """sha256 of its effective configuration."""
        ...

    @property
    def withdrawn(self) -> str | None:
        """Why it was withdrawn, or None."""
        ...


class Catalogue(Protocol):
    """Where selectors look; `latest` restricts the answer to the latest version of each name."""

    def find(self, condition: Condition, *, latest: bool = True) -> Sequence[Candidate]:
        """The versions for which a condition holds, by name and version."""
        ...

    def by_digest(self, weights: str, config: str | None = None) -> Sequence[Candidate]:
        """The versions whose digests begin so."""
        ...

    def names(self) -> Sequence[str]:
        """All names."""
        ...

    def tasks(self) -> Sequence[str]:
        """All tasks."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What selectors mean when they do not say it themselves.

    Attributes:
        task, base, peft: filters for selectors that have none on that field.
        distances: where distances between languages come from; None for URIEL.
    """

    task: str | None = None
    base: str | None = None
    peft: str | None = None
    distances: str | None = None

    @property
    def stated(self) -> dict[str, str]:
        """The fields that are set."""
        fields = {
            "task": self.task,
            "base": self.base,
            "peft": self.peft,
            "distances": self.distances,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Distances:
    """A use of distances between languages, for records.

    Attributes:
        rule: what was computed, as a call with all its arguments.
        backend, version: where the distances are from.
        languages: what came of it, sorted.
    """

    rule: str
    backend: str
    version: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The adapters that one selector or reference came to mean, and why these.

    Attributes:
        selector: as it was written.
        span: its place in the program.
        why: the rule, in words.
        adapters: the chosen versions, one a language.
        selections: the evidence of each language function in it.
    """

    selector: str
    span: Span
    why: str
    adapters: tuple[Candidate, ...]
    selections: tuple[Selection, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The chosen adapters as `name@v1`."""
        return tuple(label(adapter) for adapter in self.adapters)


def label(candidate: Candidate) -> str:
    """A version as people write it: `name@v3`."""
    return f"{candidate.name}@v{candidate.version}"


def find_reference(catalogue: Catalogue, reference: AdapterReference) -> Candidate:
    """The one version that a reference names.

    Raises:
        NotFoundError: no such name, version or digest.
        AmbiguousError: a digest prefix of several contents.
    """
    if reference.name is None:
        found = list(catalogue.by_digest(reference.digest or "", reference.config))
        contents = {(item.digest, item.config_digest) for item in found}
        if len(contents) > 1:
            listed = ", ".join(
                sorted(
                    f"{label(item)} (sha256:{item.digest[:12]}:{item.config_digest[:12]})"
                    for item in found
                )
            )
            raise AmbiguousError(
                f"{reference} is the beginning of {len(contents)} contents",
                hint=f"give more digits, or the configuration's after a second colon: {listed}",
            )
        if not found:
            raise NotFoundError(f"no adapter with content {reference} is in the catalogue")
        return found[-1]
    named: Condition = ("compare", "name", "=", reference.name)
    versions = sorted(catalogue.find(named, latest=False), key=lambda item: item.version)
    if not versions:
        raise NotFoundError(
            f"no adapter is called '{reference.name}'",
            hint=did_you_mean(reference.name, catalogue.names())
            or "'isogloss find' lists the names",
        )
    if reference.version is None and reference.digest is None:
        kept = [item for item in versions if item.withdrawn is None]
        return (kept or versions)[-1]
    fitting = [
        item
        for item in versions
        if (reference.version is None or item.version == reference.version)
        and (reference.digest is None or item.digest.startswith(reference.digest))
    ]
    if not fitting:
        numbers = ", ".join(f"v{item.version}" for item in versions)
        raise NotFoundError(f"'{reference}' is not there", hint=f"{reference.name} has {numbers}")
    if len({item.digest for item in fitting}) > 1:
        raise AmbiguousError(f"'{reference}' is the beginning of several digests; give more digits")
    return fitting[-1]

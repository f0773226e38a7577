"""What a version in the catalogue looks like, as JSON and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from .output import Column, print_fields, print_table, print_text, print_title, size

if TYPE_CHECKING:
    from ..hub.composition import Outdated
    from ..store import CompositionRecord, ParentRecord, PublicationRecord, VersionRecord

_COLUMNS: Final = (
    Column("name"),
    Column("version"),
    Column("kind"),
    Column("language"),
    Column("task"),
    Column("base", wrap=True),
    Column("peft"),
    Column("rank", number=True),
    Column("steps", number=True),
    Column("digest"),
)
_PARENT_COLUMNS: Final = (
    Column("coefficient", number=True),
    Column("adapter"),
    Column("digest"),
    Column("only", wrap=True),
)


def short(digest: str) -> str:
    """Return the beginning of a digest, long enough to find the adapter by `sha256:PREFIX`."""
    return digest[:12]


def parent_label(parent: ParentRecord) -> str:
    """Return how a parent is called: by name and version, or by its digest if it has no name."""
    if parent.name is None:
        return f"sha256:{short(parent.digest)}"
    return f"{parent.name}@v{parent.version}"


def summary_json(record: VersionRecord) -> dict[str, Any]:
    """Return the fields that queries know, under the same names."""
    return {
        "name": record.name,
        "version": record.version,
        "kind": record.kind,
        "language": ",".join(record.languages),
        "task": record.task,
        "base": record.base_model,
        "base_revision": record.base_revision,
        "peft": record.peft_type,
        "rank": record.rank,
        "alpha": record.alpha,
        "parameters": record.parameters,
        "dtype": record.dtype,
        "dataset": record.dataset,
        "dataset_revision": record.dataset_revision,
        "objective": record.objective,
        "steps": record.steps,
        "batch_size": record.batch_size,
        "learning_rate": record.learning_rate,
        "seed": record.seed,
        "license": record.license,
        "note": record.note,
        "source": record.source,
        "digest": record.digest if record.here else None,
        "config_digest": record.config_digest,
        "size": record.size_bytes if record.here else None,
        "created": record.created_at.isoformat(),
        "here": record.here,
        "withdrawn": record.withdrawn,
    }


def full_json(record: VersionRecord) -> dict[str, Any]:
    """Return everything that is known about a version."""
    composition = record.composition
    return summary_json(record) | {
        "languages": list(record.languages),
        "languages_given": list(record.languages_given),
        "tokenizer_digest": record.tokenizer_digest,
        "target_modules": list(record.target_modules),
        "config": dict(record.config),
        "library_versions": dict(record.library_versions),
        "training": dict(record.training),
        "source_revision": record.source_revision,
        "original_digest": record.original_digest,
        "composition": None if composition is None else _composition_json(composition),
    }


def _composition_json(composition: CompositionRecord) -> dict[str, Any]:
    return {
        "expression": composition.expression,
        "canonical": composition.canonical,
        "semantics": composition.semantics,
        "plan_digest": composition.plan_digest,
        "dtype": composition.dtype,
        "tool_versions": dict(composition.tool_versions),
        "warnings": list(composition.warnings),
        "parents": parents_json(composition.parents),
        "lock": dict(composition.lock),
    }


def parents_json(parents: Iterable[ParentRecord]) -> list[dict[str, Any]]:
    """Return the parents of a composition, each with its exact coefficient."""
    return [
        {
            "coefficient": parent.coefficient,
            "name": parent.name,
            "version": parent.version,
            "digest": parent.digest or None,
            "config_digest": parent.config_digest,
            "filters": list(parent.filters),
        }
        for parent in parents
    ]


def print_records(records: Iterable[VersionRecord]) -> None:
    """Print versions as a table, a line each."""
    print_table(
        _COLUMNS,
        [
            (
                record.name,
                f"v{record.version}" + (" withdrawn" if record.withdrawn is not None else ""),
                record.kind,
                ",".join(record.languages),
                record.task,
                record.base_model,
                record.peft_type,
                record.rank,
                record.steps,
                short(record.digest) if record.here else "not here",
            )
            for record in records
        ],
    )


def print_parents(parents: Iterable[ParentRecord]) -> None:
    """Print the parents of a composition as a table, in the order of the sum."""
    print_table(
        _PARENT_COLUMNS,
        [
            (
                parent.coefficient,
                parent_label(parent),
                short(parent.digest),
                filters_text(parent.filters),
            )
            for parent in parents
        ],
    )


def outdated_json(entry: Outdated) -> dict[str, Any]:
    """Return why a composition would come out differently today, and how."""
    return {
        "name": entry.version.name,
        "version": entry.version.version,
        "reasons": list(entry.reasons),
        "changes": list(entry.changes),
    }


def print_outdated(entries: Iterable[Outdated]) -> None:
    """Print compositions as a table, with a line for each reason and each difference."""
    rows = []
    for entry in entries:
        lines = zip_longest(entry.reasons, entry.changes, fillvalue="")
        rows += [
            (entry.version.label if number == 0 else "", reason, change)
            for number, (reason, change) in enumerate(lines)
        ]
    print_table(
        (Column("composition"), Column("why", wrap=True), Column("difference", wrap=True)), rows
    )


def filters_text(filters: Iterable[Mapping[str, Any]]) -> str:
    """Return which modules a summand is restricted to, nothing where it is not.

    >>> filters_text([{"first": 0, "last": 3}, {"modules": "q_proj"}])
    'first=0 last=3, modules=q_proj'
    """
    return ", ".join(
        " ".join(f"{name}={value}" for name, value in kept.items()) for kept in filters
    )


def print_record(record: VersionRecord) -> None:
    """Print everything that is known about a version, and nothing about what is not known."""
    print_text(record.label)
    print_fields(_identity(record), indent="  ")
    for title, pairs in (("Training", _training(record)), ("Weights", _weights(record))):
        if any(value is not None for _, value in pairs):
            print_title(title)
            print_fields(pairs, indent="  ")
    composition = record.composition
    if composition is not None:
        print_title("Composition")
        print_fields(
            (
                ("expression", composition.expression),
                ("semantics", composition.semantics),
                ("canonical", composition.canonical),
                *(("warning", warning) for warning in composition.warnings),
            ),
            indent="  ",
        )
        print_title("Parents")
        print_parents(composition.parents)


def _identity(record: VersionRecord) -> tuple[tuple[str, object], ...]:
    given = ", ".join(record.languages_given)
    normal = ", ".join(record.languages)
    return (
        ("withdrawn", record.withdrawn),
        ("kind", record.kind),
        ("language", normal if given == normal else f"{normal} (given as {given})"),
        ("task", record.task),
        ("base", record.base_model),
        ("base revision", record.base_revision),
        ("license", record.license),
        ("note", record.note),
        ("source", record.source),
        ("source revision", record.source_revision),
        ("created", f"{record.created_at:%Y-%m-%d %H:%M:%S} UTC"),
    )


def _training(record: VersionRecord) -> tuple[tuple[str, object], ...]:
    libraries = ", ".join(f"{name} {text}" for name, text in record.library_versions.items())
    return (
        ("dataset", record.dataset),
        ("dataset revision", record.dataset_revision),
        ("objective", record.objective),
        ("steps", None if record.steps is None else f"{record.steps:,}"),
        ("batch size", record.batch_size),
        ("learning rate", record.learning_rate),
        ("seed", record.seed),
        *_run(record.training),
        ("libraries", libraries or None),
    )


def _run(training: Mapping[str, Any]) -> tuple[tuple[str, object], ...]:
    """What a run of ours says of itself besides."""
    losses = training.get("losses") or {}
    data = [str(one.get("fingerprint")) for one in training.get("data") or ()]
    return (
        ("init seed", training.get("init_seed")),
        ("data seed", training.get("data_seed")),
        ("fingerprints", ", ".join(data) or None),
        ("losses", ", ".join(f"{name} {value:.3f}" for name, value in losses.items()) or None),
        ("deviation", training.get("deviation")),
    )


def publications_json(publications: Iterable[PublicationRecord]) -> list[dict[str, Any]]:
    """Return where a version was published, the first place first."""
    return [
        {
            "endpoint": one.endpoint,
            "repo": one.repo,
            "tag": one.tag,
            "commit": one.commit,
            "created": one.created_at.isoformat(),
        }
        for one in publications
    ]


def print_publications(publications: Iterable[PublicationRecord]) -> None:
    """Print where a version was published as a table, and nothing where it was not."""
    rows = [
        (f"{one.endpoint}/{one.repo}", one.tag, one.commit, f"{one.created_at:%Y-%m-%d %H:%M} UTC")
        for one in publications
    ]
    if rows:
        print_title("Published")
        print_table((Column("at"), Column("tag"), Column("commit"), Column("when")), rows)


def _weights(record: VersionRecord) -> tuple[tuple[str, object], ...]:
    if not record.here:
        return (
            ("PEFT type", record.peft_type),
            ("rank", record.rank),
            ("alpha", None if record.alpha is None else f"{record.alpha:g}"),
            ("weights", "not here yet; they come when an expression needs them"),
            ("config digest", record.config_digest),
        )
    targets = sorted({module.rpartition(".")[2] for module in record.target_modules})
    return (
        ("PEFT type", record.peft_type),
        ("rank", record.rank),
        ("alpha", None if record.alpha is None else f"{record.alpha:g}"),
        ("targets", f"{', '.join(targets)} ({len(record.target_modules)} modules)"),
        ("parameters", None if record.parameters is None else f"{record.parameters:,}"),
        ("dtype", record.dtype),
        ("size", f"{size(record.size_bytes)} ({record.size_bytes:,} bytes)"),
        ("digest", record.digest),
        ("config digest", record.config_digest),
        ("original digest", record.original_digest),
    )

"""Two versions side by side: their weights, their configurations, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..dsl.errors import UnsupportedError
from ..dsl.tensors.comparison import Updates, compare
from ..dsl.tensors.configuration import effective
from ..dsl.tensors.value_comparison import ValueComparison, compare_values
from ..store import BlobStore, VersionRecord
from .composition import operand

# In the order in which people ask; what the configuration says is compared there.
_PROVENANCE: Final = (
    "kind",
    "languages",
    "task",
    "dataset",
    "dataset_revision",
    "objective",
    "base_model",
    "base_revision",
    "tokenizer_digest",
    "parameters",
    "dtype",
    "size_bytes",
    "steps",
    "batch_size",
    "learning_rate",
    "seed",
    "library_versions",
    "training",
    "license",
    "note",
    "source",
    "source_revision",
    "withdrawn",
)
_COMPOSITION: Final = ("expression", "canonical", "semantics")
_SAID_BY_PROVENANCE: Final = frozenset({"base_model_name_or_path", "revision"})


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that differs, with both values as plain data; None where one has none."""

    field: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """How two versions differ.

    Attributes:
        first, second: their labels, `name@v3`.
        same_weights, same_configuration: whether the digests are equal.
        configuration: fields of adapter_config.json that differ.
        provenance: fields of the catalogue that differ.
        updates: norms, angle and shared directions; None where they cannot be compared.
        incomparable: why `updates` is None, else None.
        values: tensors of both that are no part of updates: what replaces values of the base
            model, prompts, or all of them where `updates` is None.
    """

    first: str
    second: str
    same_weights: bool
    same_configuration: bool
    configuration: tuple[FieldDifference, ...]
    provenance: tuple[FieldDifference, ...]
    updates: Updates | None
    incomparable: str | None
    values: tuple[ValueComparison, ...]

    @property
    def same_content(self) -> bool:
        """Whether both are one adapter: equal weights under an equal configuration."""
        return self.same_weights and self.same_configuration


def difference(blobs: BlobStore, first: VersionRecord, second: VersionRecord) -> Difference:
    """Compare two versions of the catalogue.

    Raises:
        IncompatibleError: both adapt a module, but with factors of different shapes.
        WeightsError: the weights are damaged. BlobError: they are missing.
    """
    updates, incomparable = None, None
    operands = operand(first, blobs), operand(second, blobs)
    try:
        updates = compare(*operands)
    except UnsupportedError as error:
        incomparable = error.message
    return Difference(
        first=first.label,
        second=second.label,
        same_weights=first.digest == second.digest,
        same_configuration=first.config_digest == second.config_digest,
        configuration=_differing(_configuration(first), _configuration(second)),
        provenance=_differing(_provenance(first), _provenance(second)),
        updates=updates,
        incomparable=incomparable,
        values=compare_values(*operands),
    )


def _configuration(record: VersionRecord) -> dict[str, Any]:
    """What is set: fields that are false or empty mean what absent ones do."""
    stated = {name: value for name, value in record.config.items() if value}
    return {
        name: value
        for name, value in {**stated, **effective(record.config)}.items()
        if name not in _SAID_BY_PROVENANCE
    }


def _provenance(record: VersionRecord) -> dict[str, Any]:
    fields = {name: _plain(getattr(record, name)) for name in _PROVENANCE}
    if record.composition is not None:
        fields |= {name: getattr(record.composition, name) for name in _COMPOSITION}
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[FieldDifference, ...]:
    names = [*first, *sorted(second.keys() - first.keys())]
    return tuple(
        FieldDifference(name, first.get(name), second.get(name))
        for name in names
        if first.get(name) != second.get(name)
    )

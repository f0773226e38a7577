"""An adapter in memory: its configuration and its tensors, from a name or an expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...dsl.errors import ParseError
from ...dsl.meaning.catalogue import find_reference
from ...dsl.meaning.reference import parse_reference
from ...hub.composition import Compiled, Request, compile_request, refuse_damaged_parents
from ...hub.errors import IntegrityError
from ...store import BlobError, VersionRecord

if TYPE_CHECKING:
    from torch import Tensor

    from ...hub import AdapterHub


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """Weights that PEFT can put on a model, and what is known of where they are from.

    Attributes:
        label: what people call it: `name@v1`, or the expression.
        config: its adapter_config.json.
        tensors: named as in adapter_model.safetensors.
        record: the catalogued version that has just this content, if there is one.
        sources: the catalogued versions that it was made of; itself where it is one.
    """

    label: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    record: VersionRecord | None = None
    sources: tuple[VersionRecord, ...] = ()

    @property
    def base_model(self) -> str | None:
        """The base model's name as the configuration has it, or None."""
        return self.config.get("base_model_name_or_path") or None


def find_adapter(hub: AdapterHub, text: str, request: Request | None = None) -> Adapter:
    """An adapter by its name, or of an expression: composed in memory, nothing is written.

    A catalogued version is taken as it is, whatever its PEFT type: it need not be composable.

    Args:
        text: `xlsum-yo`, `xlsum-yo@v2`, `sha256:PREFIX`, or `0.6*task[en] + 0.4*lm[yo]`.
        request: parameters, semantics, dtype and context for an expression.

    Raises:
        DslError: a name that is not there, or an expression that means no adapter.
        IntegrityError: weights that are damaged.
    """
    record = named(hub, text)
    if record is not None:
        return read_version(hub, record)
    asked = replace(request, expression=text) if request else Request(text)
    return compose_in_memory(hub, compile_request(hub.catalog, hub.blobs, asked))


def named(hub: AdapterHub, text: str) -> VersionRecord | None:
    """The version that a text names; None for an expression, which always has brackets or quotes.

    Raises:
        NotFoundError, AmbiguousError: a name that is not exactly one version.
    """
    try:
        reference = parse_reference(text.strip())
    except ParseError:
        return None
    found = find_reference(hub.catalog, reference)
    return hub.catalog.get(found.name, found.version)


def read_version(hub: AdapterHub, record: VersionRecord) -> Adapter:
    """A catalogued version as it is.

    Raises:
        IntegrityError: its weights are damaged or gone.
    """
    from safetensors.torch import load_file

    try:
        hub.blobs.verify(record.digest)
        tensors = load_file(hub.blobs.path(record.digest))
    except BlobError as error:
        raise IntegrityError(f"the weights of {record.label}: {error}") from error
    return Adapter(record.label, record.config, tensors, record, (record,))


def compose_in_memory(hub: AdapterHub, compiled: Compiled) -> Adapter:
    """What a compiled expression comes to.

    Raises:
        IntegrityError: a parent is damaged. WeightsError: a result that is not finite.
    """
    from ...dsl.tensors.execute import state_dict

    refuse_damaged_parents(hub.blobs, compiled)
    blueprint = compiled.blueprint
    return Adapter(
        label=compiled.request.expression.strip(),
        config=blueprint.config,
        tensors=state_dict(blueprint),
        record=hub.catalog.composed(compiled.evaluation.plan.digest, blueprint.dtype),
        sources=tuple(compiled.parents.values()),
    )

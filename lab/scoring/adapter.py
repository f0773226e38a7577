"""An adapter in memory: its configuration and its tensors, from a name or an expression."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ...dsl.errors import ParseError
from ...dsl.meaning.catalogue import find_reference
from ...dsl.meaning.plan import AdapterKey
from ...dsl.meaning.reference import parse_reference
from ...dsl.tensors.configuration import config_digest
from ...hub.composition import Compiled, Request, compile_request, refuse_damaged
from ...hub.errors import IntegrityError
from ...hub.series import compile_series, tensors_of
from ...store import BlobError, VersionRecord
from ..errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

    from ...hub import AdapterHub

BARE: Final = "base"
"""What the bare base model is called among adapters."""


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
        SettingsError: parameters for a name. IntegrityError: weights that are damaged.
    """
    record = named(hub, text)
    if record is not None:
        if request is not None and request.parameters:
            raise SettingsError(
                f"{record.label} is an adapter, not an expression, and has no parameter "
                f"{', '.join(request.parameters)}"
            )
        return read_version(hub, record)
    ((_, adapter),) = compose_over(hub, text, {}, request)
    return adapter


def compose_over(
    hub: AdapterHub,
    text: str,
    over: Mapping[str, Sequence[str]],
    request: Request | None = None,
) -> Iterator[tuple[dict[str, str], Adapter]]:
    """What an expression comes to at every combination of values, each adapter of it read once.

    Args:
        over: values of parameters by their names.
        request: the other parameters, semantics, dtype and context.

    Returns:
        The values of each combination, and the adapter; all errors but damage come before.

    Raises:
        DslError: an expression that means no adapter. IntegrityError: weights that are damaged.
    """
    asked = replace(request, expression=text) if request else Request(text)
    series = compile_series(hub.catalog, hub.blobs, asked, over, hub.bring)
    refuse_damaged(hub.blobs, (one for _, made in series for one in made.parents.values()))
    return _adapters(hub, series)


def without_tensors(hub: AdapterHub, text: str, request: Request | None = None) -> Adapter:
    """What an expression would come to, with all but the tensors.

    Raises:
        DslError: an expression that means no adapter.
    """
    asked = replace(request, expression=text) if request else Request(text)
    compiled = compile_request(hub.catalog, hub.blobs, asked, hub.bring)
    return _adapter(hub, compiled, text.strip(), {})


def _adapters(
    hub: AdapterHub, series: Sequence[tuple[dict[str, str], Compiled]]
) -> Iterator[tuple[dict[str, str], Adapter]]:
    for (_, compiled), (values, tensors) in zip(series, tensors_of(hub.blobs, series), strict=True):
        said = ", ".join(f"{name}={value}" for name, value in values.items())
        expression = compiled.request.expression.strip()
        label = f"{expression} at {said}" if said else expression
        yield values, _adapter(hub, compiled, label, tensors)


def _adapter(
    hub: AdapterHub, compiled: Compiled, label: str, tensors: Mapping[str, Tensor]
) -> Adapter:
    return Adapter(
        label=label,
        config=compiled.blueprint.config,
        tensors=tensors,
        record=_same_content(hub, compiled),
        sources=tuple(compiled.parents.values()),
    )


def _same_content(hub: AdapterHub, compiled: Compiled) -> VersionRecord | None:
    """The version with just this content: composed of the same, or the one that it comes to."""
    plan, blueprint = compiled.evaluation.plan, compiled.blueprint
    (only, *others) = compiled.parents.values()
    (term, *_) = plan.terms
    if (
        not others
        and term.coefficient == 1
        and not term.filters
        and term.adapter == AdapterKey(only.digest, only.config_digest)
        and blueprint.dtype == only.dtype
        and config_digest(blueprint.config) == only.config_digest
    ):
        return only
    return hub.catalog.composed(plan.digest, blueprint.dtype)


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

    if not record.here:
        hub.bring([record])
        record = hub.catalog.get(record.name, record.version)
    try:
        hub.blobs.verify(record.digest)
        tensors = load_file(hub.blobs.path(record.digest))
    except BlobError as error:
        raise IntegrityError(f"the weights of {record.label}: {error}") from error
    return Adapter(record.label, record.config, tensors, record, (record,))

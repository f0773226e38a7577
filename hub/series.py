"""One expression at many values of its parameters, as searching for the best of them needs it."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..dsl.checks.check import check
from ..dsl.errors import CheckError, DslError, quoted
from ..dsl.meaning.catalogue import Candidate
from ..dsl.meaning.evaluate import evaluate
from ..dsl.tensors.blueprint import prepare
from ..dsl.text.parse import parse
from ..dsl.text.query import Condition
from ..store import BlobStore, Catalog
from .awaited import Bring
from .composition import Compiled, Request, compile_request, operand, parents_of
from .cookbook import recipes_of
from .workings import made

if TYPE_CHECKING:
    from torch import Tensor

    from ..dsl.tensors.tensorfile import Header

Value: TypeAlias = str | int | float | Fraction
"""What a parameter can be given as; a float means the decimal number that Python prints for it."""


def compile_series(
    catalog: Catalog,
    blobs: BlobStore,
    request: Request,
    over: Mapping[str, Sequence[Value]],
    bring: Bring,
) -> list[tuple[dict[str, str], Compiled]]:
    """Compile a request for every combination of values, asking the catalogue everything once.

    Args:
        request: the program, and those of its parameters that stay.
        over: values of the others by name; the last name's change fastest.
        bring: gets the weights of adapters that are not here yet.

    Returns:
        The values of each combination, as texts, and what the program means with them.

    Raises:
        DslError: as `compile_request`, at whichever value it is wrong; or no values.
    """
    for name, given in over.items():
        if isinstance(given, str) or not given:
            raise CheckError(
                f"over gives {quoted(str(given))} for {quoted(name)}, expected a list of values"
            )
        if name in request.parameters:
            raise CheckError(f"{quoted(name)} is given both one value and a list of them")
    chosen = [dict(zip(over, map(str, some), strict=True)) for some in product(*over.values())]
    remembered = _Remembered(catalog)
    recipes = recipes_of(catalog)
    functions = {name: recipe.function for name, recipe in recipes.items()}
    headers: dict[Path, Header] = {}
    result: list[tuple[dict[str, str], Compiled]] = []
    program = parse(request.expression)
    check(program, {**request.parameters, **chosen[0]}, functions)  # Wrong at whichever value.
    with _uncollected():
        for values in chosen:
            asked = replace(request, parameters={**request.parameters, **values})
            with _told_where(values):
                if not result:
                    result.append((values, compile_request(catalog, blobs, asked, bring)))
                    continue
                checked = check(program, asked.parameters, functions)
                evaluation = evaluate(checked, remembered, asked.context, asked.semantics, recipes)
                parents = parents_of(catalog, evaluation)
                if all(record.here for record in parents.values()):
                    operands = {key: operand(record, blobs) for key, record in parents.items()}
                    blueprint = prepare(evaluation.plan, operands, asked.dtype, headers)
                    compiled = Compiled(asked, program, evaluation, parents, blueprint)
                else:
                    compiled = compile_request(catalog, blobs, asked, bring)
                result.append((values, compiled))
    return result


@contextmanager
def _told_where(values: Mapping[str, str]) -> Iterator[None]:
    """Say at which values a sum is wrong."""
    try:
        yield
    except DslError as error:
        if values:
            given = ", ".join(f"{name} = {value}" for name, value in values.items())
            error.message = f"at {given}: {error.message}"
        raise


@contextmanager
def _uncollected() -> Iterator[None]:
    """Blueprints are many small objects in no circles: looking for these takes twice their time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def tensors_of(
    blobs: BlobStore, series: Sequence[tuple[dict[str, str], Compiled]]
) -> Iterator[tuple[dict[str, str], dict[str, Tensor]]]:
    """Carry a compiled series out: the values of each combination, and its tensors."""
    from ..dsl.tensors.execute import state_dict, state_dicts

    for has_makings, group in groupby(series, lambda one: one[1].blueprint.makings is not None):
        members = list(group)
        if not has_makings:
            memory_bytes = members[0][1].request.memory_bytes
            blueprints = [compiled.blueprint for _, compiled in members]
            results = state_dicts(blueprints, budget_bytes=memory_bytes)
            for (values, _), tensors in zip(members, results, strict=True):
                yield values, tensors
            continue
        for values, compiled in members:
            with made(blobs, compiled) as ready:
                tensors = state_dict(ready.blueprint)
            yield values, tensors


class _Remembered:
    """A catalogue that is asked the same question once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._found: dict[tuple[Condition, bool], Sequence[Candidate]] = {}

    def find(self, condition: Condition, *, latest: bool = True) -> Sequence[Candidate]:
        """The versions for which a condition holds."""
        key = condition, latest
        if key not in self._found:
            self._found[key] = self._catalog.find(condition, latest=latest)
        return self._found[key]

    def by_digest(self, weights: str, config: str | None = None) -> Sequence[Candidate]:
        """The versions whose digests begin so."""
        return self._catalog.by_digest(weights, config)

    def names(self) -> Sequence[str]:
        """All names."""
        return self._catalog.names()

    def tasks(self) -> Sequence[str]:
        """All tasks."""
        return self._catalog.tasks()

"""How close two files of one configuration are: of their updates, or of their tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..algebra.interface import Operand
from ..errors import IncompatibleError, UnsupportedError
from ..meaning.plan import AdapterKey
from .comparison import compare
from .sources import Sources
from .tensorfile import Header, read_header


def farthest(config: Mapping[str, Any], one: Path, other: Path) -> tuple[str, float]:
    """Where two adapters of one configuration differ most, and by how much.

    Factors of one and the same update can differ in all their numbers, so that updates are compared
    where there are such.

    Args:
        config: the adapter_config of both.
        one, other: their weights.

    Returns:
        The module or tensor, and the Frobenius norm of the difference there over that of the first.

    Raises:
        IncompatibleError: they have not the same tensors.
        WeightsError: a file is damaged.
    """
    headers = read_header(one), read_header(other)
    if _shapes(headers[0]) != _shapes(headers[1]):
        raise IncompatibleError(f"{one} and {other} have not the same tensors")
    try:
        distances = dict(_of_updates(config, one, other))
    except (UnsupportedError, IncompatibleError):
        distances = dict(_of_tensors(headers, one, other))
    return max(distances.items(), key=lambda item: item[1])


def _shapes(header: Header) -> dict[str, tuple[int, ...]]:
    return {entry.name: entry.shape for entry in header.entries}


def _of_updates(config: Mapping[str, Any], one: Path, other: Path) -> Iterator[tuple[str, float]]:
    first, second = (
        Operand(AdapterKey(str(number), ""), str(path), path, config)
        for number, path in enumerate((one, other))
    )
    for layer in compare(first, second).layers:
        for module in layer.modules:
            found = module.comparison
            yield module.module, _relative(found.difference_norm, found.first_norm)


def _of_tensors(
    headers: tuple[Header, Header], one: Path, other: Path
) -> Iterator[tuple[str, float]]:
    from .values import read_values

    with Sources([one, other]) as sources:
        for first, second in zip(headers[0].entries, headers[1].entries, strict=True):
            values = read_values(sources, 0, first).double()
            difference = values - read_values(sources, 1, second).double()
            yield first.name, _relative(float(difference.norm()), float(values.norm()))


def _relative(difference: float, norm: float) -> float:
    if not difference:
        return 0.0
    return difference / norm if norm else float("inf")

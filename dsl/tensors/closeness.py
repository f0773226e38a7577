"""How close two files of one configuration are: of their updates, or of their tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..algebra.interface import Operand
from ..errors import IncompatibleError, UnsupportedError
from ..meaning.plan import AdapterKey
from .comparison import compare
from .tensorfile import Header, read_header
from .value_comparison import compare_values


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
        distances = {}
    distances |= dict(_of_values(config, one, other))
    return max(distances.items(), key=lambda item: item[1])


def _shapes(header: Header) -> dict[str, tuple[int, ...]]:
    return {entry.name: entry.shape for entry in header.entries}


def _of_updates(config: Mapping[str, Any], one: Path, other: Path) -> Iterator[tuple[str, float]]:
    for layer in compare(*_operands(config, one, other)).layers:
        for module in layer.modules:
            found = module.comparison
            yield module.module, _relative(found.difference_norm, found.first_norm)


def _of_values(config: Mapping[str, Any], one: Path, other: Path) -> Iterator[tuple[str, float]]:
    for found in compare_values(*_operands(config, one, other)):
        yield found.tensor, _relative(found.difference_norm, found.first_norm)


def _operands(config: Mapping[str, Any], one: Path, other: Path) -> tuple[Operand, Operand]:
    first, second = (
        Operand(AdapterKey(str(number), ""), str(path), path, config)
        for number, path in enumerate((one, other))
    )
    return first, second


def _relative(difference: float, norm: float) -> float:
    if not difference:
        return 0.0
    return difference / norm if norm else float("inf")

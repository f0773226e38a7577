"""Examples by number, each made when it is asked for: what the Trainer sees as its data set."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.data import Dataset

from ..objectives.example import Example


class Examples(Dataset[Example]):
    """So many examples; the number alone decides what an example is, so that a run can go on."""

    def __init__(self, count: int, make: Callable[[int], Example]) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Example:
        return self._make(number)

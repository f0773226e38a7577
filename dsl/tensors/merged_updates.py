"""Merge methods under `exact`: at work on the true updates of a module as whole matrices.

They come to be in the same blocks and in float64 wherever they are made, before they are rounded
to float32, so that what is the largest or has which sign does not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch

from ..decomposition.interface import Bound, Options, UpdateFunction
from ..decomposition.krylov import bytes_needed, nearest_to_matrix
from ..decomposition.results import LORA
from ..decomposition.truncation import Truncation
from ..decomposition.updates import BLOCK_ELEMENTS, Update
from ..merging import Merge, Place


class Matrices(Sequence[torch.Tensor]):
    """Updates as float32 matrices, each made anew whenever it is asked for.

    Args:
        updates: those without terms are zero.
        shape: of all of them.
    """

    def __init__(self, updates: Sequence[Update], shape: tuple[int, int]) -> None:
        self._updates = updates
        self._shape = shape

    def __len__(self) -> int:
        return len(self._updates)

    @overload
    def __getitem__(self, index: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Matrices: ...
    def __getitem__(self, index: int | slice) -> torch.Tensor | Matrices:
        """One matrix; a slice makes none."""
        if isinstance(index, slice):
            return Matrices(self._updates[index], self._shape)
        update = self._updates[index]
        values = torch.zeros(self._shape, dtype=torch.float32)
        row = 0
        for block in update.blocks() if update.terms else ():
            values[row : row + len(block)] = block
            row += len(block)
        return values


def merged_update(merge: Merge, place: Place) -> UpdateFunction:
    """A merge method as a function of updates.

    Args:
        merge: the method.
        place: what its operands are; the module is filled in.
    """

    def rank(options: Options, bounds: Sequence[Bound]) -> int:
        return min(int(options["rank"]), bounds[0].rows, bounds[0].columns)

    def memory_bytes(options: Options, bounds: Sequence[Bound]) -> int:
        rows, columns = bounds[0].rows, bounds[0].columns
        matrix = 4 * rows * columns
        # A block of an update comes to be in float64, of one term and of their sum.
        made = int(merge.held * matrix) + 3 * 8 * min(rows * columns, BLOCK_ELEMENTS)
        return max(made, matrix + bytes_needed(rows, columns, rank(options, bounds)))

    def compute(options: Options, updates: Sequence[Update], module: str) -> Truncation:
        shape = next(update.shape for update in updates if update.terms)
        here = Place(module, place.operands, place.weights)
        values = merge.compute(Matrices(updates, shape), options, here)
        return nearest_to_matrix(values, int(options["rank"]))

    return UpdateFunction(merge.name, LORA, rank, memory_bytes, compute)

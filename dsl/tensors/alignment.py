"""Whether adapters look as if they had started from one initialisation, found from their weights.

Sums of factors are sums of updates only around a shared start: (B + B')(A + A') has the cross terms
B A' and B' A, which mean something only where A and A' are alike. Adapters begin with a random A
and B = 0. Training moves A, but little compared with its size, so that the A factors of adapters
with a shared start keep pointing in one direction, and independent ones are as good as orthogonal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..algebra.interface import FactorSum, Mixed
from .sources import Sources

# Cosines: below the first, A factors are taken for independent; where there are few numbers,
# below so many standard deviations of chance, though never from the last one on.
_UNRELATED: Final = 0.2
_DEVIATIONS: Final = 4
_ALIKE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Alignment:
    """How alike the A factors of two sources are.

    Attributes:
        first, second: numbers of the sources, the smaller one first.
        cosine: of all their A factors, taken as one vector, at the modules where both take part.
        elements: the length of that vector.
    """

    first: int
    second: int
    cosine: float
    elements: int

    @property
    def unrelated(self) -> bool:
        """Whether the factors look as if they had not started from one initialisation.

        Independent factors have a cosine of 0 give or take 1 / sqrt(elements), and training adds
        some: up to 0.16 was seen among tiny adapters that learned the same. Those with a shared
        start kept 0.9 at a learning rate of 2e-4 and 0.3 at 1e-2; below 0.2 came only some that a
        rate of 3e-2 had driven so far that nothing was left of the start. It is a guess: factors
        can be exchanged for others of the same product (the rows of A in another order, say).
        """
        chance = _DEVIATIONS / math.sqrt(self.elements)
        return self.cosine < min(_ALIKE, max(_UNRELATED, chance))


def alignments(paths: Sequence[Path], sums: Sequence[Mixed]) -> tuple[Alignment, ...]:
    """Compare the A factors of every two sources of a sum that mixes them; reads each A once.

    Args:
        paths: the files that the sums' sources number.
        sums: how factors are mixed, module by module.

    Returns:
        One comparison for each pair that meets at a module, unless an A is zero.

    Raises:
        WeightsError: a file cannot be read or became shorter.
    """
    import numpy

    from .gram import inner_products

    size = len(paths)
    both, norms, elements = (numpy.zeros((size, size)) for _ in range(3))
    with Sources(paths) as sources:
        for mixed in sums:
            if not isinstance(mixed, FactorSum) or len(mixed.pairs) < 2:
                continue
            numbers = [pair.source for pair in mixed.pairs]
            place = numpy.ix_(numbers, numbers)
            products = inner_products(sources, [(pair.source, pair.a) for pair in mixed.pairs])
            both[place] += products
            # Row i: the squares of i's norm over the modules that i and j have in common.
            norms[place] += numpy.diag(products)[:, None]
            elements[place] += mixed.pairs[0].a.elements
    scale = numpy.sqrt(norms * norms.T)
    return tuple(
        Alignment(i, j, float(both[i, j] / scale[i, j]), int(elements[i, j]))
        for i in range(size)
        for j in range(i + 1, size)
        if scale[i, j]
    )

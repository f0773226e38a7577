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

from .algebra.interface import FactorSum
from .sources import Sources

_UNRELATED: Final = 0.2
_DEVIATIONS: Final = 4


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

        Independent factors have a cosine of 0 give or take 1 / sqrt(elements), somewhat more when
        they learned the same. Trained ones that share a start kept 0.3 and more at learning rates
        and steps that are usual, and went below 0.2 only where training had undone its beginning.
        It is a guess from the numbers: B and A can be exchanged for others of the same product.
        """
        return self.cosine < max(_UNRELATED, _DEVIATIONS / math.sqrt(self.elements))


def alignments(paths: Sequence[Path], sums: Sequence[FactorSum]) -> tuple[Alignment, ...]:
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
            if len(mixed.pairs) < 2:
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

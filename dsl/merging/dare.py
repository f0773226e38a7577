"""DARE: values are dropped at random, and those that stay are scaled up to make up for it.

Yu et al. 2023, arXiv:2311.03099, section 3.2; `random_pruning` with `rescale` in PEFT's
merge_utils, `bernoulli` in mergekit's sparsify. Theirs draw from torch's global generator, so that
no result comes out twice; here whether a value stays is a function of the seed, of what it belongs
to and of its place, and of nothing else: not of threads, chunks, the order of a sum, or versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from math import floor
from typing import Final

import numpy
import torch
from numpy.typing import NDArray

from .interface import Merge, Options, Place

_WORDS: Final = 1 << 20
_ALL: Final = 1 << 64


def dare(values: torch.Tensor, density: Fraction, *, seed: int, stream: str) -> torch.Tensor:
    """Keep each value with a probability, divided by that probability; the others become zero.

    Args:
        values: float32, of any shape.
        density: the probability, above 0 and at most 1.
        seed: any natural number.
        stream: what the values belong to; other streams draw other numbers.

    >>> dare(torch.ones(8), Fraction(1, 2), seed=0, stream="x").tolist()
    [2.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 0.0]
    """
    kept = drawn(values.numel(), density, seed=seed, stream=stream).reshape(values.shape)
    result = numpy.zeros(tuple(values.shape), dtype=numpy.float32)
    scale = numpy.float32(float(1 / density))
    return torch.from_numpy(numpy.multiply(values.numpy(), scale, out=result, where=kept))


def drawn(count: int, density: Fraction, *, seed: int, stream: str) -> NDArray[numpy.bool_]:
    """Which of so many values stay: number i does where word i of the stream is small enough.

    The words are those of Philox 4x64 (Salmon et al. 2011, Parallel random numbers: as easy as 1,
    2, 3), counted from 0, under a key that is the beginning of the sha256 of seed and stream.
    """
    limit = floor(density * _ALL)
    kept = numpy.ones(count, dtype=bool)
    if limit >= _ALL:
        return kept
    key = sha256(f"isogloss dare\n{seed}\n{stream}".encode()).digest()[:16]
    words = numpy.random.Philox(key=int.from_bytes(key, "little"))
    for first in range(0, count, _WORDS):
        part = kept[first : first + _WORDS]
        numpy.less(words.random_raw(len(part)), numpy.uint64(limit), out=part)
    return kept


def _compute(tensors: Sequence[torch.Tensor], options: Options, place: Place) -> torch.Tensor:
    stream = f"{place.operands[0]}\n{place.tensor}"
    density, seed = Fraction(options["density"]), int(Fraction(options["seed"]))
    return dare(tensors[0], density, seed=seed, stream=stream)


DARE = Merge("dare", _compute, held=2.75)
"""The method for the list of methods."""

"""The order in which examples are drawn: shuffled in a buffer, so that data of any size stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Generic, TypeVar

_Item = TypeVar("_Item")

BUFFER = 20_000


class Drawn(Generic[_Item]):
    """Items by number, endlessly: every epoch holds each row once, in an order of its own.

    Rows are shuffled in a buffer, as `datasets` does: a set of at most so many rows is shuffled
    whole, and a larger one is read as it goes, in bounded memory. Several sets take turns until
    each is at its end. Item n follows from the data, the seed and n alone, so that a run can go on
    anywhere; numbers that rise cost one reading.
    """

    def __init__(
        self, sets: Sequence[Callable[[], Iterator[_Item]]], seed: int, *, buffer: int = BUFFER
    ) -> None:
        self._sets = sets
        self._seed = seed
        self._buffer = buffer
        self._next = 0
        self._items = self._endless()

    def __getitem__(self, number: int) -> _Item:
        if number < self._next:
            self._next, self._items = 0, self._endless()
        while True:
            item = next(self._items)
            self._next += 1
            if self._next > number:
                return item

    def _endless(self) -> Iterator[_Item]:
        epoch = 0
        while True:
            random = Random(f"order {self._seed} {epoch}")
            yield from shuffled(_in_turn([read() for read in self._sets]), random, self._buffer)
            epoch += 1


def shuffled(items: Iterator[_Item], random: Random, size: int) -> Iterator[_Item]:
    """Yield items in a random order, each drawn from a buffer of at most so many that follow."""
    buffer: list[_Item] = []
    for item in items:
        if len(buffer) < size:
            buffer.append(item)
            continue
        place = random.randrange(size)
        yield buffer[place]
        buffer[place] = item
    random.shuffle(buffer)
    yield from buffer


def _in_turn(sets: list[Iterator[_Item]]) -> Iterator[_Item]:
    while sets:
        left = []
        for items in sets:
            for item in items:
                yield item
                left.append(items)
                break
        sets = left

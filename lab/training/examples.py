"""The examples of a run, each made when it is asked for: what the Trainer sees as its data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from torch.utils.data import Dataset

from ..data.order import Drawn
from ..data.records import Pair, Text, read_pairs, read_texts
from ..models.prompts import Prompt
from ..objectives.example import Example
from ..objectives.labelled import labelled_example
from ..objectives.prefix_lm import prefix_lm_example
from .request import Run

if TYPE_CHECKING:
    from ..models.base import Base

VALIDATION_EXAMPLES = 256


class Examples(Dataset[Example]):
    """So many examples; the number alone decides what an example is, so that a run can go on."""

    def __init__(self, count: int, make: Callable[[int], Example]) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Example:
        return self._make(number)


def examples_of(run: Run, base: Base) -> Examples:
    """Return the examples that a run trains on, in its order."""
    settings = run.settings
    make = _maker(run, base)
    drawn: Drawn[Any] = Drawn(_readers(run, run.data), settings.order_seed)
    return Examples(settings.examples, lambda number: make(drawn[number], number))


def validation_of(run: Run, base: Base) -> Examples | None:
    """Return the examples that a run is measured on, at most so many; None without a source."""
    if run.validation is None:
        return None
    make = _maker(run, base)
    (read,) = _readers(run, (run.validation,))
    kept = list(islice(read(), VALIDATION_EXAMPLES))
    return Examples(len(kept), lambda number: make(kept[number], number))


def _readers(run: Run, sources: Sequence[str]) -> list[Callable[[], Iterator[Any]]]:
    if run.kind == "lm":
        return [partial(read_texts, one, run.fields, limit=run.limit) for one in sources]
    return [
        partial(read_pairs, one, run.fields, language=run.languages, limit=run.limit)
        for one in sources
    ]


def _maker(run: Run, base: Base) -> Callable[[Any, int], Example]:
    settings = run.settings

    def of_text(text: Text, number: int) -> Example:
        return prefix_lm_example(
            base.tokenizer,
            text,
            length=settings.max_length,
            encoder_decoder=base.encoder_decoder,
            random=Random(f"split {settings.order_seed} {number}"),
        )

    def of_pair(pair: Pair, number: int) -> Example:
        return labelled_example(
            base.tokenizer,
            pair,
            prompt=Prompt(settings.prompt),
            length=settings.max_length,
            target_length=settings.target_length,
        )

    return of_text if run.kind == "lm" else of_pair

"""Cells: one adapter scored on one language's data, a JSON file each, which is never made twice.

A cell's name is a digest of all that its numbers depend on: base, adapter (its canonical form, so
that `add` with l=1 and the baseline are one cell), data, metric and settings. Whatever was killed
goes on with the cells that are not there; whatever changed is another cell.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DataError
from ..scoring.measurement import Measurement
from .plan import digest_of
from .rows import Option

if TYPE_CHECKING:
    from ..scoring.scorer import Scored

Split = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class Cell:
    """What is to be scored.

    Attributes:
        seed: of the vectors. task: its name. language, split: of the data.
        metrics: what is measured. examples: most of them; None for all.
        adapter: digest of what the option means.
        name: of its file.
    """

    seed: int
    task: str
    option: Option
    language: str
    split: Split
    metrics: tuple[str, ...]
    examples: int | None
    adapter: str
    name: str


def cell_name(adapter: str, language: str, split: Split, *rest: object) -> str:
    """Return the file name of a cell; rest: all else that its numbers depend on."""
    return f"{language}-{split}-{digest_of(adapter, *rest)[:20]}.json"


Measurements = Mapping[str, Measurement]
"""A finished cell: what was measured, by metric."""


def write_cell(folder: Path, cell: Cell, scored: Scored) -> None:
    """Write a finished cell, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "seed": cell.seed,
        "task": cell.task,
        "shelf": cell.option.shelf,
        "expression": cell.option.expression,
        "semantics": cell.option.semantics,
        "language": cell.language,
        "split": cell.split,
        "adapter": cell.adapter,
        "metrics": {
            metric: {
                "value": m.value,
                "ids": m.ids,
                "numerators": m.numerators,
                "denominators": m.denominators,
            }
            for metric, m in scored.measurements.items()
        },
    }
    if scored.outputs is not None:
        content["outputs"] = scored.outputs
    write_json(folder / cell.name, content)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all, also where another process writes the same."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def read_cell(folder: Path, cell: Cell) -> Measurements | None:
    """Return a finished cell, or None where it is still to be made.

    Raises:
        DataError: the file is no cell; remove it, and it is made anew.
    """
    path = folder / cell.name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            metric: Measurement(
                metric,
                tuple(said["ids"]),
                tuple(said["numerators"]),
                tuple(said["denominators"]),
            )
            for metric, said in content["metrics"].items()
        }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"'{path}' is no finished cell ({error}): remove it to score anew"
        ) from error

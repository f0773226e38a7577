"""A workbench: one base model in memory, on which vectors are trained and cells are scored.

On this machine there is one; on a cluster every worker has its own, over one shared folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...dsl.meaning.catalogue import Context
from ...hub.composition import Request, compile_request
from ..data.records import Pair, read_pairs
from ..data.source import fingerprint
from ..errors import SettingsError
from ..models.base import AUTO, base_digest
from ..scoring.adapter import find_adapter
from ..scoring.scorer import Scorer
from ..scoring.session import Session
from ..scoring.settings import ScoringSettings
from .cells import Cell, Split, cell_name, write_cell
from .full import load_full
from .plan import Plan, Task
from .rows import Option
from .vectors import Shelves, Vector, fields_of, settings_of, sources_of, train_vector

if TYPE_CHECKING:
    from ..models.base import Base
    from ..scoring.adapter import Adapter
    from ..training.request import BaseChoice

CELLS = "cells"


class Bench:
    """Where vectors are trained and cells scored; the base is loaded when it is needed.

    Args:
        plan: what is reproduced.
        folder: of the reproduction: its catalogues and cells.
        base: which model; one that is loaded may be given as well.
    """

    def __init__(
        self, plan: Plan, folder: Path, base: BaseChoice, loaded: Base | None = None
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.base = base
        self.shelves = Shelves(folder)
        self._loaded = loaded
        self._session: Session | None = None
        self._scorers: dict[tuple[object, ...], Scorer] = {}
        self._fingerprints: dict[str, str] = {}
        self._meanings: dict[tuple[int, str, Option], str] = {}
        self._digests: dict[Path, str] = {}

    def close(self) -> None:
        """Give the base back bare and close the catalogues."""
        if self._session is not None:
            self._session.use(None)
        self.shelves.close()

    def check(self, vector: Vector) -> None:
        """Refuse settings that make no sense, and a vector that is there but was made by others.

        What is there is taken as it is. Of another base, other data or other settings it would be
        reported as what the plan says now.

        Raises:
            SettingsError: what differs.
        """
        wanted = settings_of(self.plan, vector).as_json()
        if vector.shelf == "full" or vector.copies is not None:
            return
        record = self.shelves.find(vector.seed, vector.shelf, vector.name)
        if record is None:
            return
        trained = record.training
        data = [self.fingerprint(source) for source in sources_of(self.plan, vector)]
        wanted |= {"base": (self.base.name, self.base.digest), "data": data}
        made = {
            **trained.get("settings", {}),
            "base": (record.base_model, trained.get("base_digest")),
            "data": [one.get("fingerprint") for one in trained.get("data", ())],
        }
        if self.base.dtype not in (None, AUTO):
            wanted["dtype"], made["dtype"] = self.base.dtype, trained.get("base_dtype")
        other = [name for name, value in wanted.items() if name in made and made[name] != value]
        if other:
            raise SettingsError(
                f"'{vector.name}' of seed {vector.seed} in '{self.folder}' was trained with "
                f"another {' and another '.join(other)} than would be now: give another --output"
            )

    def train(self, vector: Vector, *, progress: bool = False) -> bool:
        """Train a vector that is not there; return whether it was trained."""
        self.forget()
        if self.shelves.has(vector):
            return False
        if self._session is not None:
            # Training wants the base's own layers.
            self._session.use(None)
        loaded = None if vector.copies or vector.shelf == "full" else self.load()
        return train_vector(self.shelves, self.plan, vector, self.base, loaded, progress=progress)

    def cell(
        self,
        seed: int,
        task: Task,
        option: Option,
        language: str,
        split: Split,
        metrics: tuple[str, ...],
        examples: int | None,
    ) -> Cell:
        """Describe a cell: what its option means, and so its name; no tensor is read.

        Raises:
            DslError: vectors that are not there, or do not go together.
        """
        adapter = self._meaning(seed, task, option)
        template = task.validation if split == "validation" else task.test
        data = self.fingerprint(self.plan.data(template, language))
        settings = scoring_settings(self.plan, task)
        base = (self.base.name, self.base.revision, self.base.digest)
        how = (settings.prompt, settings.max_length, settings.max_target_length, settings.beams)
        rest = (base, data, metrics, examples, how)
        name = cell_name(adapter, language, split, *rest)
        return Cell(seed, task.name, option, language, split, metrics, examples, adapter, name)

    def score(self, cell: Cell) -> None:
        """Score a cell and write it."""
        if cell.option.shelf == "full":
            model = self._model(cell.seed, cell.task, cell.option)
            with Session(load_full(model, self.base)) as session:
                scored = self._scorer_on(session, cell).score(None)
        else:
            adapter = self._adapter(cell)
            scored = self._scorer(cell).score(adapter)
        write_cell(self.folder / CELLS, cell, scored)

    def forget(self) -> None:
        """Find out anew what expressions mean, since vectors are added."""
        self._meanings, self._digests = {}, {}

    def load(self) -> Base:
        """Return the base, loaded once."""
        if self._loaded is None:
            self._loaded = self.base.load()
        return self._loaded

    def task(self, name: str) -> Task:
        """Return the plan's task of a name."""
        return next(task for task in self.plan.tasks if task.name == name)

    def _meaning(self, seed: int, task: Task, option: Option) -> str:
        if option.shelf == "full":
            model = self._model(seed, task.name, option)
            return self._digests.setdefault(model, f"full {base_digest(model)}")
        if option.expression is None:
            return "base"
        key = (seed, task.name, option)
        if key not in self._meanings:
            hub = self.shelves.hub(seed, option.shelf)
            compiled = compile_request(hub.catalog, hub.blobs, self._request(task, option))
            self._meanings[key] = compiled.evaluation.plan.digest
        return self._meanings[key]

    def _request(self, task: Task, option: Option) -> Request:
        context = Context(task=task.name, distances=self.plan.distances)
        return Request(option.expression or "", semantics=option.semantics, context=context)

    def _adapter(self, cell: Cell) -> Adapter | None:
        option = cell.option
        if option.expression is None:
            return None
        hub = self.shelves.hub(cell.seed, option.shelf)
        return find_adapter(hub, option.expression, self._request(self.task(cell.task), option))

    def _scorer(self, cell: Cell) -> Scorer:
        key = (cell.task, cell.language, cell.split, cell.metrics, cell.examples)
        if key not in self._scorers:
            if self._session is None:
                self._session = Session(self.load())
            self._scorers[key] = self._scorer_on(self._session, cell)
        return self._scorers[key]

    def _scorer_on(self, session: Session, cell: Cell) -> Scorer:
        task = self.task(cell.task)
        return Scorer(
            session,
            self.pairs(task, cell.language, cell.split, cell.examples),
            metrics=cell.metrics,
            language=cell.language,
            settings=scoring_settings(self.plan, task),
        )

    def _model(self, seed: int, task: str, option: Option) -> Path:
        return self.shelves.model(seed, task, option.label)

    def pairs(self, task: Task, language: str, split: Split, examples: int | None) -> list[Pair]:
        """Read the labelled data of a language that are scored on."""
        template = task.validation if split == "validation" else task.test
        source = self.plan.data(template, language)
        return list(read_pairs(source, fields_of(task), language=language, limit=examples))

    def fingerprint(self, source: str) -> str:
        """Return the fingerprint of a source, taken once."""
        if source not in self._fingerprints:
            self._fingerprints[source] = fingerprint(source)
        return self._fingerprints[source]


def scoring_settings(plan: Plan, task: Task) -> ScoringSettings:
    """Return how a task is scored: as its vectors were trained."""
    length = {
        "max_length": plan.max_length,
        **{key: plan.training["task"][key] for key in _LENGTHS if key in plan.training["task"]},
    }
    return ScoringSettings(prompt=task.prompt, **length)


_LENGTHS = ("max_length", "max_target_length")

"""The vectors that a plan needs, and the catalogues that they lie in.

Each seed has its own. The shelves of a seed keep apart what must not meet: `vectors` is what
selectors choose from; oracles and multilingual adapters, which have seen a target's labels or the
data of several languages, are on a shelf of their own, so that neither `task[*]` nor anything else
can find them; and Kronecker adapters do not make `task[en]` ambiguous.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...hub import AdapterHub
from ..data.fields import Fields
from ..training.request import BaseChoice
from ..training.run import train_lm, train_task
from ..training.settings import Settings
from .plan import Plan, Task
from .rows import Shelf

if TYPE_CHECKING:
    from ...store import VersionRecord
    from ..models.base import Base

# The start of independent vectors: any but the others' own.
_OTHER_START = 1


@dataclass(frozen=True, slots=True)
class Vector:
    """An adapter that is to be trained.

    Attributes:
        shelf: where it will lie. name: what it will be called there.
        kind: of the plan's [training]. languages: of its data.
        task: index among the plan's tasks; None for a language vector.
        copies: name of the finished vector that it is a copy of, on the shelf `vectors`.
    """

    seed: int
    shelf: Shelf
    name: str
    kind: str
    languages: tuple[str, ...]
    task: int | None = None
    peft: str = "lora"
    other_start: bool = False
    copies: str | None = None


def vectors_of(plan: Plan, seed: int, task: int) -> Iterator[Vector]:
    """Yield the vectors that one seed needs for one task, the most important first."""
    name = plan.tasks[task].name

    def task_vector(language: str) -> Vector:
        return Vector(seed, "vectors", f"{name}-{language}", "task", (language,), task)

    yield task_vector(plan.source)
    yield from (_lm(seed, language) for language in _languages(plan))
    if "controls" in plan.parts:
        for target in plan.targets:
            yield Vector(seed, "apart", f"{name}-oracle-{target}", "oracle", (target,), task)
    if {"many", "sources", "in-domain"} & set(plan.parts):
        yield from (task_vector(one) for one in plan.task_languages if one != plan.source)
    if {"many", "in-domain"} & set(plan.parts):
        languages = plan.task_languages
        yield Vector(seed, "apart", f"{name}-multilingual", "multilingual", languages, task)
    if "controls" in plan.parts and seed in plan.independent_seeds:
        yield from _independent(plan, seed, task)
    if "kronecker" in plan.parts:
        for language in plan.task_languages:
            label = f"{name}-{language}"
            yield Vector(seed, "kronecker", label, "kronecker", (language,), task, "lokr")
        languages = plan.task_languages
        label = f"{name}-multilingual-kronecker"
        yield Vector(seed, "apart", label, "kronecker", languages, task, "lokr")
    if "full" in plan.parts:
        for language in plan.task_languages:
            yield Vector(seed, "full", f"{name}:{language}", "full", (language,), task)


def _languages(plan: Plan) -> tuple[str, ...]:
    """Languages that need a language vector: all task languages only where a part uses them."""
    every = plan.languages
    if {"many", "sources"} & set(plan.parts):
        return every
    wrong = {one for target in plan.targets for one in plan.wrong.get(target, ())}
    return tuple(one for one in every if one in {plan.source, *plan.targets, *wrong})


def _lm(seed: int, language: str) -> Vector:
    return Vector(seed, "vectors", f"lm-{language}", "lm", (language,))


def _independent(plan: Plan, seed: int, task: int) -> Iterator[Vector]:
    for target in plan.targets:
        vector = _lm(seed, target)
        yield replace(vector, shelf="independent", other_start=True)
    label = f"{plan.tasks[task].name}-{plan.source}"
    for name, kind in ((label, "task"), (f"lm-{plan.source}", "lm")):
        yield Vector(
            seed,
            "independent",
            name,
            kind,
            (plan.source,),
            task if kind == "task" else None,
            copies=name,
        )


class Shelves:
    """The catalogues of a reproduction's folder, opened when they are used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[tuple[int, Shelf], AdapterHub] = {}

    def hub(self, seed: int, shelf: Shelf) -> AdapterHub:
        """Return the catalogue of a shelf; a new one where there is none."""
        key = (seed, shelf)
        if key not in self._open:
            # A database of its own: $ISOGLOSS_DATABASE_URL is the user's catalogue, not this one.
            home = self.folder.resolve() / f"seed-{seed}" / shelf
            self._open[key] = AdapterHub.init(home, f"sqlite:///{home / 'catalogue.db'}")
        return self._open[key]

    def find(self, seed: int, shelf: Shelf, name: str) -> VersionRecord | None:
        """Return a vector that is there, or None."""
        found = [record for record in self.hub(seed, shelf).find() if record.name == name]
        return found[0] if found else None

    def model(self, seed: int, task: str, language: str) -> Path:
        """Return where a fully trained model lies, which no catalogue takes."""
        return self.folder.resolve() / f"seed-{seed}" / "full" / f"{task}-{language}"

    def model_is_there(self, seed: int, task: str, language: str) -> bool:
        """Whether a fully trained model is there, whole."""
        return (self.model(seed, task, language) / "config.json").is_file()

    def has(self, vector: Vector) -> bool:
        """Whether a vector, or a fully trained model, is there."""
        if vector.shelf == "full":
            task, _, language = vector.name.partition(":")
            return self.model_is_there(vector.seed, task, language)
        return self.find(vector.seed, vector.shelf, vector.name) is not None

    def close(self) -> None:
        """Close all of them."""
        for hub in self._open.values():
            hub.close()
        self._open = {}


def train_vector(
    shelves: Shelves,
    plan: Plan,
    vector: Vector,
    base: BaseChoice,
    loaded: Base | None = None,
    *,
    progress: bool = False,
) -> bool:
    """Train a vector, unless a vector of its name is on its shelf; return whether it was trained.

    A vector that somebody else has put there is as good.

    Args:
        loaded: the base, if it is loaded already.

    Raises:
        LabError: as `train_lm` and `train_task`.
    """
    if shelves.has(vector):
        return False
    if vector.shelf == "full":
        _train_full(shelves, plan, vector, base)
        return True
    hub = shelves.hub(vector.seed, vector.shelf)
    if vector.copies is not None:
        _copy(shelves.hub(vector.seed, "vectors"), hub, vector.copies)
        return True
    settings = settings_of(plan, vector)
    if vector.task is None:
        train_lm(
            hub,
            loaded or base,
            sources_of(plan, vector),
            language=vector.languages,
            settings=settings,
            name=vector.name,
            fields=Fields(text=plan.text_field),
            progress=progress,
        )
        return True
    labelled = plan.tasks[vector.task]
    train_task(
        hub,
        loaded or base,
        sources_of(plan, vector),
        language=vector.languages,
        task=labelled.name,
        settings=settings,
        name=vector.name,
        fields=fields_of(labelled),
        progress=progress,
    )
    return True


def _train_full(shelves: Shelves, plan: Plan, vector: Vector, base: BaseChoice) -> None:
    from .full import train_full

    labelled = plan.tasks[vector.task or 0]
    (language,) = vector.languages
    train_full(
        base,
        plan.data(labelled.train, language),
        shelves.model(vector.seed, labelled.name, language),
        language=language,
        task=labelled.name,
        settings=settings_of(plan, vector),
        fields=fields_of(labelled),
    )


def sources_of(plan: Plan, vector: Vector) -> list[str]:
    """Return the data that a vector is trained on, a source for each of its languages."""
    template = plan.texts if vector.task is None else plan.tasks[vector.task].train
    return [plan.data(template, language) for language in vector.languages]


def settings_of(plan: Plan, vector: Vector) -> Settings:
    """Return how a vector is trained: its seed orders the data, its start is that of all others."""
    start = plan.initialisation + (_OTHER_START if vector.other_start else 0)
    said: Mapping[str, Any] = plan.training[vector.kind]
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in said.items()}
    if vector.task is not None:
        given.setdefault("prompt", plan.tasks[vector.task].prompt)
    given.setdefault("max_length", plan.max_length)
    return Settings(**given, peft=vector.peft, seed=vector.seed, init_seed=start)


def fields_of(task: Task) -> Fields:
    """Return which fields of a task's data hold source and target."""
    return Fields(source=task.source_field, target=task.target_field)


def _copy(there: AdapterHub, here: AdapterHub, name: str) -> None:
    """Put a vector of one catalogue into another, with what is known of it."""
    record = there.show(name)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "adapter_config.json").write_text(json.dumps(record.config), encoding="utf-8")
        shutil.copyfile(there.blobs.path(record.digest), folder / "adapter_model.safetensors")
        here.add(
            folder,
            kind=record.kind,
            language=record.languages_given,
            task=record.task,
            name=name,
            dataset=record.dataset,
            objective=record.objective,
            base=record.base_model,
            base_revision=record.base_revision,
            steps=record.steps,
            batch_size=record.batch_size,
            learning_rate=record.learning_rate,
            seed=record.seed,
            training=record.training,
        )

"""Reproduces the paper for a plan: vectors, then validation, then test, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...dsl.errors import NotFoundError
from ...dsl.relatedness import EmptySelectionError, backend, related
from ..data.fields import Fields
from ..data.records import read_pairs, read_texts
from ..errors import DataError
from ..scoring.measurement import Measurement
from ..scoring.metrics import Metric, find_metrics
from .bench import CELLS, Bench
from .cells import Cell, Measurements, Split, read_cell
from .crew import Alone, Crew, missing_cells, missing_vectors
from .plan import Plan, Task
from .results import Outcome, Results, pool
from .rows import Option, Row, find_row, in_domain_rows, rows_of, source_rows
from .vectors import Vector, fields_of, vectors_of


@dataclass(frozen=True, slots=True)
class Done:
    """How far a reproduction has come: finished of all, in vectors and cells."""

    vectors: tuple[int, int]
    cells: tuple[int, int]

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.vectors[0] == self.vectors[1] and self.cells[0] == self.cells[1]


def reproduce(bench: Bench, crew: Crew | None = None) -> tuple[Results, Done]:
    """Do all that a plan asks for and that is not done, and return what came out.

    Seed by seed, so that whatever is killed leaves whole seeds; it goes on where it was.

    Raises:
        LabError, DslError: data, model, vectors or settings that cannot be.
    """
    crew = crew or Alone(bench)
    plan = bench.plan
    check_data(bench)
    wanted = {seed: _vectors(plan, seed) for seed in plan.seeds}
    for vector in (vector for vectors in wanted.values() for vector in vectors):
        bench.check(vector)
    for seed in plan.seeds:
        crew.train(missing_vectors(bench, wanted[seed]))
        bench.forget()
        for task in plan.tasks:
            lines = lines_of(plan, task, seed)
            crew.score(missing_cells(bench, _validation(bench, seed, task, lines)))
            crew.score(missing_cells(bench, _tests(bench, seed, task, lines)))
    return look(bench)


def look(bench: Bench) -> tuple[Results, Done]:
    """Return what is finished, without doing anything.

    Rows of a seed count where all their cells are there; others wait.
    """
    plan = bench.plan
    outcomes: list[Outcome] = []
    vectors, cells = [0, 0], [0, 0]
    for seed in plan.seeds:
        wanted = _vectors(plan, seed)
        missing = missing_vectors(bench, wanted)
        vectors[0] += len(wanted) - len(missing)
        vectors[1] += len(wanted)
        lacking = {vector.shelf for vector in missing}
        for task in plan.tasks:
            for row in lines_of(plan, task, seed):
                # A mean over what is there so far would be of another set than the row's.
                of_sets = row.part in ("many", "kronecker")
                waits = of_sets and any(option.shelf in lacking for option in row.options)
                found = None if waits else _outcome(bench, seed, task, row)
                cells[1] += 1
                if found is not None or not row.options:
                    cells[0] += 1
                if found is not None:
                    outcomes.append(found)
    return Results(outcomes), Done((vectors[0], vectors[1]), (cells[0], cells[1]))


def _vectors(plan: Plan, seed: int) -> list[Vector]:
    """The vectors that a seed needs for all tasks, each once."""
    every = (v for number in range(len(plan.tasks)) for v in vectors_of(plan, seed, number))
    return list(dict.fromkeys(every))


def check_data(bench: Bench) -> None:
    """Find out that data lack something before hours of training, not after.

    Raises:
        DataError: with the file and the field; or what is validated on is tested on too.
        SettingsError: metrics or rows that there are none of.
    """
    plan = bench.plan
    for key in plan.generation.rows:
        find_row(lines_of(plan, plan.tasks[0], plan.seeds[0]), key)
    more = plan.task_languages if "in-domain" in plan.parts else ()
    for language in plan.languages:
        list(read_texts(plan.data(plan.texts, language), Fields(text=plan.text_field), limit=1))
    for task in plan.tasks:
        seen = (*plan.task_languages, *(plan.targets if "controls" in plan.parts else ()))
        for language in seen:
            source = plan.data(task.train, language)
            list(read_pairs(source, fields_of(task), language=language, limit=1))
        for language in (*plan.targets, *more):
            find_metrics((*task.metrics, *plan.generation.metrics), language)
            chosen_on = {pair.id for pair in bench.pairs(task, language, "validation", None)}
            tested_on = {pair.id for pair in bench.pairs(task, language, "test", None)}
            both = {one for one in chosen_on & tested_on if not one.isdigit()}
            same = plan.data(task.validation, language) == plan.data(task.test, language)
            if both or same:
                what = f"{len(both)} examples (such as {min(both)!r})" if both else "the same data"
                raise DataError(
                    f"{what} are validation and test data of {language!r} at once: what chooses "
                    "must not be what is reported"
                )


def lines_of(plan: Plan, task: Task, seed: int) -> list[Row]:
    """Return all rows of a task, language by language."""
    rows: list[Row] = []
    for target in plan.targets:
        close = related_to(plan, target)
        independent = seed in plan.independent_seeds
        rows += rows_of(plan, task.name, target, close, seed=seed, independent=independent)
        if "sources" in plan.parts:
            rows += source_rows(plan, target)
    if "in-domain" in plan.parts:
        for language in plan.task_languages:
            rows += in_domain_rows(plan, task.name, language)
    return rows


def related_to(plan: Plan, target: str) -> tuple[str, ...]:
    """Return the task languages that related(T) means; none where no one is close enough."""
    try:
        source = backend(plan.distances or "uriel")
        return related(target, plan.task_languages, source=source).languages
    except EmptySelectionError:
        return ()


def metrics_of(task: Task, row: Row, plan: Plan) -> list[tuple[tuple[str, ...], int | None]]:
    """Return what is measured of a row on test data, and on how many examples."""
    found = [(task.metrics, plan.test_examples)]
    more = plan.generation
    if more.metrics and row.key in more.rows:
        found.append((more.metrics, more.examples))
    return found


def _validation(bench: Bench, seed: int, task: Task, rows: Sequence[Row]) -> Iterator[Cell]:
    for row in rows:
        if row.how == "chosen" and len(row.options) > 1:
            for option in row.options:
                yield _validated(bench, seed, task, row, option)


def _validated(bench: Bench, seed: int, task: Task, row: Row, option: Option) -> Cell:
    examples = bench.plan.validation_examples
    split: Split = "validation"
    return bench.cell(seed, task, option, row.language, split, task.metrics[:1], examples)


def _tests(bench: Bench, seed: int, task: Task, rows: Sequence[Row]) -> Iterator[Cell]:
    for row in rows:
        chosen = _choose(bench, seed, task, row)
        for option in chosen or ():
            yield from _tested(bench, seed, task, row, option)


def _tested(bench: Bench, seed: int, task: Task, row: Row, option: Option) -> Iterator[Cell]:
    for metrics, examples in metrics_of(task, row, bench.plan):
        yield bench.cell(seed, task, option, row.language, "test", metrics, examples)


def _curve(bench: Bench, seed: int, task: Task, row: Row) -> list[float] | None:
    """The validation metric of every option; None where one is missing."""
    values = []
    for option in row.options:
        found = read_cell(bench.folder / CELLS, _validated(bench, seed, task, row, option))
        if found is None:
            return None
        values.append(found[task.metrics[0]].value)
    return values


def _choose(bench: Bench, seed: int, task: Task, row: Row) -> tuple[Option, ...] | None:
    """The options that a row comes to, by validation data alone; None where they are missing."""
    if row.how == "mean" or len(row.options) < 2:
        return row.options
    values = _curve(bench, seed, task, row)
    if values is None:
        return None
    (metric,) = find_metrics(task.metrics[:1], row.language)
    return (row.options[best_of(values, metric)],)


def best_of(values: Sequence[float], metric: Metric) -> int:
    """Return the number of the best value; of equal ones the first."""
    best = 0
    for number, value in enumerate(values):
        if metric.better(value, values[best]):
            best = number
    return best


def _outcome(bench: Bench, seed: int, task: Task, row: Row) -> Outcome | None:
    if not _is_ready(bench, seed, task, row):
        return None
    chosen = _choose(bench, seed, task, row)
    if not chosen:
        return None
    measured: dict[str, list[Measurement]] = {}
    for option in chosen:
        for cell in _tested(bench, seed, task, row, option):
            found: Measurements | None = read_cell(bench.folder / CELLS, cell)
            if found is None:
                return None
            for metric, measurement in found.items():
                measured.setdefault(metric, []).append(measurement)
    values = _curve(bench, seed, task, row) if row.how == "chosen" and len(row.options) > 1 else []
    curve = [
        (option.value, value)
        for option, value in zip(row.options, values or (), strict=False)
        if option.value is not None
    ]
    return Outcome(
        task=task.name,
        row=row,
        seed=seed,
        chosen=tuple(option.label for option in chosen),
        curve=tuple(curve),
        measurements={metric: pool(found) for metric, found in measured.items()},
    )


def _is_ready(bench: Bench, seed: int, task: Task, row: Row) -> bool:
    """Whether the vectors are there, without which an expression means nothing yet."""
    whole = [option for option in row.options if option.shelf == "full"]
    if not all(bench.shelves.model_is_there(seed, task.name, one.label) for one in whole):
        return False
    try:
        for option in row.options:
            bench.cell(seed, task, option, row.language, "test", task.metrics, None)
    except NotFoundError:
        return False
    return True

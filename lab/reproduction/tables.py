"""The paper's tables and the controls, from results: as values first, then as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..scoring.bootstrap import Interval
from ..scoring.metrics import METRIC_BY_NAME
from .plan import Plan, Task
from .results import Figure, Results
from .rows import BASELINE, Row

GONE = "—"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its cells as text for people, and its numbers as plain JSON.

    Attributes:
        key: its short name. title: what it shows. note: what a reader has to know.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    numbers: tuple[Mapping[str, Any], ...] = field(default=())


def paper_tables(results: Results, plan: Plan, task: Task) -> list[Table]:
    """Return Tables 1 to 3 and 6, Figure 2's numbers and the controls of one task."""
    made = []
    for metric in metrics_of(plan, task):
        for key, title, part, languages in (
            ("table-1", "Table 1: labelled data in one language", "one", plan.targets),
            ("table-2", "Table 2: labelled data in several languages", "many", plan.targets),
            ("table-3", "Table 3: the same with Kronecker adapters", "kronecker", plan.targets),
            ("table-6", "Table 6: languages with labelled data", "in-domain", plan.task_languages),
            ("controls", "Controls that the paper lacks", "controls", plan.targets),
        ):
            keys = _keys(results, task.name, languages, part)
            named = f"{key}-{task.name}-{metric}"
            heading = f"{title} ({task.name}, {_metric(metric)})"
            table = _table(results, task, metric, named, heading, keys, languages)
            if table.rows:
                made.append(table)
    return made


def metrics_of(plan: Plan, task: Task) -> tuple[str, ...]:
    """Return all metrics that are measured of a task, those of some rows alone last."""
    return tuple(dict.fromkeys((*task.metrics, *plan.generation.metrics)))


def _keys(results: Results, task: str, languages: Sequence[str], part: str) -> dict[str, Row]:
    """The rows of a part, of all languages; one that only some have stands where they have it."""
    found: list[Row] = []
    for language in languages:
        place = 0
        for row in results.rows(task, language):
            reference = row.key == BASELINE and part in ("one", "many", "controls")
            if row.part != part and not reference:
                continue
            keys = [one.key for one in found]
            if row.key not in keys:
                found.insert(place, row)
                keys.insert(place, row.key)
            place = keys.index(row.key) + 1
    return {row.key: row for row in found}


def _table(
    results: Results,
    task: Task,
    metric: str,
    key: str,
    title: str,
    keys: Mapping[str, Row],
    languages: Sequence[str],
) -> Table:
    rows, numbers = [], []
    for name, row in keys.items():
        figures = {one: results.figure(task.name, one, name, metric) for one in languages}
        if not any(figures.values()):
            continue
        cells = [_cell(figure) for figure in figures.values()]
        average = results.average(task.name, languages, name, metric)
        moved = None
        if row.against not in (None, name):
            moved = results.difference(task.name, languages, name, str(row.against), metric)
        cells.append(_average(average, moved))
        rows.append((row.title, *cells))
        numbers.append(
            {
                "row": name,
                "title": row.title,
                "against": row.against,
                "languages": {one: _figure(figure) for one, figure in figures.items()},
                "average": _interval(average),
                "average_difference": _interval(moved),
            }
        )
    note = (
        f"{_direction(metric)} In brackets the difference to the row's baseline with its 95 % "
        "interval (paired bootstrap over documents of the mean over seeds)."
    )
    return Table(key, title, ("Method", *languages, "Avg"), tuple(rows), note, tuple(numbers))


def comparison_table(results: Results, plan: Plan, task: Task, metric: str) -> Table | None:
    """Return row minus row, such as the right language minus a wrong one: what controls are for.

    None where no pair of them was measured.
    """
    rows, numbers = [], []
    for target in plan.targets:
        for mine, theirs, what in _comparisons(plan, target):
            found = results.difference(task.name, [target], mine, theirs, metric)
            if found is None:
                continue
            both = results.measured(task.name, target, mine, metric).keys()
            other = results.measured(task.name, target, theirs, metric)
            same = [seed for seed in both if seed in other]
            of = results.measured(task.name, target, mine, metric)
            by_seed = {seed: of[seed].value - other[seed].value for seed in same}
            values = ", ".join(_signed(value) for value in by_seed.values())
            rows.append((target, what, _text(found, signed=True), values))
            numbers.append(
                {
                    "language": target,
                    "row": mine,
                    "minus": theirs,
                    "difference": _interval(found),
                    "by_seed": by_seed,
                }
            )
    if not rows:
        return None
    return Table(
        f"comparisons-{task.name}-{metric}",
        f"Row minus row ({task.name}, {_metric(metric)})",
        ("Language", "Comparison", "Difference", "Each seed"),
        tuple(rows),
        f"{_direction(metric)} An interval on one side of zero is a difference that other "
        "documents would show too.",
        tuple(numbers),
    )


def _comparisons(plan: Plan, target: str) -> Iterable[tuple[str, str, str]]:
    wrong = plan.wrong.get(target, ())
    yield "add_subtract", "shrink", "Add and Subtract - shrinking alone"
    for one in wrong:
        yield (
            "add_subtract",
            f"add_subtract-{one}",
            f"Add and Subtract, right - wrong language ({one})",
        )
    for one in wrong:
        yield "add", f"add-{one}", f"Add, right - wrong language ({one})"
    yield "add_subtract", "add", "Add and Subtract - Add"
    yield "add_subtract-exact", "shrink-exact", "exact: Add and Subtract - shrinking alone"
    yield "add_subtract-exact", "add_subtract", "Add and Subtract, exact - elementwise"
    yield "steer", "add_subtract", "steer - Add and Subtract"
    for one in wrong:
        yield "steer", f"steer-{one}", f"steer, right - wrong language ({one})"
    yield "steer", "steer-unsubtracted", "steer - steer without the subtraction"
    yield "steer", "steer-elementwise", "steer, exact - elementwise"
    yield "independent-elementwise", "steer-elementwise", "elementwise: another start - one start"
    yield "independent-steer", "steer", "steer: another start - one start"
    yield "add_related", "random_subsets", "Add related - random subsets"
    yield "add_related", "add_all", "Add related - Add all"
    yield "add_subtract_related", "add_related", "Add and Subtract related - Add related"
    yield "oracle", "steer", "oracle - steer"


def choice_table(results: Results, plan: Plan, task: Task) -> Table | None:
    """Return what validation data chose, for every row that has a choice; None without any."""
    rows, numbers = [], []
    for language in (*plan.targets, *plan.task_languages):
        for row in results.rows(task.name, language):
            if row.how != "chosen" or len(row.options) < 2:
                continue
            outcomes = results.of(task.name, language, row.key)
            chosen = {outcome.seed: outcome.chosen[0] for outcome in outcomes}
            rows.append((language, row.title, ", ".join(chosen.values())))
            numbers.append({"language": language, "row": row.key, "chosen": chosen})
    if not rows:
        return None
    title = f"What validation data chose, seed by seed ({task.name})"
    columns = ("Language", "Method", "Chosen")
    return Table(f"choices-{task.name}", title, columns, tuple(rows), "", tuple(numbers))


def task_table(results: Results, plan: Plan) -> Table | None:
    """Return Table 4: the averages of Table 1's rows, a column a task; None without them."""
    keys = _keys(results, plan.tasks[0].name, plan.targets, "one")
    rows, numbers = [], []
    for key, row in keys.items():
        averages = {
            task.name: results.average(task.name, plan.targets, key, task.metrics[0])
            for task in plan.tasks
        }
        rows.append((row.title, *(_average(one, None) for one in averages.values())))
        numbers.append({"row": key, "tasks": {t: _interval(one) for t, one in averages.items()}})
    if not rows:
        return None
    heads = tuple(f"{task.name} ({_metric(task.metrics[0])})" for task in plan.tasks)
    title = "Table 4: averages over the targets, by task"
    return Table("table-4", title, ("Method", *heads), tuple(rows), "", tuple(numbers))


def source_table(results: Results, plan: Plan, task: Task, metric: str) -> Table | None:
    """Return Figure 2's numbers: the gain of arithmetic over each source's task vector, in %."""
    rows, numbers = [], []
    measured = False
    for source in plan.task_languages:
        gains: dict[str, float | None] = {}
        for target in plan.targets:
            key = f"source-{source}-arithmetic"
            found = results.figure(task.name, target, key, metric)
            alone = results.figure(task.name, target, f"source-{source}", metric)
            if found is None or alone is None or not alone.interval.value:
                gains[target] = None
                continue
            sign = 1 if METRIC_BY_NAME[metric].higher else -1
            moved = found.interval.value - alone.interval.value
            gains[target] = 100 * sign * moved / alone.interval.value
            measured = True
        cells = (GONE if gain is None else f"{gain + 0.0:+.2f} %" for gain in gains.values())
        rows.append((source, *cells))
        numbers.append({"source": source, "gain_percent": gains})
    if not measured:
        return None
    return Table(
        f"figure-2-{task.name}-{metric}",
        f"Figure 2: gain of Add and Subtract over the task vector alone ({task.name}, "
        f"{_metric(metric)})",
        ("Source", *plan.targets),
        tuple(rows),
        "More is better, also where the metric itself falls.",
        tuple(numbers),
    )


def markdown(table: Table) -> str:
    """Return a table in Markdown, under its title."""
    lines = [f"### {table.title}", ""]
    for row in (table.columns, ("---",) * len(table.columns), *table.rows):
        cells = (cell.replace("|", "\\|") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines) + "\n"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return GONE
    value = f"{figure.interval.value:.3f}"
    return value if figure.difference is None else f"{value} ({_text(figure.difference, True)})"


def _average(average: Interval | None, moved: Interval | None) -> str:
    if average is None:
        return GONE
    return f"{average.value:.3f}" + (f" ({_text(moved, True)})" if moved else "")


def _text(interval: Interval, signed: bool = False) -> str:
    if not signed:
        return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    return f"{_signed(interval.value)} [{_signed(interval.low)}, {_signed(interval.high)}]"


def _signed(value: float) -> str:
    # Never "-0.000".
    return f"{round(value, 3) + 0.0:+.3f}"


def _metric(name: str) -> str:
    return METRIC_BY_NAME[name].title


def _direction(metric: str) -> str:
    return "More is better." if METRIC_BY_NAME[metric].higher else "Less is better."


def _interval(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {
        **(_interval(figure.interval) or {}),
        "difference": _interval(figure.difference),
        "by_seed": dict(figure.by_seed),
        "difference_by_seed": dict(figure.difference_by_seed),
        "chosen": {seed: list(chosen) for seed, chosen in figure.chosen.items()},
        "examples": figure.examples,
    }

"""What the paper tells beside its results: selections, sizes of the data, trained shares."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version

from ..data.records import read_pairs
from .bench import Bench
from .cells import write_json
from .plan import Plan, Task, digest_of
from .results import Results
from .run import related_to
from .tables import GONE, Table
from .vectors import fields_of, vectors_of


def selection_table(results: Results, plan: Plan) -> Table:
    """Return Table 5: the related languages, and the single one that validation data chose."""
    rows, numbers = [], []
    for target in plan.targets:
        close = related_to(plan, target)
        best = {
            task.name: Counter(one.chosen[0] for one in results.of(task.name, target, "best"))
            for task in plan.tasks
        }
        chosen = [
            f"{one} ({count} of {sum(counted.values())} seeds)"
            for counted in best.values()
            for one, count in counted.items()
        ]
        rows.append((target, ", ".join(close) or GONE, ", ".join(chosen) or GONE))
        numbers.append(
            {"target": target, "related": close, "best": {k: dict(v) for k, v in best.items()}}
        )
    return Table(
        "table-5",
        "Table 5: the task languages related to each target",
        ("Target", "Related, by URIEL's distances", "Best single, by validation data"),
        tuple(rows),
        "Syntactic distance under 0.7 and geographic under 0.3, nearest first.",
        tuple(numbers),
    )


def size_table(bench: Bench, task: Task) -> Table:
    """Return Table 7: labelled examples of each language; counted once and kept."""
    rows, numbers = [], []
    for language in bench.plan.task_languages:
        source = bench.plan.data(task.train, language)
        count = _count(bench, task, source, language)
        rows.append((language, f"{count:,}"))
        numbers.append({"language": language, "examples": count})
    title = f"Table 7: labelled training data ({task.name})"
    columns = ("Language", "Examples")
    return Table(f"table-7-{task.name}", title, columns, tuple(rows), numbers=tuple(numbers))


def _count(bench: Bench, task: Task, source: str, language: str) -> int:
    name = digest_of(bench.fingerprint(source), task.source_field, task.target_field)[:20]
    path = bench.folder / "counts" / f"{language}-{name}.json"
    if path.is_file():
        return int(path.read_text(encoding="utf-8"))
    count = sum(1 for _ in read_pairs(source, fields_of(task), language=language))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, count)
    return count


def vector_table(bench: Bench) -> Table | None:
    """Return what was trained: size, share of the base's parameters, steps, first and last loss.

    None where nothing is trained yet.
    """
    rows, numbers = [], []
    plan = bench.plan
    for seed in plan.seeds:
        wanted = (v for number in range(len(plan.tasks)) for v in vectors_of(plan, seed, number))
        for vector in dict.fromkeys(wanted):
            if vector.copies is not None or vector.shelf == "full":
                continue
            record = bench.shelves.find(seed, vector.shelf, vector.name)
            if record is None:
                continue
            training = record.training
            share, losses = training.get("trained_share"), training.get("losses", {})
            rows.append(
                (
                    str(seed),
                    f"{vector.shelf}/{record.name}",
                    str(record.peft_type),
                    f"{record.parameters:,}",
                    GONE if share is None else f"{100 * share:.2f} %",
                    str(record.steps),
                    " -> ".join(f"{losses[key]:.2f}" for key in ("first", "last") if key in losses),
                )
            )
            numbers.append(
                {
                    "seed": seed,
                    "shelf": vector.shelf,
                    "name": record.name,
                    "peft": record.peft_type,
                    "parameters": record.parameters,
                    "share": share,
                    "steps": record.steps,
                    "batch_size": record.batch_size,
                    "learning_rate": record.learning_rate,
                    "losses": losses,
                    "deviation": training.get("deviation"),
                    "digest": record.digest,
                }
            )
    if not rows:
        return None
    columns = ("Seed", "Vector", "Type", "Parameters", "Of the base", "Steps", "Loss")
    deviations = sorted({str(one["deviation"]) for one in numbers if one["deviation"]})
    return Table(
        "vectors",
        "The trained vectors",
        columns,
        tuple(rows),
        " ".join(f"{said}." for said in deviations),
        tuple(numbers),
    )


def environment() -> dict[str, str]:
    """Return the versions of the libraries that took part."""
    names = ("isogloss", "torch", "transformers", "peft", "datasets", "numpy")
    return {name: version(name) for name in names}

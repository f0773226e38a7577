"""Writes a reproduction's report: Markdown, JSON, pictures, and one HTML page with all of it."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bench import Bench
from .cells import write_json
from .facts import environment, selection_table, size_table, vector_table
from .pictures import draw_curves, draw_heat_map
from .results import Results
from .run import Done
from .tables import (
    Table,
    choice_table,
    comparison_table,
    markdown,
    metrics_of,
    paper_tables,
    source_table,
    task_table,
)

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:.5rem 0;display:block;overflow-x:auto}"
    "th,td{border:1px solid #ccc;padding:.25rem .5rem;text-align:left;white-space:nowrap}"
    "th{background:#f3f3f3}img{max-width:100%}.note{color:#555}"
)


@dataclass(frozen=True, slots=True)
class Report:
    """A written report.

    Attributes:
        folder: where it lies: report.md, report.json, report.html and pictures.
        tables: what it shows. done: how far the reproduction has come.
    """

    folder: Path
    tables: tuple[Table, ...]
    done: Done


def write_report(bench: Bench, results: Results, done: Done, folder: Path) -> Report:
    """Write the report of what is finished; what is not is left out, and said to be missing."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = collect_tables(bench, results)
    pictures = _pictures(bench, results, folder)
    heading = _heading(bench, results, done)
    (folder / "report.md").write_text(_markdown(bench, heading, tables, pictures), encoding="utf-8")
    (folder / "report.html").write_text(
        _page(bench, heading, tables, pictures, folder), encoding="utf-8"
    )
    write_json(folder / "report.json", _document(bench, results, done, tables))
    return Report(folder, tuple(tables), done)


def collect_tables(bench: Bench, results: Results) -> list[Table]:
    """Return all tables, the paper's in its order, those without any number left out."""
    plan = bench.plan
    found: list[Table | None] = []
    for task in plan.tasks:
        found += paper_tables(results, plan, task)
        for metric in metrics_of(plan, task):
            found.append(comparison_table(results, plan, task, metric))
        if "sources" in plan.parts:
            found += [source_table(results, plan, task, metric) for metric in task.metrics]
        found.append(choice_table(results, plan, task))
    if "one" in plan.parts:
        found.append(task_table(results, plan))
    found += [selection_table(results, plan), *(size_table(bench, task) for task in plan.tasks)]
    found.append(vector_table(bench))
    return [table for table in found if table is not None]


def _pictures(bench: Bench, results: Results, folder: Path) -> list[tuple[str, str]]:
    """Draw what there is to draw; return title and file name of each picture."""
    drawn = []
    for task in bench.plan.tasks:
        for what, draw, name in (
            ("The parameter on validation data", draw_curves, "curves"),
            ("Figure 2", draw_heat_map, "figure-2"),
        ):
            file = f"{name}-{task.name}.png"
            if draw(results, bench.plan, task, folder / file):
                drawn.append((f"{what} ({task.name})", file))
    return drawn


def _heading(bench: Bench, results: Results, done: Done) -> list[str]:
    plan = bench.plan
    seeds = sorted({outcome.seed for outcome in results.outcomes})
    libraries = ", ".join(f"{name} {number}" for name, number in environment().items())
    languages = f"{', '.join(plan.task_languages)}; targets: {', '.join(plan.targets)}"
    lines = [f"Base model: {bench.base.name}. Source: {plan.source}; labelled data: {languages}."]
    lines.append(
        f"Seeds: {', '.join(map(str, seeds)) or 'none yet'}. A seed orders and draws the training "
        "data; all vectors start from one initialisation, but those said to have another."
    )
    lines.append(
        "Parameters and single languages are chosen on validation data, seed by seed; test data "
        "choose nothing. The oracle has seen the target's labels and takes part in no other row."
    )
    lines.append(f"Made with {libraries}.")
    if not done.complete:
        lines.append(
            f"**Not complete**: {done.vectors[0]} of {done.vectors[1]} vectors are trained and "
            f"{done.cells[0]} of {done.cells[1]} rows scored (rows of all seeds counted). Numbers "
            "are over the seeds that have them; a difference is over the seeds that both have."
        )
    return lines


def _markdown(
    bench: Bench,
    heading: Sequence[str],
    tables: Sequence[Table],
    pictures: Sequence[tuple[str, str]],
) -> str:
    parts = [f"# {bench.plan.name}", *heading, *(markdown(table).rstrip() for table in tables)]
    parts += [f"### {title}\n\n![{title}]({file})" for title, file in pictures]
    return "\n\n".join(parts) + "\n"


def _page(
    bench: Bench,
    heading: Sequence[str],
    tables: Sequence[Table],
    pictures: Sequence[tuple[str, str]],
    folder: Path,
) -> str:
    name = html.escape(bench.plan.name)
    parts = [f"<h1>{name}</h1>"]
    parts += [f"<p>{html.escape(line.replace('**', ''))}</p>" for line in heading]
    parts += [_html(table) for table in tables]
    for title, file in pictures:
        data = base64.b64encode((folder / file).read_bytes()).decode()
        said = html.escape(title)
        parts.append(f'<h2>{said}</h2><img alt="{said}" src="data:image/png;base64,{data}">')
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{name}</title><style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>\n"
        for row in table.rows
    )
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return f"<h2>{html.escape(table.title)}</h2><table><tr>{head}</tr>\n{rows}</table>{note}"


def _document(
    bench: Bench, results: Results, done: Done, tables: Sequence[Table]
) -> dict[str, Any]:
    plan = bench.plan
    curves = [
        {
            "task": outcome.task,
            "language": outcome.row.language,
            "row": outcome.row.key,
            "seed": outcome.seed,
            "validation": [list(point) for point in outcome.curve],
        }
        for outcome in results.outcomes
        if outcome.curve
    ]
    return {
        "name": plan.name,
        "base": {
            "name": bench.base.name,
            "revision": bench.base.revision,
            "digest": bench.base.digest,
        },
        "seeds": list(plan.seeds),
        "complete": done.complete,
        "vectors": list(done.vectors),
        "rows": list(done.cells),
        "libraries": environment(),
        "tables": {
            table.key: {"title": table.title, "note": table.note, "rows": list(table.numbers)}
            for table in tables
        },
        "curves": curves,
    }

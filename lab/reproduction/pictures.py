"""The pictures of a report: the curves of lambda and Figure 2's heat map, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from ..errors import MissingExtraError
from ..scoring.metrics import METRIC_BY_NAME
from .plan import Plan, Task
from .results import Results
from .tables import source_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES: Final = 4.2
_DPI: Final = 100


def draw_curves(results: Results, plan: Plan, task: Task, path: Path) -> bool:
    """Draw the validation metric over each parameter, a panel a target; False without any curve."""
    panels = [
        (target, parameter, curves)
        for target in plan.targets
        for parameter in ("l", "m")
        if (curves := _curves(results, task, target, parameter))
    ]
    if not panels:
        return False
    figure = _figure(width=2 * _INCHES, height=1.3 * _INCHES * ((len(panels) + 1) // 2))
    axes = figure.subplots((len(panels) + 1) // 2, 2, squeeze=False).flatten()
    for axis, (target, parameter, curves) in zip(axes, panels, strict=False):
        for title, points in curves.items():
            axis.plot([x for x, _ in points], [y for _, y in points], marker="o", label=title)
        axis.set_title(target)
        axis.set_xlabel("lambda" if parameter == "l" else "m")
        axis.set_ylabel(f"{task.metrics[0]}, validation data")
        axis.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    _save(figure, path)
    return True


def _curves(
    results: Results, task: Task, target: str, parameter: str
) -> dict[str, list[tuple[float, float]]]:
    """The mean over seeds at every value of the parameter, by the row's title."""
    found = {}
    for row in results.rows(task.name, target):
        if row.part == "sources" or not any(
            o.label.startswith(f"{parameter}=") for o in row.options
        ):
            continue
        values: dict[float, list[float]] = {}
        for outcome in results.of(task.name, target, row.key):
            for x, y in outcome.curve:
                values.setdefault(x, []).append(y)
        if values:
            found[row.title] = [(x, fmean(ys)) for x, ys in sorted(values.items())]
    return found


def draw_heat_map(results: Results, plan: Plan, task: Task, path: Path) -> bool:
    """Draw the gain of every source for every target; False where nothing was measured."""
    table = source_table(results, plan, task, task.metrics[0])
    if table is None:
        return False
    gains = [_numbers(said["gain_percent"], plan.targets) for said in table.numbers]
    size = max(3.0, 0.7 * len(plan.targets) + 2)
    figure = _figure(width=size, height=max(2.5, 0.6 * len(gains) + 1.5))
    axis = figure.subplots()
    known = [abs(gain) for row in gains for gain in row if gain == gain]
    limit = max(known, default=1.0) or 1.0
    image = axis.imshow(gains, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_xticks(range(len(plan.targets)), plan.targets)
    axis.set_yticks(range(len(gains)), [str(said["source"]) for said in table.numbers])
    for y, row in enumerate(gains):
        for x, gain in enumerate(row):
            axis.text(x, y, "" if gain != gain else f"{gain:+.2f}", ha="center", va="center")
    axis.set_xlabel("target")
    axis.set_ylabel("source of the task vector")
    metric = METRIC_BY_NAME[task.metrics[0]]
    axis.set_title(f"gain in {metric.name}, %", fontsize=9)
    figure.colorbar(image)
    _save(figure, path)
    return True


def _numbers(gains: Mapping[str, Any], targets: Sequence[str]) -> list[float]:
    return [float("nan") if gains[one] is None else float(gains[one]) for one in targets]


def _figure(*, width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "pictures need matplotlib, which is not installed: pip install 'isogloss[lab]'"
        ) from error
    # Not pyplot: it keeps every figure, and looks for a screen.
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    # Without the date and the version in it, the same results give the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})

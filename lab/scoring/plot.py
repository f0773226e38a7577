"""Pictures of what was tuned: the curve of one parameter, or a panel for each of several."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    from ..tune import Tuned

FORMATS: Final = ("png", "svg", "pdf")


def check_format(path: Path) -> None:
    """Refuse a picture's file before anything is computed for it.

    Raises:
        SettingsError: an ending of no picture, or a folder that is not there.
    """
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise SettingsError(f"'{path}' ends in none of .{', .'.join(FORMATS)}: name the picture so")
    if not path.parent.is_dir():
        raise SettingsError(f"there is no folder '{path.parent}' to write '{path.name}' to")


def draw_curve(tuned: Tuned, path: Path) -> None:
    """Draw every score with its interval over the values of each parameter, the best one marked.

    Raises:
        SettingsError: the file cannot be written. MissingExtraError: matplotlib is not there.
    """
    check_format(path)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("pictures need matplotlib: pip install 'isogloss[lab]'") from error
    names = list(tuned.best)
    figure = Figure(figsize=(5.5 * len(names), 4), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for name, panel in zip(names, panels, strict=True):
        _panel(tuned, name, panel, line=len(names) == 1)
    panels[0].set_ylabel(tuned.metric)
    figure.suptitle(f"{tuned.expression:.80}\n{tuned.language}", fontsize="small")
    try:
        figure.savefig(path)
    except OSError as error:
        raise SettingsError(f"cannot write '{path}': {error.strerror}") from error


def _panel(tuned: Tuned, name: str, panel: Any, *, line: bool) -> None:
    places = [float(Fraction(point.values[name])) for point in tuned.points]
    scores = [point.interval.value for point in tuned.points]
    # Equal scores of all examples leave bounds a rounding away, on either side of the value.
    below = [max(0.0, point.interval.value - point.interval.low) for point in tuned.points]
    above = [max(0.0, point.interval.high - point.interval.value) for point in tuned.points]
    panel.errorbar(
        places, scores, yerr=(below, above), fmt="o-" if line else "o", capsize=3, linewidth=1
    )
    best = float(Fraction(tuned.best[name]))
    panel.axvline(best, linestyle=":", color="gray")
    panel.set_xlabel(f"{name} (best: {tuned.best[name]})")

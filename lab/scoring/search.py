"""Searching for the best values of parameters: over a grid, from coarse to fine, or by optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import Any, TypeAlias

from ..errors import MissingExtraError, SettingsError
from .grid import Axis, as_text

Values: TypeAlias = tuple[Fraction, ...]
"""One value for each axis, in the order of the axes."""

Attempt: TypeAlias = Callable[[Mapping[str, Sequence[str]]], Mapping[Values, float]]
"""Scores all combinations of some values; lower is better."""


def search(
    axes: Sequence[Axis], attempt: Attempt, *, refine: int, trials: int, seed: int
) -> tuple[Values, dict[str, Any]]:
    """Find the values with the lowest score; of equal ones the first in the order of the axes.

    Args:
        axes: the parameters and their values.
        attempt: scores combinations, all of them in one pass.
        refine: for one parameter, how often the middles beside the best value are tried as well.
        trials: for several, how many combinations are tried at most.
        seed: of the sampler.

    Returns:
        The best values, and how they were found.

    Raises:
        SettingsError: axes or settings that do not go together.
    """
    _check(axes, refine, trials)
    if len(axes) == 1:
        return _coarse_to_fine(axes[0], attempt, refine)
    if prod(len(axis.values) for axis in axes) <= trials:
        found = dict(attempt({axis.name: axis.texts for axis in axes}))
        return _best(found), {"search": "grid"}
    return _sampled(axes, attempt, trials, seed)


def _check(axes: Sequence[Axis], refine: int, trials: int) -> None:
    names = [axis.name for axis in axes]
    if not names or len(set(names)) < len(names):
        raise SettingsError("name each parameter to tune over once, such as l=0:1:0.1")
    if refine < 0 or trials < 1:
        raise SettingsError(f"refine is {refine} and trials {trials}: 0 and 1 are the least")
    if refine and len(names) > 1:
        raise SettingsError(
            f"only one parameter is tuned from coarse to fine, not {' and '.join(names)}: "
            "leave refining out"
        )


def _coarse_to_fine(axis: Axis, attempt: Attempt, refine: int) -> tuple[Values, dict[str, Any]]:
    found = dict(attempt({axis.name: axis.texts}))
    for _ in range(refine):
        middles = axis.between(_best(found)[0], [values[0] for values in found])
        found |= attempt({axis.name: middles.texts}) if middles.values else {}
    return _best(found), {"search": "grid"} | ({"refined": refine} if refine else {})


def _sampled(
    axes: Sequence[Axis], attempt: Attempt, trials: int, seed: int
) -> tuple[Values, dict[str, Any]]:
    """TPE (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization") over the grid."""
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(
            "tuning several parameters at once needs optuna: pip install 'isogloss[lab]'"
        ) from error
    found: dict[Values, float] = {}

    def objective(trial: Any) -> float:
        values = tuple(
            axis.values[trial.suggest_int(axis.name, 0, len(axis.values) - 1)] for axis in axes
        )
        if values not in found:
            chosen = zip(axes, values, strict=True)
            found.update(attempt({axis.name: [as_text(value)] for axis, value in chosen}))
        return found[values]

    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(objective, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(said)
    return _best(found), {"search": "optuna", "trials": trials, "seed": seed}


def _best(found: Mapping[Values, float]) -> Values:
    return min(found, key=lambda values: (found[values], values))

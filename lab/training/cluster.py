"""The runs of a plan on a Ray cluster, whose nodes see the catalogue and the data alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...hub import AdapterHub
from ..errors import MissingExtraError
from .plan import Outcome, outcome_of
from .request import BaseChoice, Run

if TYPE_CHECKING:
    from ..models.base import Base

RETRIES = 2
"""How often a run goes on elsewhere, from its last checkpoint, when the process of it dies."""


def train_plan_on_ray(
    hub: AdapterHub,
    runs: Sequence[Run],
    *,
    workers: int | None = None,
    report: Callable[[Outcome], None] | None = None,
) -> tuple[Outcome, ...]:
    """Train the runs side by side, without those that the catalogue has.

    A run that fails does not stop the others, and one whose process dies goes on in another. The
    cluster is the one that `RAY_ADDRESS` names, or this machine; home, data and base have to lie
    where all its nodes see them.

    Args:
        workers: most runs at a time; default one for each GPU of the cluster, or else each CPU.
        report: called with every outcome as it comes.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    ray = _library()
    ours = not ray.is_initialized()
    if ours:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        there: dict[str, float] = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        most = workers or gpus or max(1, int(there.get("CPU", 1)))
        task = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=RETRIES)(_train)
        return _spread(ray, task, hub, runs, most, report)
    finally:
        if ours:
            ray.shutdown()


def _spread(
    ray: Any,
    task: Any,
    hub: AdapterHub,
    runs: Sequence[Run],
    most: int,
    report: Callable[[Outcome], None] | None,
) -> tuple[Outcome, ...]:
    waiting = list(enumerate(runs))
    running: dict[Any, int] = {}
    outcomes: dict[int, Outcome] = {}
    while waiting or running:
        while waiting and len(running) < most:
            number, run = waiting.pop(0)
            running[task.remote(hub.home.path, hub.home.database, run)] = number
        (done,), _ = ray.wait(list(running), num_returns=1)
        number = running.pop(done)
        try:
            outcomes[number] = ray.get(done)
        except ray.exceptions.RayTaskError as error:
            # Before the run itself: where the process cannot open the home, for example.
            outcomes[number] = Outcome(runs[number], None, str(error.cause or error))
        except ray.exceptions.RayError as error:
            words = f"its process died {RETRIES + 1} times: {' '.join(str(error).split())}"
            outcomes[number] = Outcome(runs[number], None, words)
        if report is not None:
            report(outcomes[number])
    return tuple(outcomes[number] for number in range(len(runs)))


def _train(home: Path, database: str, run: Run) -> Outcome:
    """Train one run in a process of the cluster."""
    with AdapterHub.open(home, database) as hub:
        return outcome_of(hub, run, _load)


@lru_cache(maxsize=1)
def _load(base: BaseChoice) -> Base:
    """The base model, which a process keeps for its next run."""
    return base.load()


def _library() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "--ray needs Ray, which is not installed: pip install 'isogloss[ray]'"
        ) from error
    return ray

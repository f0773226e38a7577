"""Who does the work: this process, or workers of a Ray cluster over one shared folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import LabError, MissingExtraError
from ..training.cluster import RETRIES
from .cells import Cell, read_cell
from .vectors import Vector

if TYPE_CHECKING:
    from .bench import Bench

Tell = Callable[[str], None]


class Crew(Protocol):
    """Trains vectors and scores cells; what is there already is left as it is."""

    def train(self, vectors: Sequence[Vector]) -> None:
        """Train all of them."""

    def score(self, cells: Sequence[Cell]) -> None:
        """Score all of them."""


def silent(line: str) -> None:
    """Tell nobody."""


class Alone:
    """One after another, in this process."""

    def __init__(self, bench: Bench, tell: Tell = silent) -> None:
        self.bench = bench
        self.tell = tell

    def train(self, vectors: Sequence[Vector]) -> None:
        """Train all of them, in their order."""
        for number, vector in enumerate(vectors, 1):
            self.tell(f"train {number}/{len(vectors)}: seed {vector.seed}, {vector.name}")
            self.bench.train(vector, progress=sys.stderr.isatty())

    def score(self, cells: Sequence[Cell]) -> None:
        """Score all of them, in their order."""
        for number, cell in enumerate(cells, 1):
            self.tell(f"score {number}/{len(cells)}: {describe(cell)}")
            self.bench.score(cell)


class Workers:
    """On Ray: every worker loads the base once and takes the next vector or cell.

    One that dies is started anew, and goes on where it was.

    Args:
        bench: says what is to be done and where; its folder has to be seen by all nodes.
        workers: how many; default one for each CPU of the cluster (each GPU, where there are any).
        threads: of each worker on a CPU.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, bench: Bench, tell: Tell = silent, *, workers: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError(
                "--ray needs Ray, which is not installed: pip install 'isogloss[ray]'"
            ) from error
        self._ray = ray
        self.tell = tell
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0))
        count = workers or gpus or int(resources.get("CPU", 1))
        kind = ray.remote(
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            max_restarts=RETRIES,
            max_task_retries=RETRIES,
        )(_Worker)
        folder = bench.folder.resolve()
        self._workers: list[Any] = [
            kind.remote(bench.plan, folder, bench.base) for _ in range(count)
        ]

    def train(self, vectors: Sequence[Vector]) -> None:
        """Train all of them; copies last, since what they copy has to be there."""
        self._spread("train", [one for one in vectors if not one.copies], "vector")
        self._spread("train", [one for one in vectors if one.copies], "copy")

    def score(self, cells: Sequence[Cell]) -> None:
        """Score all of them."""
        self._spread("score", cells, "cell")

    def close(self) -> None:
        """Let the workers go."""
        for worker in self._workers:
            self._ray.kill(worker)

    def _spread(self, method: str, jobs: Sequence[Any], what: str) -> None:
        from ray.util import ActorPool

        pool: Any = ActorPool(self._workers)
        done = pool.map_unordered(lambda worker, job: getattr(worker, method).remote(job), jobs)
        try:
            for number, _ in enumerate(done, 1):
                self.tell(f"{what} {number}/{len(jobs)} done")
        except self._ray.exceptions.RayTaskError as error:
            # As without Ray: the error itself, which knows what to say.
            raise (error.cause if isinstance(error.cause, Exception) else error) from error
        except self._ray.exceptions.RayError as error:
            raise LabError(
                f"a worker died {RETRIES + 1} times: {' '.join(str(error).split())}; "
                "what is finished stays: the same command goes on with the rest"
            ) from error


class _Worker:
    """A bench on a node of the cluster."""

    def __init__(self, *bench: Any) -> None:
        import torch

        from .bench import Bench

        if not torch.cuda.is_available():
            torch.set_num_threads(1)
        self.bench = Bench(*bench)

    def train(self, vector: Vector) -> None:
        """Train one vector."""
        self.bench.train(vector)

    def score(self, cell: Cell) -> None:
        """Score one cell."""
        self.bench.score(cell)


def missing_vectors(bench: Bench, vectors: Iterable[Vector]) -> list[Vector]:
    """Return the vectors that are not on their shelves."""
    return [one for one in vectors if not bench.shelves.has(one)]


def missing_cells(bench: Bench, cells: Iterable[Cell]) -> list[Cell]:
    """Return the cells that are not finished, each once."""
    from .bench import CELLS

    folder = bench.folder / CELLS
    by_name = {cell.name: cell for cell in cells}
    return [cell for cell in by_name.values() if read_cell(folder, cell) is None]


def describe(cell: Cell) -> str:
    """Return a cell in a few words, for a person who waits."""
    what = cell.option.expression or "the bare base"
    return f"seed {cell.seed}, {cell.language} {cell.split}: {what}"

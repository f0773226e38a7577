"""How the cost of a composition grows with adapters, rank and layers, as a picture.

Around eight LoRA adapters of rank 16 for 8 layers (hidden 4096, q k v o, bfloat16), one of the
three is varied at a time. Each point is the least of a few rounds, taken in turn in one process
with the files in the page cache, and so is what plain reading and writing takes.

    python tests/benchmarks/growth.py [--rounds 5] [--folder DIR] [--picture .github/growth.svg]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters import Shape, make, prepared, warm, weights

BASE = Shape(adapters=8, layers=8, rank=16)
VARIED = {
    "adapters": (2, 4, 8, 16),
    "rank": (4, 8, 16, 32, 64),
    "layers": (2, 4, 8, 16, 32),
}
LINES = {
    "exact, truncated to rank 16": {"color": "#b2182b", "marker": "s"},
    "elementwise": {"color": "#2166ac", "marker": "o"},
    "plain read and write": {"color": "#777777", "marker": "", "linestyle": "--"},
}


def read_and_write(folder: Path, shape: Shape) -> None:
    """Read every input through one buffer and write the last one out again."""
    buffer = memoryview(bytearray(1 << 20))
    paths = weights(folder, shape)
    with (folder / "plain").open("wb", buffering=0) as out:
        for path in paths:
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    if path == paths[-1]:
                        out.write(buffer[:count])


def compose(folder: Path, shape: Shape, rank: int | None) -> None:
    from isogloss.dsl.sizes import DEFAULT_MEMORY_BYTES
    from isogloss.dsl.tensors.execute import execute
    from isogloss.dsl.tensors.making import made_ready

    blueprint = prepared(folder, shape, rank=rank)
    with (
        (folder / "composed").open("wb", buffering=0) as out,
        made_ready(blueprint, folder, DEFAULT_MEMORY_BYTES) as ready,
    ):
        execute(ready.blueprint, out.write)


def ways(folder: Path, shape: Shape) -> dict[str, Callable[[], None]]:
    return {
        "exact, truncated to rank 16": lambda: compose(folder, shape, 16),
        "elementwise": lambda: compose(folder, shape, None),
        "plain read and write": lambda: read_and_write(folder, shape),
    }


def measured(parent: Path, rounds: int) -> Iterator[tuple[str, int, dict[str, float]]]:
    """What is varied, its value, and the seconds of each way."""
    for varied, values in VARIED.items():
        for value in values:
            shape = replace(BASE, **{varied: value})
            folder = parent / f"{shape.layers}-{shape.rank}"
            make(folder, shape)
            warm(folder, shape)
            seconds: dict[str, list[float]] = {name: [] for name in LINES}
            for _ in range(rounds):
                for name, run in ways(folder, shape).items():
                    start = time.perf_counter()
                    run()
                    seconds[name].append(time.perf_counter() - start)
            least = {name: min(taken) for name, taken in seconds.items()}
            print(varied, value, {name: round(taken, 4) for name, taken in least.items()})
            yield varied, value, least


def draw(points: list[tuple[str, int, dict[str, float]]], picture: Path) -> None:
    """Three panels with one scale of seconds; text stays text, and no date is written."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "isogloss", "font.size": 9})
    figure, axes = pyplot.subplots(1, 3, figsize=(8.4, 3.0), sharey=True, layout="constrained")
    for axis, varied in zip(axes, VARIED, strict=True):
        mine = [(value, seconds) for name, value, seconds in points if name == varied]
        for name, style in LINES.items():
            given: Any = {"linewidth": 1.6, "markersize": 4, **style}
            axis.plot([v for v, _ in mine], [s[name] for _, s in mine], label=name, **given)
        axis.set(xscale="log", yscale="log", xlabel=varied)
        axis.set_xticks(VARIED[varied], [str(value) for value in VARIED[varied]])
        axis.minorticks_off()
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("seconds")
    axes[1].set_title(
        f"{BASE.adapters} adapters of rank {BASE.rank} for {BASE.layers} layers, one varied",
        fontsize=9,
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(picture, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the adapters are, or are to be made")
    parser.add_argument("--picture", type=Path, default=Path(".github/growth.svg"))
    parser.add_argument("--points", type=Path, help="draw these, written by an earlier run")
    asked = parser.parse_args()
    if asked.points is not None and asked.points.exists():
        points = [tuple(point) for point in json.loads(asked.points.read_text())]
    else:
        from isogloss.dsl.tensors.kernels import KERNELS

        KERNELS.compile()
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        with tempfile.TemporaryDirectory() as temporary:
            points = list(measured(asked.folder or Path(temporary), asked.rounds))
        if asked.points is not None:
            asked.points.write_text(json.dumps(points))
    draw(points, asked.picture)


if __name__ == "__main__":
    main()

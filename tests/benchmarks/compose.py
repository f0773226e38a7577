"""How isogloss compares: times beside plain input and output, PEFT and openssl; memory.

Sums are of eleven LoRA adapters of rank 16 for a model of 7B shape (32 layers, hidden 4096,
q k v o, bfloat16, 33.6 MB each). Every contender runs in a process of its own, in turn with the
others, with the files in the page cache and libraries imported; times are medians over the rounds.
Memory is the peak above the interpreter with its libraries. PEFT's times leave out the base model,
which has no memory either.

    python tests/benchmarks/compose.py [ROW ...] [--rounds 7] [--slow-rounds 2] [--folder DIR]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contenders
from adapters import make, warm

Results = dict[str, list[dict[str, float]]]


@dataclass(frozen=True)
class Row:
    """Two contenders, and what their ratio is to be: ours over theirs, or theirs over ours."""

    title: str
    ours: str
    theirs: str
    at_most: float | None = None
    at_least: float | None = None

    def ratio(self, ours: float, theirs: float) -> float:
        return ours / theirs if self.at_least is None else theirs / ours

    @property
    def aim(self) -> str:
        if self.at_least is None:
            return f"at most {self.at_most:g}"
        return f"{self.at_least:g} times as fast"

    def reached(self, ratio: float) -> bool:
        return ratio <= self.at_most if self.at_most is not None else ratio >= (self.at_least or 0)


ROWS = {
    "sum": Row("sum of 11 : plain read and write", "summed", "plain", at_most=2),
    "numpy": Row("the same without numba", "summed_by_numpy", "plain"),
    "peft": Row("sum of 11 : PEFT linear", "summed", "peft_linear", at_least=80),
    "truncated": Row(
        "exact, truncated, 128 modules : PEFT svd, 1", "truncated", "peft_svd", at_least=1
    ),
    "lambdas": Row("11 values of lambda : 1", "eleven_values", "one_value", at_most=2),
    "add": Row("add 1 GiB : openssl sha256, cp, sync", "added", "copied", at_most=1.5),
    "whole": Row("AdapterHub.compose : the sum alone", "whole", "summed"),
}
MEMORY = {"2 adapters": "of_2", "11 adapters": "of_11", "100 adapters": "of_100"}
BUDGET_MIB = 256
SLOW = {"peft_linear", "peft_svd", "truncated"}


def resident_bytes(field: str) -> int:
    """VmRSS or VmHWM of this process; the peak alone where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def work(name: str, folder: Path) -> None:
    """Run one contender once in this process and print what it took."""
    for output in folder.glob("*.out"):
        output.unlink() if output.is_file() else shutil.rmtree(output)
    run: Callable[[], object] = getattr(contenders, name)(folder)
    # A full collection after importing torch takes longer than composing, whoever sets it off.
    gc.collect()
    gc.freeze()
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    start, start_cpu = time.perf_counter(), cpu_seconds()
    run()
    taken = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": cpu_seconds() - start_cpu,
        "bytes": resident_bytes("VmHWM") - before,
    }
    print(json.dumps(taken))


def measure(name: str, folder: Path) -> dict[str, float]:
    """Run one contender once in a process of its own."""
    command = [sys.executable, __file__, "--folder", str(folder), "--worker", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def get_ready(folder: Path, names: Iterable[str]) -> None:
    """Make what the contenders need, and read it once."""
    needed = {*names}
    make(folder, contenders.SEVEN_B)
    warm(folder, contenders.SEVEN_B)
    if "peft_svd" in needed:
        make(folder / "one", contenders.ONE_MODULE)
    if needed & {"added", "copied"}:
        make(folder / "large", contenders.GIBIBYTE)
        warm(folder / "large", contenders.GIBIBYTE)
    if needed & {"one_value", "eleven_values", "whole"} and not (folder / "home").exists():
        contenders.make_home(folder)


def middle(results: Results, name: str, field: str) -> float:
    return statistics.median(turn[field] for turn in results[name])


def report(rows: Iterable[Row], results: Results) -> None:
    heads = ("seconds", "beside", "ratio", "CPU ratio")
    print(f"\n{'':46}" + "".join(f"{head:>11}" for head in heads) + "   aim")
    for row in rows:
        ours, theirs = (middle(results, one, "seconds") for one in (row.ours, row.theirs))
        cpu = row.ratio(*(middle(results, one, "cpu_seconds") for one in (row.ours, row.theirs)))
        ratio = row.ratio(ours, theirs)
        figures = f"{ours:11.3f}{theirs:11.3f}{ratio:11.2f}{cpu:11.2f}"
        aim = ""
        if row.at_most is not None or row.at_least is not None:
            aim = f"   {row.aim}: {'reached' if row.reached(ratio) else 'MISSED'}"
        print(f"{row.title:46}{figures}{aim}")


def report_memory(results: Results) -> None:
    peaks = {
        title: max(turn["bytes"] for turn in results[name]) / (1 << 20)
        for title, name in MEMORY.items()
    }
    shown = ", ".join(f"{title} {peak:.0f}" for title, peak in peaks.items())
    reached = "reached" if max(peaks.values()) <= BUDGET_MIB else "MISSED"
    print(f"peak MiB above the interpreter: {shown}   within {BUDGET_MIB}: {reached}")


def report_spread(results: Results) -> None:
    print("\nsec: lowest, median, highest; CPU median; rounds")
    for name, turns in results.items():
        seconds = sorted(turn["seconds"] for turn in turns)
        print(
            f"  {name:16}{seconds[0]:9.3f}{statistics.median(seconds):9.3f}{seconds[-1]:9.3f}"
            f"{middle(results, name, 'cpu_seconds'):9.3f}{len(turns):5}"
        )


def arguments() -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}, memory")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slow-rounds", type=int, default=2, help="of PEFT and decompositions")
    parser.add_argument("--folder", type=Path, help="where the adapters are, or are to be made")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if unknown := {*asked.rows} - {*ROWS, "memory"}:
        parser.error(f"unknown rows {', '.join(sorted(unknown))}")
    return asked


def main() -> None:
    asked = arguments()
    if asked.worker:
        work(asked.worker, asked.folder)
        return
    chosen = asked.rows or [*ROWS, "memory"]
    rows = [row for name, row in ROWS.items() if name in chosen]
    names = dict.fromkeys(name for row in rows for name in (row.ours, row.theirs))
    if "memory" in chosen:
        names |= dict.fromkeys(MEMORY.values())
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        get_ready(folder, names)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning", end="")
        results: Results = {name: [] for name in names}
        for turn in range(asked.rounds):
            for name, turns in results.items():
                if turn < asked.slow_rounds or name not in SLOW:
                    turns.append(measure(name, folder))
        print(f", {os.getloadavg()[0]:.1f} at the end")
    report(rows, results)
    if "memory" in chosen:
        report_memory(results)
    report_spread(results)


if __name__ == "__main__":
    main()

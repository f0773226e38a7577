"""How long composing takes, and how much memory, beside PEFT and beside plain reading and writing.

Eleven LoRA adapters of rank 16 for a model of 7B shape (32 layers, hidden 4096, q k v o, bfloat16,
33.6 MB each) are summed into one. Every contender runs in a process of its own, in turn, with the
files in the page cache; times are medians over the rounds. Memory is the peak above the interpreter
with its libraries imported. PEFT's time leaves out the base model, which has no memory either.

    python tests/benchmarks/compose.py [--rounds 5] [--peft-rounds 2] [--folder DIR]
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

ADAPTERS, LAYERS, HIDDEN, RANK = 11, 32, 4096, 16
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
CONFIG = {
    "base_model_name_or_path": "seven-b",
    "bias": "none",
    "lora_alpha": 32,
    "peft_type": "LORA",
    "r": RANK,
    "target_modules": sorted(PROJECTIONS),
    "task_type": None,
}
COEFFICIENTS = [Fraction(3 * n - 14, 20) for n in range(ADAPTERS)]


def modules() -> list[str]:
    return [f"model.layers.{n}.self_attn.{name}" for n in range(LAYERS) for name in PROJECTIONS]


def make_adapters(folder: Path) -> None:
    import torch
    from isogloss.dsl.tensors.tensorfile import canonicalize
    from safetensors.torch import save_file

    for number in range(ADAPTERS):
        generator = torch.Generator().manual_seed(number)
        place = folder / f"adapter{number}"
        place.mkdir(parents=True)
        tensors = {
            f"base_model.model.{module}.lora_{factor}.weight": torch.empty(
                shape, dtype=torch.bfloat16
            ).normal_(std=0.02, generator=generator)
            for module in modules()
            for factor, shape in (("A", (RANK, HIDDEN)), ("B", (HIDDEN, RANK)))
        }
        save_file(tensors, place / "given", metadata={"format": "pt"})
        # As the store writes it: where a file's writes began and ended shows when it is read.
        with (place / "adapter_model.safetensors").open("wb", buffering=0) as out:
            canonicalize(place / "given", out.write)
        (place / "given").unlink()
        (place / "adapter_config.json").write_text(json.dumps(CONFIG))


def weights(folder: Path) -> list[Path]:
    return [folder / f"adapter{n}" / "adapter_model.safetensors" for n in range(ADAPTERS)]


def plain(folder: Path) -> Callable[[], object]:
    """Read every input through one small buffer and write the last one out again."""
    paths = weights(folder)

    def run() -> None:
        buffer = memoryview(bytearray(1 << 20))
        with (folder / "plain.out").open("wb", buffering=0) as out:
            for path in paths:
                with path.open("rb", buffering=0) as file:
                    while count := file.readinto(buffer):
                        if path == paths[-1]:
                            out.write(buffer[:count])

    return run


def isogloss(folder: Path) -> Callable[[], object]:
    """Check, compose, hash and write."""
    import torch  # noqa: F401
    from isogloss.dsl.meaning.plan import AdapterKey, Plan, Term
    from isogloss.dsl.tensors.blueprint import Operand, prepare
    from isogloss.dsl.tensors.execute import execute

    keys = [AdapterKey(f"{n:064x}", "0" * 64) for n in range(ADAPTERS)]
    plan = Plan(
        "elementwise", tuple(Term(c, key) for c, key in zip(COEFFICIENTS, keys, strict=True))
    )
    operands = {
        key: Operand(key, f"adapter{n}", path, CONFIG, None)
        for n, (key, path) in enumerate(zip(keys, weights(folder), strict=True))
    }

    def run() -> None:
        digest = hashlib.sha256()
        with (folder / "isogloss.out").open("wb", buffering=0) as out:

            def write(block: memoryview) -> None:
                digest.update(block)
                out.write(block)

            execute(prepare(plan, operands, None), write)

    return run


def peft(folder: Path) -> Callable[[], object]:
    """Load all adapters, add_weighted_adapter, save; the base takes no memory."""
    import warnings

    import torch
    from peft import PeftModel
    from torch import nn

    warnings.simplefilter("ignore")
    nothing = torch.zeros((), dtype=torch.bfloat16)

    def linear() -> nn.Linear:
        module = nn.Linear(HIDDEN, HIDDEN, bias=False, device="meta")
        module.weight = nn.Parameter(nothing.expand(HIDDEN, HIDDEN), requires_grad=False)
        return module

    def layer() -> nn.ModuleDict:
        return nn.ModuleDict({"self_attn": nn.ModuleDict({n: linear() for n in PROJECTIONS})})

    class Base(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = nn.ModuleList([layer() for _ in range(LAYERS)])
            self.model = nn.ModuleDict({"layers": layers})

    base = Base()

    def run() -> None:
        names = [f"adapter{n}" for n in range(ADAPTERS)]
        model = PeftModel.from_pretrained(base, str(folder / names[0]), adapter_name=names[0])
        for name in names[1:]:
            model.load_adapter(str(folder / name), adapter_name=name)
        model.add_weighted_adapter(
            names, [float(c) for c in COEFFICIENTS], "composed", combination_type="linear"
        )
        model.save_pretrained(str(folder / "peft.out"), selected_adapters=["composed"])

    return run


PLAIN = "plain read and write"
CONTENDERS = {PLAIN: plain, "isogloss": isogloss, "peft": peft}


def resident_bytes(field: str) -> int:
    """VmRSS or VmHWM of this process; the peak alone where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def work(name: str, folder: Path) -> None:
    """Run one contender once in this process and print what it took."""
    for output in folder.glob("*.out"):
        output.unlink() if output.is_file() else shutil.rmtree(output)
    run = CONTENDERS[name](folder)
    # A full collection after importing torch takes longer than composing, whoever sets it off.
    gc.collect()
    gc.freeze()
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    start, start_cpu = time.perf_counter(), time.process_time()
    run()
    taken = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - start_cpu,
        "bytes": resident_bytes("VmHWM") - before,
    }
    print(json.dumps(taken))


def measure(name: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--folder", str(folder), "--worker", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def report(results: dict[str, list[dict[str, Any]]]) -> None:
    def middle(name: str, field: str) -> float:
        return statistics.median(turn[field] for turn in results[name])

    columns = ("seconds", "lowest", "highest", "x plain", "CPU", "x plain", "peak MiB")
    print(f"{'':22}" + "".join(f"{column:>9}" for column in columns))
    for name, turns in results.items():
        seconds, cpu = middle(name, "seconds"), middle(name, "cpu_seconds")
        print(
            f"{name:22}{seconds:9.3f}"
            f"{min(turn['seconds'] for turn in turns):9.3f}"
            f"{max(turn['seconds'] for turn in turns):9.3f}"
            f"{seconds / middle(PLAIN, 'seconds'):9.2f}"
            f"{cpu:9.3f}{cpu / middle(PLAIN, 'cpu_seconds'):9.2f}"
            f"{max(turn['bytes'] for turn in turns) / (1 << 20):9.1f}"
        )
    if "peft" in results:
        ratio = middle("peft", "seconds") / middle("isogloss", "seconds")
        print(f"isogloss is {ratio:.0f} times as fast as peft")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peft-rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the adapters are, or are to be made")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not weights(folder)[0].exists():
            make_adapters(folder)
        megabytes = sum(path.stat().st_size for path in weights(folder)) / 1e6
        load = os.getloadavg()[0]
        print(f"{ADAPTERS} adapters, {megabytes:.0f} MB; {os.cpu_count()} cores, load {load:.1f}")
        for path in weights(folder):
            path.read_bytes()
        results: dict[str, list[dict[str, Any]]] = {}
        for name in CONTENDERS:
            if name != "peft" or options.peft_rounds:
                results[name] = []
        for turn in range(options.rounds):
            for name, rounds in results.items():
                if name != "peft" or turn < options.peft_rounds:
                    rounds.append(measure(name, folder))
        report(results)


if __name__ == "__main__":
    main()

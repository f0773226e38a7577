"""What is measured: each takes a folder with adapters, gets ready, and gives what to time."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from adapters import HIDDEN, Shape, coefficients, places, prepared, weights

SEVEN_B = Shape()
ONE_MODULE = Shape(layers=1, projections=("q_proj",))
GIBIBYTE = Shape(adapters=1, layers=64, rank=256)
"""One adapter of 1 GiB."""

LAMBDAS = [round(0.1 * number, 1) for number in range(11)]
EXPRESSION = "l*sum(task[*, task=one]) + (1 - l)*mean(task[*, task=other])"

Run = Callable[[], object]


def plain(folder: Path) -> Run:
    """Read every input through one small buffer and write the last one out again."""
    paths = weights(folder, SEVEN_B)

    def run() -> None:
        buffer = memoryview(bytearray(1 << 20))
        with (folder / "plain.out").open("wb", buffering=0) as out:
            for path in paths:
                with path.open("rb", buffering=0) as file:
                    while count := file.readinto(buffer):
                        if path == paths[-1]:
                            out.write(buffer[:count])

    return run


def summed(folder: Path) -> Run:
    """Check, compose, hash and write; compiled, as in a process that has composed much."""
    from isogloss.dsl.tensors.kernels import KERNELS

    KERNELS.compile()
    return _composed(folder, SEVEN_B)


def summed_by_numpy(folder: Path) -> Run:
    """The same without numba, as where it is not installed or has not paid yet."""
    return _composed(folder, SEVEN_B)


def truncated(folder: Path) -> Run:
    """The exact sum at all 128 modules, truncated to rank 16, hashed and written."""
    return _composed(folder, SEVEN_B, rank=16)


def of_2(folder: Path) -> Run:
    return _composed(folder, Shape(adapters=2))


def of_11(folder: Path) -> Run:
    return _composed(folder, SEVEN_B)


def of_100(folder: Path) -> Run:
    return _composed(folder, Shape(adapters=10), repeated=10)


def _composed(folder: Path, shape: Shape, *, rank: int | None = None, repeated: int = 1) -> Run:
    import torch  # noqa: F401
    from isogloss.dsl.sizes import DEFAULT_MEMORY_BYTES
    from isogloss.dsl.tensors.execute import execute
    from isogloss.dsl.tensors.making import made_ready

    # Imports what preparing imports.
    prepared(folder, replace(shape, adapters=1), rank=rank)

    def run() -> None:
        digest = hashlib.sha256()
        with (folder / "isogloss.out").open("wb", buffering=0) as out:

            def write(block: memoryview) -> None:
                digest.update(block)
                out.write(block)

            blueprint = prepared(folder, shape, rank=rank, repeated=repeated)
            with made_ready(blueprint, folder, DEFAULT_MEMORY_BYTES) as ready:
                execute(ready.blueprint, write)

    return run


def peft_linear(folder: Path) -> Run:
    """Load all adapters, add_weighted_adapter, save; the base takes no memory."""
    return _peft(folder, SEVEN_B, "linear", {})


def peft_svd(folder: Path) -> Run:
    """The exact sum at one module alone, brought to rank 16 as PEFT does."""
    return _peft(folder / "one", ONE_MODULE, "svd", {"svd_rank": 16})


def _peft(folder: Path, shape: Shape, kind: str, options: dict[str, int]) -> Run:
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
        return nn.ModuleDict({"self_attn": nn.ModuleDict({n: linear() for n in shape.projections})})

    class Base(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = nn.ModuleList([layer() for _ in range(shape.layers)])
            self.model = nn.ModuleDict({"layers": layers})

    base = Base()

    def run() -> None:
        first, *rest = places(folder, shape)
        model = PeftModel.from_pretrained(base, str(first), adapter_name=first.name)
        for place in rest:
            model.load_adapter(str(place), adapter_name=place.name)
        model.add_weighted_adapter(
            [place.name for place in (first, *rest)],
            [float(c) for c in coefficients(shape.adapters)],
            "composed",
            combination_type=kind,
            **options,
        )
        model.save_pretrained(str(folder / "peft.out"), selected_adapters=["composed"])

    return run


def make_home(folder: Path) -> None:
    """Catalogue the eleven adapters in a home of their own."""
    from isogloss.hub import AdapterHub

    languages = ("en", "pt", "ru", "fr", "de", "es", "it", "nl", "pl", "sv", "da")
    with AdapterHub.init(folder / "home") as hub:
        for language, place in zip(languages, places(folder, SEVEN_B), strict=True):
            task = "one" if language == "en" else "other"
            hub.add(place, kind="task", language=language, task=task)


def one_value(folder: Path) -> Run:
    """AdapterHub.state_dict of a sum of all eleven adapters; compiled."""
    from isogloss.dsl.tensors.kernels import KERNELS
    from isogloss.hub import AdapterHub

    KERNELS.compile()
    hub = AdapterHub.open(folder / "home")
    return lambda: hub.state_dict(EXPRESSION, parameters={"l": "0.3"})


def eleven_values(folder: Path) -> Run:
    """AdapterHub.state_dicts of the same at eleven values, each looked at and let go."""
    from isogloss.dsl.tensors.kernels import KERNELS
    from isogloss.hub import AdapterHub

    KERNELS.compile()
    hub = AdapterHub.open(folder / "home")

    def run() -> None:
        for _ in hub.state_dicts(EXPRESSION, over={"l": LAMBDAS}):
            pass

    return run


def whole(folder: Path) -> Run:
    """The same through AdapterHub.compose: parsed, looked up, parents hashed, stored, recorded."""
    import torch  # noqa: F401
    from isogloss.hub import AdapterHub

    hub = AdapterHub.open(folder / "home")
    output = folder / "whole.out"
    return lambda: hub.compose(EXPRESSION, parameters={"l": "0.3"}, output=output)


def added(folder: Path) -> Run:
    """`isogloss add`, from the start of the process to its end; a new home is made before."""
    home = folder / "added.out"
    shutil.rmtree(home, ignore_errors=True)
    isogloss = [sys.executable, "-m", "isogloss.cli", "--home", str(home)]
    quiet = subprocess.DEVNULL
    (place,) = places(folder / "large", GIBIBYTE)
    subprocess.run([*isogloss, "init"], check=True, stdout=quiet)
    command = [*isogloss, "add", str(place), "--kind", "lm", "--language", "pt"]
    return lambda: subprocess.run(command, check=True, stdout=quiet)


def copied(folder: Path) -> Run:
    """`openssl sha256`, then `cp`, then `sync`, since what is added is on the disk to stay."""
    (path,) = weights(folder / "large", GIBIBYTE)
    there = folder / "copied.out"
    there.unlink(missing_ok=True)
    if shutil.which("openssl") is None:
        sys.exit("there is no openssl to compare with")

    def run() -> None:
        subprocess.run(["openssl", "sha256", str(path)], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cp", str(path), str(there)], check=True)
        subprocess.run(["sync", str(there)], check=True)

    return run

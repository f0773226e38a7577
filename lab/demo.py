"""Shows the whole on a tiny model: train six vectors, catalogue, compose, check, prove, damage.

`make demo` runs it. Everything happens in a temporary folder that is gone afterwards, and nothing
is downloaded. The model is so small that it learns little: what is shown here is that the
arithmetic, the files and the proofs are right, not that the paper's method wins.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from peft import PeftModel
from safetensors.torch import load_file

from ..hub import AdapterHub
from .data.source import shipped
from .models.base import load_base
from .tiny import byte_tokenizer, tiny_llama
from .training.run import train_lm, train_task
from .training.settings import Settings

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

SETTINGS = Settings(steps=60, batch_size=8, learning_rate=1e-2, max_length=256)
TASK = "headlines"
TASK_LANGUAGES = ("en", "es", "sw")
TEXT_LANGUAGES = ("en", "pt", "yo")
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Equation:
    """One of the paper's equations: as an expression, and as coefficients of trained folders."""

    title: str
    expression: str
    name: str
    coefficients: dict[str, Fraction]


EQUATIONS = (
    Equation(
        "Equation (1), language and task: add",
        "0.6*task[en] + 0.4*lm[yo]",
        "add-yo",
        {"headlines-en": Fraction("0.6"), "lm-yo": Fraction("0.4")},
    ),
    Equation(
        "Equation (2), language and task: add and subtract",
        "0.6*task[en] + 0.4*(lm[yo] - lm[en])",
        "add-subtract-yo",
        {"headlines-en": Fraction("0.6"), "lm-yo": Fraction("0.4"), "lm-en": Fraction("-0.4")},
    ),
    Equation(
        "Equation (3), task only: add all",
        "mean(task[*])",
        "add-all",
        {f"{TASK}-{language}": Fraction(1, 3) for language in TASK_LANGUAGES},
    ),
)


def main() -> None:
    """Run the demo and stop with a message at the first thing that is not as it should be."""
    # peft 0.21 asks transformers 5.23 under an old name; nothing that a reader could act on.
    warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated")
    # More threads than one only wait for each other on a model this small.
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="isogloss-demo-") as folder:
        work = Path(folder)
        train_vectors(work)
        show_catalogue(work)
        for equation in EQUATIONS:
            compose_and_check(work, equation)
        prove_and_damage(work, EQUATIONS[1].name)
    say(f"All of it held. {time.monotonic() - began:.0f} seconds.")


def train_vectors(work: Path) -> None:
    """Train three task vectors and three language vectors on one base, from one initialisation."""
    say("Train six LoRA vectors on a tiny Llama, all from one initialisation (loss: first -> last)")
    tiny_llama().save_pretrained(work / "tiny-llama")
    byte_tokenizer().save_pretrained(work / "tiny-llama")
    base = load_base(work / "tiny-llama", name="tiny-llama")
    vectors = [(TASK, language) for language in TASK_LANGUAGES]
    vectors += [("lm", language) for language in TEXT_LANGUAGES]
    with AdapterHub.init(work / "home") as hub:
        for what, language in vectors:
            data, folder = shipped(language), work / "runs" / f"{what}-{language}"
            if what == "lm":
                done = train_lm(
                    hub, base, data, language=language, settings=SETTINGS, output=folder
                )
            else:
                done = train_task(
                    hub, base, data, language=language, task=what, settings=SETTINGS, output=folder
                )
            losses = f"{done.first_loss:.2f} -> {done.last_loss:.2f}"
            print(f"  {done.version.label}: {losses}", flush=True)


def show_catalogue(work: Path) -> None:
    """Print what the training put into the catalogue."""
    say("They are in the catalogue")
    isogloss(work, "find", "--sort", "language")
    isogloss(work, "find", "kind = lm and steps >= 50 and not language = en")


def compose_and_check(work: Path, equation: Equation) -> None:
    """Compose an equation and compare its logits with those of the equation done by hand."""
    say(equation.title)
    isogloss(work, "explain", equation.expression)
    output = ("--name", equation.name, "--output", equation.name)
    isogloss(work, "compose", equation.expression, *output)
    tokens = byte_tokenizer()("Odò kún ní òru.\n", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        base = tiny_llama()(tokens).logits
        loaded = PeftModel.from_pretrained(tiny_llama(), work / equation.name)(tokens).logits
        expected = by_hand(work / "runs", equation.coefficients)(tokens).logits
    moved = float((loaded - base).abs().max())
    apart = float((loaded - expected).abs().max())
    print(
        f"PeftModel.from_pretrained({equation.name!r}) moves the base's logits by up to {moved:.3f}"
    )
    print(f"and lies {apart:.1e} from the equation computed by hand on A and B")
    if not apart < TOLERANCE < moved:
        sys.exit(f"the composed adapter is not the equation: {apart} apart, {moved} from the base")


def by_hand(runs: Path, coefficients: dict[str, Fraction]) -> LlamaForCausalLM:
    """Return the tiny Llama with W + B*A for its weights, A and B summed as the equation says.

    Neither isogloss nor peft takes part: A = sum c_i A_i, B = sum c_i B_i; alpha is the rank.
    """
    adapters = {name: load_file(runs / name / "adapter_model.safetensors") for name in coefficients}
    model = tiny_llama()
    summed = {
        key: torch.stack([float(c) * adapters[name][key] for name, c in coefficients.items()]).sum(
            0
        )
        for key in next(iter(adapters.values()))
    }
    with torch.no_grad():
        for key, a in summed.items():
            module, factor, _ = key.partition(".lora_A.weight")
            if factor:
                weight = model.get_submodule(module.removeprefix("base_model.model.")).weight
                weight += summed[f"{module}.lora_B.weight"] @ a
    return model


def prove_and_damage(work: Path, name: str) -> None:
    """Verify a composed adapter, flip one byte of its weights and see that verify finds it."""
    say("Prove it, then flip one byte")
    isogloss(work, "verify", name)
    isogloss(work, "verify", f"./{name}")
    weights = work / name / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1000] ^= 1
    weights.write_bytes(data)
    print(f"(one bit of {name}/{weights.name} is flipped)", flush=True)
    isogloss(work, "verify", f"./{name}", exit_code=6)


def isogloss(work: Path, *words: str, exit_code: int = 0) -> None:
    """Show a command, run it in the work folder with a home of its own, insist on its exit code."""
    print(f"$ {shlex.join(('isogloss', *words))}", flush=True)
    variables = {k: v for k, v in os.environ.items() if not k.startswith("ISOGLOSS_")}
    variables["ISOGLOSS_HOME"] = str(work / "home")
    command = (sys.executable, "-m", "isogloss.cli", *words)
    # One stream, so that a refusal stands where it belongs among the narration.
    result = subprocess.run(command, cwd=work, env=variables, stderr=subprocess.STDOUT)
    if result.returncode != exit_code:
        sys.exit(f"isogloss ended with exit code {result.returncode}, {exit_code} was expected")
    if exit_code:
        print(f"(exit code {exit_code}, as it should be)", flush=True)


def say(words: str) -> None:
    """Print a heading."""
    print(f"\n== {words}", flush=True)


if __name__ == "__main__":
    main()

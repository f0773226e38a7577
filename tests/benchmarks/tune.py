"""What tuning costs beside the evaluations in it, and how often the base model is loaded.

`isogloss tune` over eleven values of lambda is to take at most 1.3 times as long as eleven passes
over the same data with an adapter that is on the model already. Both use one loaded base, on one
thread, in turn; times are CPU seconds, medians over the rounds. The command itself then runs once,
and every model that is loaded is counted.

    python tests/benchmarks/tune.py [--rounds 3] [--pairs 20] [--base MODEL]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from isogloss.cli.main import main as isogloss
from isogloss.hub import AdapterHub
from isogloss.lab.data.records import read_pairs
from isogloss.lab.data.source import shipped
from isogloss.lab.models.base import Base, load_base
from isogloss.lab.models.projections import find_projections
from isogloss.lab.scoring.adapter import find_adapter
from isogloss.lab.scoring.bits import bits_per_byte
from isogloss.lab.scoring.dataset import describe_dataset
from isogloss.lab.scoring.encoding import encode_pairs
from isogloss.lab.scoring.grid import parse_axis
from isogloss.lab.scoring.session import Session
from isogloss.lab.scoring.settings import ScoringSettings
from isogloss.lab.tiny import byte_tokenizer, tiny_llama
from isogloss.lab.tune import tune
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

EXPRESSION = "l*task[en] + (1 - l)*(lm[pt] - lm[en])"
AXIS = "l=0:1:0.1"
AT_MOST = 1.3
SETTINGS = ScoringSettings()


def make(folder: Path, model: str | None) -> Path:
    """A base model and a catalogue of three adapters for it; return the base's folder."""
    base = Path(model) if model else folder / "base"
    if not model:
        tiny_llama(hidden=192, layers=6).save_pretrained(base)
        byte_tokenizer().save_pretrained(base)
    loaded = load_base(base, device="cpu")
    targets = sorted({name.rpartition(".")[2] for name in find_projections(loaded.model)})
    with AdapterHub.init(folder / "home") as hub:
        kinds = (("xlsum-en", "task"), ("lm-en", "lm"), ("lm-pt", "lm"))
        for number, (name, kind) in enumerate(kinds, start=1):
            config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=targets)
            torch.manual_seed(0)
            adapter = get_peft_model(loaded.model, config)
            torch.manual_seed(number)
            with torch.no_grad():
                for key, parameter in adapter.named_parameters():
                    if "lora_B" in key:
                        parameter += 0.01 * torch.randn_like(parameter)
            adapter.save_pretrained(folder / name, save_embedding_layers=False)
            adapter.unload()
            facts: dict[str, Any] = {"task": "xlsum"} if kind == "task" else {}
            language = name.rpartition("-")[2]
            hub.add(folder / name, name=name, kind=kind, language=language, base=str(base), **facts)
    return base


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(home: Path, base: Base, count: int, rounds: int) -> float:
    pairs = list(read_pairs(shipped("es"), limit=count))
    dataset = describe_dataset(shipped("es"), split="validation", limit=count)
    encoded = encode_pairs(base, pairs, SETTINGS)
    with AdapterHub.open(home) as hub:

        def eleven() -> None:
            for _ in range(11):
                bits_per_byte(session, pairs, encoded, batch_tokens=SETTINGS.batch_tokens)

        def tuned() -> None:
            found = tune(
                hub,
                EXPRESSION,
                base,
                pairs,
                over=[parse_axis(AXIS)],
                language="es",
                dataset=dataset,
                settings=SETTINGS,
            )
            assert len(found.points) == 11

        spent: dict[str, list[float]] = {"eleven": [], "tune": []}
        for _ in range(rounds):
            with Session(base) as session:
                session.use(find_adapter(hub, "xlsum-en"))
                spent["eleven"].append(seconds(eleven))
            spent["tune"].append(seconds(tuned))
    for name, turns in spent.items():
        print(f"  {name:8}" + " ".join(f"{turn:8.3f}" for turn in sorted(turns)))
    return statistics.median(spent["tune"]) / statistics.median(spent["eleven"])


def count_loads(home: Path, base: Path) -> int:
    """How often the command loads a model."""
    loads = 0
    original = PreTrainedModel.from_pretrained.__func__

    def counted(cls: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal loads
        loads += 1
        return original(cls, *arguments, **options)

    PreTrainedModel.from_pretrained = classmethod(counted)
    command = ["--home", str(home), "tune", EXPRESSION, "--over", AXIS, "--base", str(base)]
    command += ["--data", str(shipped("es")), "--split", "dev", "--language", "es", "--limit", "2"]
    result = CliRunner().invoke(isogloss, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return loads


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--base", help="a folder with a model; default one of 3 million parameters")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        place = make(folder, asked.base)
        print("CPU seconds")
        ratio = compare(folder / "home", load_base(place, device="cpu"), asked.pairs, asked.rounds)
        loads = count_loads(folder / "home", place)
    reached = "reached" if ratio <= AT_MOST else "MISSED"
    print(f"tune over 11 values : 11 evaluations   {ratio:.3f}   at most {AT_MOST}: {reached}")
    print(f"models loaded by the command   {loads}   1: {'reached' if loads == 1 else 'MISSED'}")


if __name__ == "__main__":
    main()

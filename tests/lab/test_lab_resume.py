"""A run that was killed goes on to the same bits as one that was not."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from isogloss.hub import AdapterHub
from isogloss.hub.peft_folder import TRAINER_STATE_NAME
from isogloss.lab.data.order import Drawn
from isogloss.lab.data.source import shipped
from isogloss.lab.models.base import Base, load_base
from isogloss.lab.tiny import byte_tokenizer, tiny_llama
from isogloss.lab.training.run import Trained, train_lm
from isogloss.lab.training.settings import Settings
from isogloss.lab.training.trainer import last_checkpoint

# Dropout, so that the random state must be restored too; more examples than texts, so that the
# second epoch has begun; and no checkpoint at the last step.
SETTINGS = Settings(
    steps=23,
    batch_size=2,
    accumulation=2,
    learning_rate=1e-2,
    max_length=48,
    peft_options={"lora_dropout": 0.3},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("base")
    tiny_llama().save_pretrained(place)
    byte_tokenizer().save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return load_base(folder)


@pytest.fixture(scope="module")
def unbroken(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    with AdapterHub.init(tmp_path_factory.mktemp("unbroken")) as hub:
        return train(hub, base)


def train(hub: AdapterHub, base: Base, **changes: Any) -> Trained:
    settings = replace(SETTINGS, **changes)
    return train_lm(
        hub, base, shipped("pt"), language="pt", settings=settings, validation=shipped("es")
    )


def break_off_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the process be interrupted when it asks for this example."""
    get = Drawn.__getitem__

    def interrupted(self: Drawn[Any], asked: int) -> Any:
        if asked == number:
            raise KeyboardInterrupt
        return get(self, asked)

    monkeypatch.setattr(Drawn, "__getitem__", interrupted)


def same(first: Trained, second: Trained) -> bool:
    return first.version.digest == second.version.digest and dict(first.version.training) == dict(
        second.version.training
    )


def runs(home: Path) -> Path:
    (folder,) = (home / "runs").iterdir()
    return folder


@pytest.mark.parametrize("step", [1, 10, 22])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    base: Base, unbroken: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with AdapterHub.init(tmp_path / "home") as hub:
        with monkeypatch.context() as patch:
            # The loader asks for a batch ahead, the first of the next step before this one ends.
            break_off_at(patch, step * 4 + 2)
            with pytest.raises(KeyboardInterrupt):
                train(hub, base)
        assert hub.find() == []
        checkpoint = last_checkpoint(runs(tmp_path / "home"))
        assert checkpoint is not None
        assert checkpoint.name == f"checkpoint-{step}"
        trained = train(hub, base)
    assert same(trained, unbroken)
    assert not list(runs(tmp_path / "home").glob("checkpoint-*"))


def test_a_torn_checkpoint_is_passed_over(
    base: Base, unbroken: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AdapterHub.init(tmp_path / "home") as hub:
        with monkeypatch.context() as patch:
            break_off_at(patch, 30)
            with pytest.raises(KeyboardInterrupt):
                train(hub, base)
        folder = runs(tmp_path / "home")
        torn = last_checkpoint(folder)
        assert torn is not None
        state = (torn / TRAINER_STATE_NAME).read_text()
        (torn / TRAINER_STATE_NAME).write_text(state[: len(state) // 2])
        before = last_checkpoint(folder)
        assert before not in (None, torn)
        assert same(train(hub, base), unbroken)


def test_other_settings_do_not_go_on_from_there(
    base: Base, unbroken: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AdapterHub.init(tmp_path / "home") as hub:
        with monkeypatch.context() as patch:
            break_off_at(patch, 30)
            with pytest.raises(KeyboardInterrupt):
                train(hub, base, learning_rate=1e-3)
        assert same(train(hub, base), unbroken)
        assert len(list((tmp_path / "home" / "runs").iterdir())) == 2


def test_a_run_that_stops_early_does_so_after_a_break_too(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = {"learning_rate": 0.5, "validate_every": 2, "patience": 2}
    with AdapterHub.init(tmp_path / "unbroken") as hub:
        unbroken = train(hub, base, **hot)
        assert unbroken.version.steps is not None
        assert 4 < unbroken.version.steps < SETTINGS.steps
    with AdapterHub.init(tmp_path / "home") as hub:
        with monkeypatch.context() as patch:
            # After one validation that was no better, of the two that are waited for.
            break_off_at(patch, (unbroken.version.steps - 1) * 4 + 2)
            with pytest.raises(KeyboardInterrupt):
                train(hub, base, **hot)
        assert last_checkpoint(runs(tmp_path / "home")) is not None
        assert same(train(hub, base, **hot), unbroken)


@pytest.mark.parametrize(
    ("peft", "options", "goes_on"),
    [
        ("lokr", {}, True),
        ("prompt_tuning", {"num_virtual_tokens": 3}, True),
        ("p_tuning", {"num_virtual_tokens": 3, "encoder_hidden_size": 8}, False),
        ("adalora", {}, False),
    ],
)
def test_other_peft_types_go_on_or_begin_anew(
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    peft: str,
    options: dict[str, Any],
    goes_on: bool,
) -> None:
    changes = {"peft": peft, "peft_options": options, "steps": 8}
    with AdapterHub.init(tmp_path / "home") as hub, AdapterHub.init(tmp_path / "other") as other:
        with monkeypatch.context() as patch:
            break_off_at(patch, 22)
            with pytest.raises(KeyboardInterrupt):
                train(hub, base, **changes)
        assert (last_checkpoint(runs(tmp_path / "home")) is not None) is goes_on
        assert same(train(hub, base, **changes), train(other, base, **changes))


PROGRAM = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from test_lab_resume import train
from isogloss.hub import AdapterHub
from isogloss.hub.peft_folder import TRAINER_STATE_NAME
from isogloss.lab.models.base import load_base
with AdapterHub.open(sys.argv[1]) as hub:
    train(hub, load_base(sys.argv[2]), steps=int(sys.argv[3]))
"""


@pytest.fixture
def child(folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that trains many steps in a home of its own."""
    AdapterHub.init(tmp_path / "home").close()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "home"), str(folder), "400"]
    process = subprocess.Popen(command, cwd=Path(__file__).parent)
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(
    child: subprocess.Popen[bytes], base: Base, tmp_path: Path
) -> None:
    step = random.SystemRandom().randrange(20, 380)
    home = tmp_path / "home"
    while child.poll() is None:
        begun = list((home / "runs").glob("*/checkpoint-*")) if (home / "runs").exists() else []
        if any(int(path.name.rpartition("-")[2]) >= step for path in begun):
            break
        time.sleep(random.SystemRandom().uniform(0, 0.02))
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, f"to be killed at step {step}"
    with AdapterHub.open(home) as hub, AdapterHub.init(tmp_path / "other") as other:
        assert hub.find() == []
        assert last_checkpoint(runs(home)) is not None
        killed, unbroken = train(hub, base, steps=400), train(other, base, steps=400)
    assert same(killed, unbroken), f"killed at step {step}"

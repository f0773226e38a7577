"""Trains an adapter with transformers' Trainer, and goes on where a killed run stopped."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from tqdm.auto import tqdm

from ...hub.peft_folder import TRAINER_STATE_NAME
from ..errors import MissingExtraError, SettingsError, TrainingError
from ..memory import is_out_of_memory
from ..objectives.example import collate
from .adapter import ADALORA, is_whole_when_saved, kronecker_deviation, start_adapter
from .settings import Settings

if TYPE_CHECKING:
    from peft import PeftModel

    from ..models.base import Base
    from .examples import Examples

CHECKPOINTS = 20
"""How often in a run it is written down where it stands."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A finished training: what its folder holds, and how it went.

    Attributes:
        folder: an ordinary PEFT folder, with the tokenizer and trainer_state.json.
        losses: of every step; where a run stopped early, of every step until then.
        validation: the losses on validation data, by step; empty without any.
        resumed_at: the step that it went on from, or None.
        trained_share: of the base's parameters, how many the adapter has.
        deviation: how a Kronecker adapter differs from the paper's, or None.
    """

    folder: Path
    losses: tuple[float, ...]
    validation: dict[int, float]
    resumed_at: int | None
    trained_share: float
    deviation: str | None

    @property
    def first_loss(self) -> float:
        """The mean loss of the first tenth of the steps."""
        return _mean(self.losses[: _tenth(self.losses)])

    @property
    def last_loss(self) -> float:
        """The mean loss of the last tenth of the steps."""
        return _mean(self.losses[-_tenth(self.losses) :])


def fit(
    base: Base,
    examples: Examples,
    folder: Path,
    settings: Settings,
    *,
    validation: Examples | None = None,
    tensorboard: Path | None = None,
    progress: str | None = None,
) -> Fit:
    """Train a fresh adapter on examples, and save it in a folder.

    Checkpoints lie in the folder while it trains. Where some are there already, of the same run,
    training goes on from the last whole one, and on a CPU ends with the same bits as without a
    break: order of the data, random state, optimizer and losses are restored. The base gets its own
    layers back, unchanged. What peft does not save whole (`is_whole_when_saved`) begins anew.

    Args:
        validation: examples whose loss is measured now and then.
        tensorboard: folder for a log that TensorBoard shows.
        progress: what to call the run in a progress bar; None shows none.

    Raises:
        ModelError, SettingsError: no such adapter on this base.
        TrainingError: out of memory, or a loss that is not a number.
    """
    checkpoint = last_checkpoint(folder)
    with _quiet(), failures_in_words(settings):
        adapter = start_adapter(base, settings)
        try:
            trainer = _trainer(base, adapter, examples, folder, settings, validation)
            trainer.add_callback(_Watch(progress))
            if tensorboard is not None:
                trainer.add_callback(_board(tensorboard, checkpoint))
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            # Not trainer.save_model: it adds a pickle. Embeddings are never trained here, and to
            # find that out by itself peft would ask the Hub for the base's configuration.
            adapter.save_pretrained(str(folder), save_embedding_layers=False)
            base.tokenizer.save_pretrained(str(folder))
            trainer.save_state()
            log = trainer.state.log_history
            trained, everything = adapter.get_nb_trainable_parameters()
            deviation = kronecker_deviation(adapter)
        finally:
            _take_off(adapter)
    return Fit(
        folder=folder,
        losses=tuple(entry["loss"] for entry in log if "loss" in entry),
        validation={entry["step"]: entry["eval_loss"] for entry in log if "eval_loss" in entry},
        resumed_at=_step(checkpoint),
        trained_share=trained / (everything - trained),
        deviation=deviation,
    )


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last whole checkpoint in a folder: its state is what a checkpoint writes last."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in reversed(found):
        try:
            json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return path
    return None


class _QuietTrainer(transformers.Trainer):  # type: ignore[misc]
    """A Trainer that reads examples in their order and saves checkpoints without asking the Hub."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        self.model.save_pretrained(output_dir, state_dict=state_dict, save_embedding_layers=False)


def _trainer(
    base: Base,
    adapter: PeftModel,
    examples: Examples,
    folder: Path,
    settings: Settings,
    validation: Examples | None,
) -> transformers.Trainer:
    collator = partial(
        collate, padding=base.tokenizer.pad_token_id, encoder_decoder=base.encoder_decoder
    )
    trainer = _QuietTrainer(
        model=adapter,
        args=_arguments(base, adapter, folder, settings, validation is not None),
        train_dataset=examples,
        eval_dataset=validation,
        data_collator=collator,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if adapter.peft_config["default"].peft_type == ADALORA:
        trainer.add_callback(_Allocation(adapter))
    if validation is not None and settings.patience is not None:
        trainer.add_callback(transformers.EarlyStoppingCallback(settings.patience))
    return trainer


def _arguments(
    base: Base, adapter: PeftModel, folder: Path, settings: Settings, validates: bool
) -> transformers.TrainingArguments:
    on_cpu = base.device.type == "cpu"
    if base.device.type == "cuda" and base.device.index not in (None, 0):
        raise SettingsError(
            f"training takes the first GPU that it sees, not {base.device}: choose with "
            f"CUDA_VISIBLE_DEVICES={base.device.index}"
        )
    every = settings.validate_every or max(1, settings.steps // 10)
    # The best checkpoint can only be kept if there is one of every validation.
    keeps_best = validates and settings.patience is not None
    can_go_on = is_whole_when_saved(adapter)
    if keeps_best and not can_go_on:
        raise SettingsError(f"{settings.peft} cannot go back to its best: leave out patience")
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        train_sampling_strategy="sequential",
        use_cpu=on_cpu,
        bf16=_wants_bf16(base),
        # Every step's loss, so that a run that went on has the same as one that did not stop.
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if validates else "no",
        eval_steps=every if validates else None,
        prediction_loss_only=True,
        save_strategy="steps" if can_go_on else "no",
        save_steps=every if keeps_best else max(1, settings.steps // CHECKPOINTS),
        save_total_limit=2,
        load_best_model_at_end=keeps_best,
        restore_callback_states_from_checkpoint=keeps_best,
        label_names=["labels"],
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
    )
    return on_one_device(arguments)


def on_one_device(arguments: transformers.TrainingArguments) -> transformers.TrainingArguments:
    """Train on one device, whatever there is: several would each take a batch of other examples."""
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _wants_bf16(base: Base) -> bool:
    """Where a GPU can, unless the base was asked for in another format; a CPU is slower by it."""
    if base.device.type != "cuda" or not torch.cuda.is_bf16_supported():
        return False
    return bool(base.model.dtype == torch.bfloat16)


class _Watch(transformers.TrainerCallback):  # type: ignore[misc]
    """Stops at a loss that is no number, and shows how far a run is, if asked to, on a terminal."""

    def __init__(self, title: str | None) -> None:
        self._title = title
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Show an empty bar, or one that is as full as the checkpoint."""
        if self._title is not None:
            self._bar = tqdm(
                desc=self._title, total=state.max_steps, initial=state.global_step, unit="step"
            )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        """Look at a step's loss."""
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of step {state.global_step} is {loss}: lower --learning-rate, or train "
                "in --dtype float32"
            )
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            self._bar.update(state.global_step - self._bar.n)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


class _Allocation(transformers.TrainerCallback):  # type: ignore[misc]
    """Lets AdaLoRA give its ranks to the modules that need them, as peft asks a loop to do."""

    def __init__(self, adapter: PeftModel) -> None:
        self._adapter = adapter

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Look at the gradients of a step before they are gone."""
        self._adapter.base_model.update_and_allocate(state.global_step)


def _board(folder: Path, checkpoint: Path | None) -> transformers.TrainerCallback:
    """A log for TensorBoard, in which steps that are made again after a break count once."""
    from transformers.integrations import TensorBoardCallback

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "a log for TensorBoard needs tensorboard, which is not installed: "
            "pip install 'isogloss[tensorboard]'"
        ) from error
    return TensorBoardCallback(SummaryWriter(str(folder), purge_step=_step(checkpoint)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what a reader could not act on."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 under an old name.
            warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated")
            # It takes the modules that AdaLoRA leaves no rank for a failed export.
            warnings.filterwarnings("ignore", message="Adapter .* have invalid shape")
            yield
    finally:
        transformers.logging.set_verbosity(level)


@contextmanager
def failures_in_words(settings: Settings) -> Iterator[None]:
    """Turn an accelerator's or this machine's lack of memory into words.

    Raises:
        TrainingError: it is that; whatever else comes stays as it is.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"out of memory: lower --batch-size (it is {settings.batch_size}; raise --accumulation "
            f"as much, and the result stays nearly the same), then --max-length (it is "
            f"{settings.max_length}), or load the base in --dtype bfloat16"
        ) from error


def _step(checkpoint: Path | None) -> int | None:
    return None if checkpoint is None else int(checkpoint.name.rpartition("-")[2])


def _take_off(adapter: PeftModel) -> None:
    """Give the base its own layers back; what only put tokens before the input changed none."""
    unload = getattr(adapter.base_model, "unload", None)
    if unload is not None:
        unload()


def show_progress(title: str) -> str | None:
    """Return a title for a progress bar where somebody looks at it: on a terminal."""
    return title if sys.stderr.isatty() else None


def _tenth(losses: tuple[float, ...]) -> int:
    return max(1, len(losses) // 10)


def _mean(losses: tuple[float, ...]) -> float:
    return sum(losses) / len(losses)

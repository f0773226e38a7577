"""Trains one LoRA adapter on a frozen base and saves it as a PEFT folder.

Every vector of a base starts from the same A (B starts at zero): sums of A and B factors are sums
of updates only around a shared start, so the initialisation has a seed of its own that the order of
the data does not touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from peft import LoraConfig, get_peft_model
from transformers import PrinterCallback, Trainer, TrainingArguments

from .errors import ModelError
from .examples import Examples, collate

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train; the defaults are the paper's (section 3.2) where it names a value.

    rank, alpha, targets: LoRA on the attention's query, key, value and output projections;
    learning_rate, steps, batch_size: of AdamW with linear decay, in examples a step; length: most
    tokens of an example; seed: order and splits of the data; initialisation_seed: where the
    adapter starts, the same for all vectors of a base; use_cpu: even where there is a GPU.
    """

    rank: int = 4
    alpha: int = 4
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    learning_rate: float = 2e-4
    steps: int = 5000
    batch_size: int = 8
    length: int = 512
    seed: int = 0
    initialisation_seed: int = 0
    use_cpu: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run: the adapter's folder, and the mean loss of its first and last tenth."""

    folder: Path
    first_loss: float
    last_loss: float


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Examples,
    folder: Path,
    settings: Settings,
) -> Trained:
    """Train a LoRA adapter on the examples and save it with its tokenizer and trainer_state.json.

    The model gets its own layers back, unchanged. Raises ModelError where a target module is not in
    the model or the tokenizer has no end or padding token.
    """
    check_model(model, tokenizer, settings)
    adapter = start(model, settings)
    try:
        trainer = Trainer(
            model=adapter,
            args=arguments(folder, settings),
            train_dataset=examples,
            data_collator=partial(collate, padding=tokenizer.pad_token_id),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        # Not trainer.save_model: it adds a pickle. Embeddings are never trained here, and to find
        # that out by itself peft would ask the Hub for the base's configuration.
        adapter.save_pretrained(folder, save_embedding_layers=False)
        tokenizer.save_pretrained(folder)
        trainer.save_state()
    finally:
        adapter.unload()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Trained(folder, first_loss=losses[0], last_loss=losses[-1])


def check_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Settings
) -> None:
    """Refuse a model or a tokenizer that training would only stumble over later."""
    modules = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    missing = [target for target in settings.targets if target not in modules]
    if missing:
        linear = {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear)
        }
        raise ModelError(
            f"{type(model).__name__} has no module named {', '.join(missing)}; "
            f"its linear modules are {', '.join(sorted(linear))}: name them as targets"
        )
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        what = "end-of-text" if tokenizer.eos_token_id is None else "padding"
        raise ModelError(
            f"the tokenizer has no {what} token: set tokenizer.eos_token and tokenizer.pad_token, "
            "which may be the same"
        )


def start(model: PreTrainedModel, settings: Settings) -> PeftModel:
    """Put a fresh adapter on the model: A follows from the initialisation seed alone, B is zero."""
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=list(settings.targets),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.initialisation_seed)
        return get_peft_model(model, config)


def arguments(folder: Path, settings: Settings) -> TrainingArguments:
    """Return the Trainer's arguments: quiet, without checkpoints, ten losses a run."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        use_cpu=settings.use_cpu,
        logging_steps=max(1, settings.steps // 10),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=not settings.use_cpu,
    )

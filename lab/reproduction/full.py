"""Full fine-tuning, against which Table 6 holds adapters: all weights of the base are trained.

It costs a whole model on disk for each language, and memory for gradients and the optimizer of all
weights; so it is a part of a plan that has to be asked for. One that is killed begins anew.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import transformers

from ..data.fields import Fields
from ..models.base import bars_on_a_terminal, load_base
from ..objectives.example import collate
from ..training.examples import examples_of
from ..training.request import BaseChoice, describe_run
from ..training.settings import Settings
from ..training.trainer import failures_in_words, on_one_device

if TYPE_CHECKING:
    from ..models.base import Base


def train_full(
    base: BaseChoice,
    data: str,
    folder: Path,
    *,
    language: str,
    task: str,
    settings: Settings,
    fields: Fields,
) -> None:
    """Train all weights of a base on labelled pairs, and save the model in a folder, whole or not.

    The base is loaded anew, since its own weights change. Data and their order are those of a task
    vector with the same seed.

    Raises:
        LabError: the data or the model, or too little memory.
    """
    run = describe_run("task", base, data, language, task, settings, None, fields, None, None, None)
    loaded = base.load()
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    trainer = transformers.Trainer(
        model=loaded.model,
        args=_arguments(loaded, unfinished, settings),
        train_dataset=examples_of(run, loaded),
        data_collator=partial(
            collate,
            padding=loaded.tokenizer.pad_token_id,
            encoder_decoder=loaded.encoder_decoder,
        ),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    with failures_in_words(settings):
        trainer.train()
    with bars_on_a_terminal():
        loaded.model.save_pretrained(unfinished)
    loaded.tokenizer.save_pretrained(unfinished)
    unfinished.rename(folder)


def _arguments(base: Base, folder: Path, settings: Settings) -> transformers.TrainingArguments:
    on_cpu = base.device.type == "cpu"
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        train_sampling_strategy="sequential",
        use_cpu=on_cpu,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
    )
    return on_one_device(arguments)


def load_full(folder: Path, base: BaseChoice) -> Base:
    """Load a model that was trained whole, as the base would be.

    Raises:
        ModelError: the folder holds no model.
    """
    return load_base(folder, dtype=base.dtype, device=base.device, name=base.name)

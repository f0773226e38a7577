"""Trains a run and catalogues it, unless the catalogue has it already."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...hub import AdapterHub, NameTakenError
from ...hub.naming import refuse_other_kind
from ...hub.output_folder import new_folder, refuse_taken
from ...hub.peft_folder import CONFIG_NAME, TRAINER_STATE_NAME, WEIGHTS_NAME
from ...hub.provenance import check_description
from ...store import VersionRecord
from ..data.fields import Fields
from ..errors import TrainingError
from .provenance import add_to_catalogue
from .request import BaseChoice, Run, describe_run
from .settings import Settings

if TYPE_CHECKING:
    from ..models.base import Base

LOCK_NAME = ".lock"


@dataclass(frozen=True, slots=True)
class Trained:
    """A run's result.

    Attributes:
        version: what the catalogue has.
        created: whether this call trained it; otherwise it was there.
        first_loss, last_loss: mean of the first and the last tenth of the steps.
        notes: what a reader must know, such as how a Kronecker adapter differs from the paper's.
    """

    version: VersionRecord
    created: bool
    first_loss: float
    last_loss: float
    notes: tuple[str, ...] = ()


def train_lm(
    hub: AdapterHub,
    base: Base | BaseChoice | str | Path,
    data: str | Path | Sequence[str | Path],
    *,
    language: str | Sequence[str],
    settings: Settings | None = None,
    name: str | None = None,
    fields: Fields | None = None,
    validation: str | Path | None = None,
    limit: int | None = None,
    license: str | None = None,
    output: Path | None = None,
    tensorboard: Path | None = None,
    progress: bool = False,
) -> Trained:
    """Train a language vector on unlabelled text with the prefix-LM objective, and catalogue it.

    Section 3.1 of Chronopoulou et al. (2024). A run that the catalogue has is not trained again,
    and one that was killed goes on.

    Args:
        hub: the catalogue.
        base: the base model; one that is loaded is used as it is.
        data: a file or a data set, or several that are trained on together.
        language: ISO 639 or BCP 47 code; several for a multilingual adapter.
        name: in the catalogue; default `lm-LANGUAGE`.
        fields, limit: which field holds the text, and how many rows to use.
        validation: a source whose loss is measured now and then.
        output: folder to leave the PEFT adapter in as well.
        tensorboard: folder for TensorBoard's log.
        progress: show a bar where standard error is a terminal.

    Raises:
        LabError: data, model, settings or the training. SourceError, NameTakenError: the name.
    """
    run = describe_run(
        "lm", base, data, language, None, settings, name, fields, validation, limit, license
    )
    return carry_out(hub, run, base, output, tensorboard, progress)


def train_task(
    hub: AdapterHub,
    base: Base | BaseChoice | str | Path,
    data: str | Path | Sequence[str | Path],
    *,
    language: str | Sequence[str],
    task: str,
    settings: Settings | None = None,
    name: str | None = None,
    fields: Fields | None = None,
    validation: str | Path | None = None,
    limit: int | None = None,
    license: str | None = None,
    output: Path | None = None,
    tensorboard: Path | None = None,
    progress: bool = False,
) -> Trained:
    """Train a task vector on labelled pairs, with the loss on the target alone, and catalogue it.

    Args:
        task: its name, such as xlsum; selectors know it. The others are as in `train_lm`; the
            name's default is `TASK-LANGUAGE`.

    Raises:
        As `train_lm`.
    """
    run = describe_run(
        "task", base, data, language, task, settings, name, fields, validation, limit, license
    )
    return carry_out(hub, run, base, output, tensorboard, progress)


def find_finished(hub: AdapterHub, run: Run) -> VersionRecord | None:
    """Return the version that a run made, unless there is none or it was withdrawn."""
    named = hub.catalog.find(("compare", "name", "=", run.name), latest=False)
    made = (one for one in named if one.training.get("run") == run.digest and not one.withdrawn)
    return next(made, None)


def carry_out(
    hub: AdapterHub,
    run: Run,
    base: Base | BaseChoice | str | Path | None = None,
    output: Path | None = None,
    tensorboard: Path | None = None,
    progress: bool = False,
) -> Trained:
    """Train a run and catalogue it, unless the catalogue has it.

    Args:
        base: the model, if it is loaded already.

    Raises:
        As `train_lm`.
    """
    finished = find_finished(hub, run)
    if finished is not None:
        _write_out(hub, finished, output)
        return _as_trained(finished, created=False)
    _check_name(hub, run)
    if output is not None:
        refuse_taken(output)
    loaded = _loaded(base) or run.base.load()
    folder = hub.home.path / "runs" / f"{run.name.replace('/', '--')}-{run.digest[:12]}"
    with _alone(folder):
        from .examples import examples_of, validation_of
        from .trainer import fit, show_progress

        done = fit(
            loaded,
            examples_of(run, loaded),
            folder,
            run.settings,
            validation=validation_of(run, loaded),
            tensorboard=tensorboard,
            progress=show_progress(run.name) if progress else None,
        )
        record = add_to_catalogue(hub, run, loaded, done)
        _clear(folder)
    _write_out(hub, record, output)
    return _as_trained(record, created=True)


def _clear(folder: Path) -> None:
    """Leave of a finished run only the log of its losses: the catalogue has the rest."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (TRAINER_STATE_NAME, LOCK_NAME):
            path.unlink()


def _write_out(hub: AdapterHub, record: VersionRecord, output: Path | None) -> None:
    """Write a version as an ordinary PEFT folder, unless that is what lies there already."""
    if output is None:
        return
    there = output / WEIGHTS_NAME
    if there.is_file():
        with there.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == record.digest:
                return
    with new_folder(output) as building:
        config = json.dumps(dict(record.config), indent=2, sort_keys=True)
        (building / CONFIG_NAME).write_text(config + "\n", encoding="utf-8")
        shutil.copyfile(hub.blobs.path(record.digest), building / WEIGHTS_NAME)


def _as_trained(record: VersionRecord, *, created: bool) -> Trained:
    losses: Mapping[str, float] = record.training["losses"]
    deviation = record.training.get("deviation")
    notes = () if deviation is None else (str(deviation),)
    return Trained(record, created, losses["first"], losses["last"], notes)


def _check_name(hub: AdapterHub, run: Run) -> None:
    """Find out before training what the catalogue would refuse after it."""
    check_description(run.name, run.kind, run.task)
    refuse_other_kind(hub.catalog, run.name, run.kind)
    named = hub.catalog.find(("compare", "name", "=", run.name), latest=False)
    others = sorted({str(one.base_model) for one in named} - {run.base.name})
    if others:
        raise NameTakenError(
            f"'{run.name}' already names an adapter for {', '.join(others)}, this one is for "
            f"{run.base.name}; give it a name of its own with --name"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from training the same run in the same folder at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(
                f"another process is training this run, in '{folder}': wait for it"
            ) from error
        yield


def _loaded(base: Base | BaseChoice | str | Path | None) -> Base | None:
    from ..models.base import Base

    return base if isinstance(base, Base) else None

"""One training run: identified by all that decides its result, trained once, and catalogued."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from ...dsl.languages import normalize
from ...hub import AdapterHub
from ...hub.naming import refuse_other_kind
from ...store import VersionRecord
from ..data.datasets_library import dataset_commit
from ..data.fields import Fields
from ..data.order import Drawn
from ..data.records import Pair, Text, read_pairs, read_texts
from ..data.source import fingerprint, parse_source
from ..errors import SettingsError, TrainingError
from ..models.prompts import Prompt
from ..objectives import labelled, prefix_lm
from .settings import Settings

if TYPE_CHECKING:
    from ..models.base import Base
    from .examples import Examples
    from .trainer import Fit

VALIDATION_EXAMPLES = 256
LIBRARIES = ("isogloss", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers")


@dataclass(frozen=True, slots=True)
class BaseChoice:
    """Which base model: enough to know a run again without loading it.

    Attributes:
        model: Hub id, folder or GGUF file.
        name: what adapters call it.
        revision: as asked for at the Hub.
        dtype: float32, bfloat16, float16, or auto: that of the model's files.
        device: as asked for.
        digest: of the weights on disk; None at the Hub.
    """

    model: str
    name: str
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    digest: str | None = None

    def load(self) -> Base:
        """Load the model.

        Raises:
            ModelError: as `load_base`.
        """
        from ..models.base import load_base

        return load_base(
            self.model,
            revision=self.revision,
            dtype=self.dtype,
            device=self.device,
            name=self.name,
        )


def choose_base(
    model: str | Path,
    *,
    name: str | None = None,
    revision: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
) -> BaseChoice:
    """Say which base model is meant, without loading it.

    Args:
        name: what adapters call it; default the Hub id, or the absolute path of what is on disk.
    """
    from ..models.base import base_digest, base_name, default_dtype

    return BaseChoice(
        model=str(model),
        name=name or base_name(model),
        revision=revision,
        dtype=dtype or default_dtype(device),
        device=device,
        digest=base_digest(model),
    )


@dataclass(frozen=True, slots=True)
class Run:
    """All that decides what a run's adapter will be, and what it will be called.

    Attributes:
        name: in the catalogue.
        kind: `lm` or `task`.
        languages: as given; several for one multilingual adapter.
        task: of a task vector.
        base: the base model.
        data: sources; several are trained on together, in turn.
        fields: which fields hold what.
        validation: a source whose loss is measured now and then, or None.
        limit: use at most so many rows of every source, from its beginning.
        settings: how to train.
        license: that the adapter is catalogued under.
        fingerprints: of the data, then of the validation data.
    """

    name: str
    kind: str
    languages: tuple[str, ...]
    task: str | None
    base: BaseChoice
    data: tuple[str, ...]
    fields: Fields
    validation: str | None
    limit: int | None
    settings: Settings
    license: str | None = None
    fingerprints: tuple[str, ...] = field(default=(), compare=False)

    @property
    def digest(self) -> str:
        """The sha256 of all that decides the result: equal digests, equal adapters."""
        base = {
            "name": self.base.name,
            "revision": self.base.revision,
            "digest": self.base.digest,
            "dtype": self.base.dtype,
        }
        document = {
            "kind": self.kind,
            "languages": [normalize(language) for language in self.languages],
            "task": self.task,
            "base": base,
            "data": list(self.fingerprints[: len(self.data)]),
            "validation": list(self.fingerprints[len(self.data) :]),
            "fields": [self.fields.source, self.fields.target, self.fields.text],
            "limit": self.limit,
            "settings": self.settings.as_json(),
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()


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


def describe_run(
    kind: str,
    base: Base | BaseChoice | str | Path,
    data: str | Path | Sequence[str | Path],
    language: str | Sequence[str],
    task: str | None,
    settings: Settings | None,
    name: str | None,
    fields: Fields | None,
    validation: str | Path | None,
    limit: int | None,
    license: str | None,
) -> Run:
    """Say what a run is, checked as far as it can be without loading the model.

    Raises:
        DataError: the data. LanguageError: not a language code. SettingsError: no language.
    """
    languages = tuple(language.split(",") if isinstance(language, str) else language)
    languages = tuple(one.strip() for one in languages if one.strip())
    if not languages:
        raise SettingsError("no language is given: name the one that the data are in")
    normal = "-".join(sorted({normalize(one) for one in languages}))
    sources = tuple(map(str, [data] if isinstance(data, (str, Path)) else data))
    if not sources:
        raise SettingsError("no data are given: name a file or a data set")
    extra = () if validation is None else (str(validation),)
    return Run(
        name=name or f"{task or kind}-{normal}",
        kind=kind,
        languages=languages,
        task=task,
        base=_choice(base),
        data=sources,
        fields=fields or Fields(),
        validation=None if validation is None else str(validation),
        limit=limit,
        settings=settings or Settings(),
        license=license,
        fingerprints=tuple(fingerprint(source) for source in (*sources, *extra)),
    )


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
        return _as_trained(finished, created=False)
    _check_name(hub, run)
    loaded = _loaded(base) or run.base.load()
    folder = hub.home.path / "runs" / f"{run.name.replace('/', '--')}-{run.digest[:12]}"
    with _alone(folder):
        from .trainer import fit, show_progress

        done = fit(
            loaded,
            _examples(run, loaded),
            folder,
            run.settings,
            validation=None if run.validation is None else _validation(run, loaded),
            tensorboard=tensorboard,
            progress=show_progress(run.name) if progress else None,
        )
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        record = _catalogue(hub, run, loaded, done)
    if output is not None:
        shutil.copytree(folder, output, dirs_exist_ok=True)
    return _as_trained(record, created=True)


def _examples(run: Run, base: Base) -> Examples:
    from .examples import Examples

    settings = run.settings
    make = _maker(run, base)
    drawn: Drawn[Any] = Drawn(_readers(run, run.data), settings.order_seed)
    return Examples(settings.examples, lambda number: make(drawn[number], number))


def _validation(run: Run, base: Base) -> Examples:
    from itertools import islice

    from .examples import Examples

    make = _maker(run, base)
    (read,) = _readers(run, (str(run.validation),))
    kept = list(islice(read(), VALIDATION_EXAMPLES))
    return Examples(len(kept), lambda number: make(kept[number], number))


def _readers(run: Run, sources: Sequence[str]) -> list[Callable[[], Iterator[Any]]]:
    if run.kind == "lm":
        return [partial(read_texts, one, run.fields, limit=run.limit) for one in sources]
    language = run.languages[0] if len(run.languages) == 1 else None
    return [
        partial(read_pairs, one, run.fields, language=language, limit=run.limit) for one in sources
    ]


def _maker(run: Run, base: Base) -> Callable[[Any, int], Any]:
    settings = run.settings

    def of_text(text: Text, number: int) -> Any:
        return prefix_lm.prefix_lm_example(
            base.tokenizer,
            text,
            length=settings.max_length,
            encoder_decoder=base.encoder_decoder,
            random=Random(f"split {settings.order_seed} {number}"),
        )

    def of_pair(pair: Pair, number: int) -> Any:
        return labelled.labelled_example(
            base.tokenizer,
            pair,
            prompt=Prompt(settings.prompt),
            length=settings.max_length,
            target_length=settings.target_length,
        )

    return of_text if run.kind == "lm" else of_pair


def _catalogue(hub: AdapterHub, run: Run, base: Base, done: Fit) -> VersionRecord:
    settings = run.settings
    added = hub.add(
        done.folder,
        kind=run.kind,
        language=run.languages,
        task=run.task,
        name=run.name,
        dataset=", ".join(_known_as(source) for source in run.data),
        dataset_revision=_revision(run),
        objective=prefix_lm.NAME if run.kind == "lm" else labelled.NAME,
        base=base.name,
        base_revision=base.revision,
        steps=len(done.losses),
        batch_size=settings.batch_size * settings.accumulation,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        license=run.license,
        training=_training(run, base, done),
        library_versions={name: version(name) for name in LIBRARIES},
    )
    return added.version


def _training(run: Run, base: Base, done: Fit) -> dict[str, Any]:
    validation = [[step, loss] for step, loss in sorted(done.validation.items())]
    said: dict[str, Any] = {
        "run": run.digest,
        "settings": run.settings.as_json(),
        "init_seed": run.settings.init_seed,
        "data_seed": run.settings.order_seed,
        "data": [
            {"source": source, "fingerprint": mark}
            for source, mark in zip(run.data, run.fingerprints, strict=False)
        ],
        "fields": {
            key: value
            for key, value in zip(
                ("source", "target", "text"),
                (run.fields.source, run.fields.target, run.fields.text),
                strict=True,
            )
            if value is not None
        },
        "limit": run.limit,
        "losses": {"first": done.first_loss, "last": done.last_loss},
        "base_digest": base.digest,
        "base_dtype": str(base.model.dtype).removeprefix("torch."),
        "trained_share": done.trained_share,
        "deviation": done.deviation,
    }
    if run.validation is not None:
        said["validation"] = {
            "source": run.validation,
            "fingerprint": run.fingerprints[-1],
            "losses": validation,
        }
    return {key: value for key, value in said.items() if value not in (None, {}, [])}


def _known_as(source: str) -> str:
    """A data set's name, or a file's without the folders of this machine."""
    parsed = parse_source(source)
    return parsed.text if parsed.path is None else parsed.path.name


def _revision(run: Run) -> str | None:
    commits = [
        dataset_commit(source.dataset)
        for source in map(parse_source, run.data)
        if source.dataset is not None
    ]
    return ", ".join(commit for commit in commits if commit) or None


def _as_trained(record: VersionRecord, *, created: bool) -> Trained:
    losses: Mapping[str, float] = record.training["losses"]
    deviation = record.training.get("deviation")
    notes = () if deviation is None else (str(deviation),)
    return Trained(record, created, losses["first"], losses["last"], notes)


def _check_name(hub: AdapterHub, run: Run) -> None:
    """Find out before training what the catalogue would refuse after it."""
    from ...hub.errors import NameTakenError
    from ...hub.provenance import check_description

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
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(
                f"another process is training this run, in '{folder}': wait for it"
            ) from error
        yield


def _choice(base: Base | BaseChoice | str | Path) -> BaseChoice:
    if isinstance(base, BaseChoice):
        return base
    if isinstance(base, (str, Path)):
        return choose_base(base)
    dtype = str(base.model.dtype).removeprefix("torch.")
    return BaseChoice(base.name, base.name, base.revision, dtype, str(base.device), base.digest)


def _loaded(base: Base | BaseChoice | str | Path | None) -> Base | None:
    from ..models.base import Base

    return base if isinstance(base, Base) else None

"""What the catalogue is told of a run: its data, settings, seeds, versions and losses."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ...hub import AdapterHub
from ...store import VersionRecord
from ..data.datasets_library import dataset_commit
from ..data.source import parse_source
from ..objectives import labelled, prefix_lm
from .request import Run

if TYPE_CHECKING:
    from ..models.base import Base
    from .trainer import Fit

LIBRARIES = ("isogloss", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers")


def add_to_catalogue(hub: AdapterHub, run: Run, base: Base, done: Fit) -> VersionRecord:
    """Catalogue what a run left in its folder, with all that is known of how it came about."""
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

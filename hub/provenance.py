"""Where an adapter comes from: what its folder says, corrected by what a person says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..dsl.languages import normalize
from ..dsl.reference import is_adapter_name
from .errors import SourceError
from .peft_folder import CONFIG_NAME, PeftFolder

KINDS = ("task", "lm")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a person says of an adapter; None where the folder is to be asked."""

    kind: str
    languages: tuple[str, ...] | None = None
    task: str | None = None
    name: str | None = None
    dataset: str | None = None
    dataset_revision: str | None = None
    objective: str | None = None
    base: str | None = None
    base_revision: str | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    license: str | None = None
    note: str | None = None


def languages_given(language: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Language codes as a person gives them: one, several, or several joined by commas."""
    if language is None:
        return None
    given = [language] if isinstance(language, str) else list(language)
    codes = tuple(code.strip() for text in given for code in text.split(",") if code.strip())
    return codes or None


def describe(said: Provenance, folder: PeftFolder) -> dict[str, Any]:
    """The catalogue's provenance fields of an adapter, and its configuration as corrected.

    Raises:
        SourceError: a field that is missing or makes no sense; the message names the flag.
        LanguageError: not a language code.
    """
    if said.kind not in KINDS:
        raise SourceError(f"there is no kind '{said.kind}': give one of {', '.join(KINDS)}")
    if said.kind == "lm" and said.task is not None:
        raise SourceError(
            f"an adapter of kind lm is trained on unlabelled text and has no task ('{said.task}'); "
            "leave --task out or give --kind task"
        )
    _refuse_out_of_range(said)
    config = _corrected_config(said, folder)
    given = said.languages or _card_languages(folder.card)
    if not given:
        raise SourceError(
            "neither --language nor the card says which language this adapter is for; "
            "give --language, such as --language en"
        )
    languages = tuple(sorted({normalize(code) for code in given}))
    name = said.name or f"{said.task or said.kind}-{'-'.join(languages)}"
    if not is_adapter_name(name):
        raise SourceError(
            f"'{name}' cannot name an adapter: use letters, digits, '.', '_' and '-', "
            "with at most one '/' between owner and name"
        )
    return {
        "name": name,
        "kind": said.kind,
        "languages": languages,
        "languages_given": tuple(given),
        "task": said.task,
        "dataset": said.dataset or _joined(folder.card, "datasets"),
        "dataset_revision": said.dataset_revision,
        "objective": said.objective,
        "base_model": config["base_model_name_or_path"],
        "base_revision": config.get("revision"),
        "tokenizer_digest": folder.tokenizer_digest,
        "steps": _first(said.steps, _whole(folder.trainer_state, "global_step")),
        "batch_size": _first(said.batch_size, _whole(folder.trainer_state, "train_batch_size")),
        "learning_rate": said.learning_rate,
        "seed": said.seed,
        "library_versions": _library_versions(config),
        "license": said.license or _joined(folder.card, "license"),
        "note": said.note,
        "config": config,
    }


def _corrected_config(said: Provenance, folder: PeftFolder) -> dict[str, Any]:
    config = dict(folder.config)
    base = said.base or config.get("base_model_name_or_path") or _joined(folder.card, "base_model")
    if not isinstance(base, str) or not base.strip():
        raise SourceError(
            f"{CONFIG_NAME} in '{folder.path}' names no base model; give it with --base"
        )
    config["base_model_name_or_path"] = base
    revision = said.base_revision or config.get("revision")
    if revision is not None and not isinstance(revision, str):
        raise SourceError(f"{CONFIG_NAME} has revision {revision!r}, which is not a text")
    config["revision"] = revision
    return config


def _refuse_out_of_range(said: Provenance) -> None:
    for flag, value in (("--steps", said.steps), ("--batch-size", said.batch_size)):
        if value is not None and value < 0:
            raise SourceError(f"{flag} {value} is negative")
    rate = said.learning_rate
    if rate is not None and not 0 <= rate < float("inf"):
        raise SourceError(f"--learning-rate {rate} is not a number from 0 upwards")


def _card_languages(card: Mapping[str, Any]) -> tuple[str, ...] | None:
    value = card.get("language")
    if isinstance(value, list):
        return languages_given([str(item) for item in value])
    return languages_given(value if isinstance(value, str) else None)


def _joined(card: Mapping[str, Any], field: str) -> str | None:
    """A card field that may be one text or a list of them."""
    value = card.get(field)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or None
    return str(value) if value not in (None, "") else None


def _whole(state: Mapping[str, Any], field: str) -> int | None:
    value = state.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _library_versions(config: Mapping[str, Any]) -> dict[str, str]:
    version = config.get("peft_version")
    return {"peft": version} if isinstance(version, str) else {}

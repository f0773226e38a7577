"""Where an adapter comes from: what its folder says, corrected by what a person says."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ..dsl.errors import LanguageError
from ..dsl.languages import normalize
from .cards.card import PROVENANCE_FIELD
from .errors import SourceError
from .naming import refuse_odd_name
from .peft_folder import CONFIG_NAME, PeftFolder

KINDS = ("task", "lm")
RESERVED_TASKS = ("task", "lm", "any")


class Facts(TypedDict, total=False):
    """What can be said of an adapter when it is added, besides its languages.

    Attributes:
        kind: `task` (trained on labelled data) or `lm` (on unlabelled text).
        task: for which it was trained, such as `xlsum`.
        name: in the catalogue.
        dataset, dataset_revision, objective: what it was trained on, and to do what.
        base, base_revision: the model that it is for.
        steps, batch_size, learning_rate, seed: of its training.
        license, note: plain text.
        training: what else is to be known of the run that made it, as plain JSON.
        library_versions: of the libraries that it was trained with.
    """

    kind: str | None
    task: str | None
    name: str | None
    dataset: str | None
    dataset_revision: str | None
    objective: str | None
    base: str | None
    base_revision: str | None
    steps: int | None
    batch_size: int | None
    learning_rate: float | None
    seed: int | None
    license: str | None
    note: str | None
    training: Mapping[str, Any] | None
    library_versions: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a person says of an adapter; None where the folder is to be asked."""

    kind: str | None = None
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
    training: Mapping[str, Any] | None = None
    library_versions: Mapping[str, str] | None = None


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
    card = said_by_card(folder.card)
    kind, task = kind_and_task(said, card)
    _refuse_out_of_range(said)
    config = corrected_config(said, folder)
    given, languages = _languages(said, card, folder)
    name = said.name or f"{task or kind}-{'-'.join(languages)}"
    refuse_odd_name(name)
    return {
        "name": name,
        "kind": kind,
        "languages": languages,
        "languages_given": tuple(given),
        "task": task,
        "dataset": said.dataset or _joined(folder.card, "datasets"),
        "dataset_revision": said.dataset_revision or card.dataset_revision,
        "objective": said.objective or card.objective,
        "base_model": config["base_model_name_or_path"],
        "base_revision": config.get("revision"),
        "tokenizer_digest": folder.tokenizer_digest,
        "steps": _first(said.steps, card.steps, _whole(folder.trainer_state, "global_step")),
        "batch_size": _first(
            said.batch_size, card.batch_size, _whole(folder.trainer_state, "train_batch_size")
        ),
        "learning_rate": card.learning_rate if said.learning_rate is None else said.learning_rate,
        "seed": _first(said.seed, card.seed),
        "library_versions": _library_versions(config) | dict(said.library_versions or {}),
        "training": dict(said.training or {}),
        "license": said.license or card.license,
        "note": said.note,
        "config": config,
    }


def check_description(name: str, kind: str, task: str | None) -> None:
    """Refuse what no folder could be catalogued as, before there is a folder.

    Raises:
        SourceError: a name, kind or task that makes no sense.
    """
    kind_and_task(Provenance(kind=kind, task=task), Provenance())
    refuse_odd_name(name)


def kind_and_task(said: Provenance, card: Provenance) -> tuple[str, str | None]:
    """What an adapter was trained on, and for which task.

    Raises:
        SourceError: nobody says it, or it makes no sense.
    """
    kind, task = said.kind or card.kind, said.task or card.task
    if kind is None:
        raise SourceError(
            "neither --kind nor the card says what this adapter was trained on; give --kind task "
            "(labelled data of a task) or --kind lm (plain text)"
        )
    if kind not in KINDS:
        raise SourceError(f"there is no kind '{kind}': give one of {', '.join(KINDS)}")
    if task in RESERVED_TASKS:
        raise SourceError(f"a task cannot be called '{task}': selectors have that word for a kind")
    if kind == "lm" and task is not None:
        raise SourceError(
            f"an adapter of kind lm is trained on unlabelled text and has no task ('{task}'); "
            "leave --task out or give --kind task"
        )
    return kind, task


def _languages(
    said: Provenance, card: Provenance, folder: PeftFolder
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The languages as they were given, and their normal forms, sorted."""
    given = said.languages or card.languages
    if not given:
        raise SourceError(
            "neither --language nor the card says which language this adapter is for; "
            "give --language, such as --language en"
        )
    try:
        return given, languages_of(given)
    except LanguageError as error:
        if said.languages:
            raise
        raise SourceError(
            f"the card in '{folder.path}' says: {error.message}; give --language"
        ) from error


def languages_of(given: Sequence[str]) -> tuple[str, ...]:
    """The normal forms of language codes, sorted.

    Raises:
        LanguageError: one is none.
    """
    return tuple(sorted({normalize(code) for code in given}))


def said_by_card(card: Mapping[str, Any]) -> Provenance:
    """What a card says: the Hub's own fields, and those that isogloss adds when it publishes.

    Raises:
        SourceError: a field that is not of its type.
    """
    block = card.get(PROVENANCE_FIELD)
    said = block if isinstance(block, dict) else {}
    rate = said.get("learning_rate")
    if rate is not None and not _is_rate(rate):
        raise SourceError(
            f"the card says learning_rate {rate!r}, which is not a number from 0 upwards"
        )
    return Provenance(
        kind=_text(said, "kind"),
        languages=_card_languages(card),
        task=_text(said, "task"),
        dataset_revision=_text(said, "dataset_revision"),
        objective=_text(said, "objective"),
        base_revision=_text(said, "base_revision"),
        steps=_count(said, "steps"),
        batch_size=_count(said, "batch_size"),
        learning_rate=None if rate is None else float(rate),
        seed=_count(said, "seed"),
        license=_text(said, "license") or _joined(card, "license"),
    )


def _text(said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    if value is not None and not isinstance(value, str):
        raise SourceError(f"the card says {name} {value!r}, which is not a text")
    return value or None


def _count(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and (not whole or (value < 0 and name != "seed")):
        raise SourceError(f"the card says {name} {value!r}, which is not a count")
    return value


def corrected_config(said: Provenance, folder: PeftFolder) -> dict[str, Any]:
    """The configuration with base model and revision as they are said to be.

    Raises:
        SourceError: nobody names the base model.
    """
    config = dict(folder.config)
    base = said.base or config.get("base_model_name_or_path") or _joined(folder.card, "base_model")
    if not isinstance(base, str) or not base.strip():
        raise SourceError(
            f"{CONFIG_NAME} in '{folder.path}' names no base model; give it with --base"
        )
    config["base_model_name_or_path"] = base
    revision = (
        said.base_revision or config.get("revision") or said_by_card(folder.card).base_revision
    )
    if revision is not None and not isinstance(revision, str):
        raise SourceError(f"{CONFIG_NAME} has revision {revision!r}, which is not a text")
    config["revision"] = revision
    return config


def _refuse_out_of_range(said: Provenance) -> None:
    for flag, value in (("--steps", said.steps), ("--batch-size", said.batch_size)):
        if value is not None and value < 0:
            raise SourceError(f"{flag} {value} is negative")
    if said.learning_rate is not None and not _is_rate(said.learning_rate):
        raise SourceError(f"--learning-rate {said.learning_rate} is not a number from 0 upwards")


def _is_rate(value: Any) -> bool:
    """Whether a value is a number from 0 upwards, and finite."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value <= sys.float_info.max


def _card_languages(card: Mapping[str, Any]) -> tuple[str, ...] | None:
    value = card.get("language")
    # YAML reads an unquoted `no`, which is Norwegian, as false.
    value = (
        ["no" if item is False else item for item in value] if isinstance(value, list) else value
    )
    value = "no" if value is False else value
    if isinstance(value, list):
        return languages_given([str(item) for item in value])
    return languages_given(value if isinstance(value, str) else None)


def _joined(card: Mapping[str, Any], field: str) -> str | None:
    """A card field that may be one text or a list of them."""
    value = card.get(field)
    items = value if isinstance(value, list) else [value]
    return ", ".join(str(one) for one in items if isinstance(one, (str, int, float))) or None


def _whole(state: Mapping[str, Any], field: str) -> int | None:
    value = state.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _library_versions(config: Mapping[str, Any]) -> dict[str, str]:
    version = config.get("peft_version")
    return {"peft": version} if isinstance(version, str) else {}

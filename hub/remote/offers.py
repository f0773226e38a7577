"""What a hub offers, going by metadata alone: an adapter to catalogue, or why it is none.

A card and a configuration are read by the rules that hold for a folder; what they leave open is
never guessed. Reasons are few and fixed, so that they can be counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...dsl.algebra import Inspection
from ...dsl.errors import DslError, LanguageError
from ...dsl.meaning.lock import LOCK_NAME, read_lock
from ...dsl.meaning.reference import is_adapter_name
from ...dsl.tensors.configuration import config_digest
from ...store import NewVersion, RecordError, awaited_digest
from ..composed_source import composed_version
from ..errors import IntegrityError, RemoteDeniedError, RemoteNotFoundError, SourceError
from ..peft_folder import CONFIG_NAME, WEIGHTS_NAME, PeftFolder
from ..provenance import (
    Provenance,
    corrected_config,
    describe,
    kind_and_task,
    languages_of,
    said_by_card,
)
from .client import HubClient
from .names import is_commit, is_repository, source_url

NAMELESS = "an entry of the list without a name and a commit"
UNNAMEABLE = "a name that cannot be used here"
TAKEN = "a name that something else has here"
OURS = "published from this catalogue, which has it under its own name"
NO_CONFIG = f"no {CONFIG_NAME}"
PICKLED = "weights as a pickle alone"
NO_WEIGHTS = f"no {WEIGHTS_NAME}"
BAD_CARD = "a card that makes no sense"
NO_KIND = "nobody says what it was trained on; --kind would"
NO_LANGUAGE = "nobody says which language it is for; --language would"
BAD_LANGUAGE = "a language that is none"
CLOSED = "not open to this token"
BAD_CONFIG = "a configuration that makes no sense"
NO_BASE = "no base model"
BAD_LOCK = "a lock that is not of its files"

MENDABLE = frozenset({TAKEN, NO_KIND, NO_LANGUAGE, BAD_LANGUAGE, CLOSED})
"""Reasons that can be gone at the same commit: by an option, a token, or a change here."""

_PICKLE_NAME = "adapter_model.bin"
_MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Offer:
    """A repository as a hub lists it.

    Attributes:
        card: the metadata of its card.
        files: the paths in it; None where the hub does not list them.
    """

    repo: str
    commit: str
    card: Mapping[str, Any]
    files: frozenset[str] | None


def read_offer(item: object) -> Offer | None:
    """An item of a hub's list; None for what names no repository with a commit."""
    fields = item if isinstance(item, dict) else {}
    repo, commit = fields.get("id"), fields.get("sha")
    if not isinstance(repo, str) or not isinstance(commit, str):
        return None
    if not is_repository(repo) or not is_commit(commit):
        return None
    card, listed = fields.get("cardData"), fields.get("siblings")
    files = None
    if isinstance(listed, list):
        names = (one.get("rfilename") for one in listed if isinstance(one, dict))
        files = frozenset(name for name in names if isinstance(name, str))
    return Offer(repo, commit, card if isinstance(card, dict) else {}, files)


def reason_at_sight(offer: Offer, said: Provenance) -> str | None:
    """Why an offer cannot be catalogued, as far as the list tells; no hub is asked."""
    if not is_adapter_name(offer.repo):
        return UNNAMEABLE
    if offer.files is not None:
        if CONFIG_NAME not in offer.files:
            return NO_CONFIG
        if WEIGHTS_NAME not in offer.files:
            return PICKLED if _PICKLE_NAME in offer.files else NO_WEIGHTS
        if LOCK_NAME in offer.files:
            return None
    try:
        card = said_by_card(offer.card)
    except SourceError:
        return BAD_CARD
    try:
        kind_and_task(said_besides(card, said), card)
    except SourceError:
        return NO_KIND if card.kind is None else BAD_CARD
    given = card.languages or said.languages
    if not given:
        return NO_LANGUAGE
    try:
        languages_of(given)
    except LanguageError:
        return BAD_LANGUAGE
    return None


def said_besides(card: Provenance, said: Provenance) -> Provenance:
    """What a person says of many adapters at once, where a card leaves it open."""
    kind = card.kind or said.kind
    return Provenance(
        kind=kind,
        languages=card.languages or said.languages,
        task=card.task or (said.task if kind == "task" else None),
    )


def read_version(client: HubClient, offer: Offer, said: Provenance) -> NewVersion | str:
    """The version that an offer is, without its weights; or the reason why it is none.

    Raises:
        RemoteError: the hub fails, or something else than this repository is refused.
    """
    reason = reason_at_sight(offer, said)
    if reason is not None:
        return reason
    try:
        config = _json(client, offer, CONFIG_NAME)
        if config is None or not isinstance(config.get("peft_type"), str):
            return BAD_CONFIG
        if offer.files is not None and LOCK_NAME in offer.files:
            return _composed(client, offer, config)
        return _trained(client, offer, config, said)
    except RemoteDeniedError:
        return CLOSED
    except RemoteNotFoundError:
        return NO_CONFIG
    except RecordError:
        return BAD_CONFIG


def _trained(
    client: HubClient, offer: Offer, config: dict[str, Any], said: Provenance
) -> NewVersion | str:
    folder = _folder(offer, config)
    facts = replace(said_besides(said_by_card(offer.card), said), name=offer.repo)
    try:
        corrected_config(facts, folder)
    except SourceError:
        return NO_BASE
    try:
        described = describe(facts, folder)
        digest = config_digest(described["config"])
    except (SourceError, DslError, TypeError):
        return BAD_CONFIG
    source = source_url(client.endpoint, offer.repo)
    return NewVersion(
        **described,
        peft_type=str(config["peft_type"]).upper(),
        rank=_whole(config, "r"),
        alpha=_number(config, "lora_alpha", "alpha"),
        source=source,
        source_revision=offer.commit,
        digest=awaited_digest(source, offer.commit),
        config_digest=digest,
        size_bytes=0,
        here=False,
    )


def _composed(client: HubClient, offer: Offer, config: dict[str, Any]) -> NewVersion | str:
    """A composition: its lock says its digests, and what it was made of."""
    folder = _folder(offer, config)
    data = client.read(offer.repo, offer.commit, LOCK_NAME, length=_MOST_BYTES).data
    inspection = Inspection(
        peft_type=str(config["peft_type"]).upper(),
        rank=_whole(config, "r"),
        alpha=_number(config, "lora_alpha", "alpha"),
        modules=(),
        parameters=0,
        dtype="",
    )
    try:
        lock = read_lock(data)
        if config_digest(config) != lock.result.config:
            return BAD_LOCK
        version = composed_version(folder, lock, Provenance(name=offer.repo), inspection, 0)
    except (DslError, IntegrityError, SourceError, RecordError, TypeError):
        return BAD_LOCK
    return replace(
        version,
        parameters=None,
        dtype=None,
        source=source_url(client.endpoint, offer.repo),
        source_revision=offer.commit,
        here=False,
    )


def _folder(offer: Offer, config: dict[str, Any]) -> PeftFolder:
    """The offer as a folder would be, for the rules that read one."""
    path = Path(offer.repo)
    return PeftFolder(path, path / WEIGHTS_NAME, config, offer.card, {}, None)


def _json(client: HubClient, offer: Offer, path: str) -> dict[str, Any] | None:
    part = client.read(offer.repo, offer.commit, path, length=_MOST_BYTES)
    if part.size_bytes > _MOST_BYTES:
        return None
    try:
        found = json.loads(part.data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _whole(config: Mapping[str, Any], field: str) -> int | None:
    value = config.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(config: Mapping[str, Any], *fields: str) -> float | None:
    for field in fields:
        value = config.get(field)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    return None

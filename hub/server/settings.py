"""How a server is run: who may do what, and the limits on what is asked of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ...dsl.meaning.reference import is_adapter_name
from .access import Account
from .errors import SettingsError

COMPOSE_OWNER = "compose"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may ask for; sizes in bytes, times in seconds.

    Attributes:
        json_bytes: a request's JSON or form.
        line_bytes: one line of a commit; a regular file travels in one.
        regular_bytes: a file that is sent inside a commit; larger ones are uploaded.
        commit_bytes: all of a commit.
        file_bytes: an uploaded file.
        part_bytes: an uploaded file that is larger is sent in parts of this size.
        operations: files in a commit.
        xorb_bytes, shard_bytes: the two kinds of body that xet uploads are made of.
        idle_seconds: between two pieces of a body.
        signature_seconds: for which an upload address is good.
        page: entries in one answer.
        composing: compositions at the same time.
        composed_bytes, operand_bytes: a composed file with all that is made on the way, and the
            adapters that it is composed of.
        compose_seconds: for which a client waits for a composition.
        compositions: that are kept of one base model; the oldest go.
    """

    json_bytes: int = 8 << 20
    line_bytes: int = 16 << 20
    regular_bytes: int = 10 << 20
    commit_bytes: int = 1 << 30
    file_bytes: int = 64 << 30
    part_bytes: int = 1 << 30
    operations: int = 20_000
    xorb_bytes: int = 65 << 20
    shard_bytes: int = 64 << 20
    idle_seconds: float = 60.0
    signature_seconds: int = 6 * 3600
    page: int = 1000
    composing: int = 2
    composed_bytes: int = 8 << 30
    operand_bytes: int = 64 << 30
    compose_seconds: float = 300.0
    compositions: int = 1000


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server is run.

    Attributes:
        owner: under whom catalogued adapters are shown whose name has no owner.
        accounts: who may do what; None lets everybody do everything.
        read_only: nothing can be written.
        compose: base model of each virtual repository of compositions, by its name.
        recipes: all that may be composed there are calls of these; None allows every expression.
        public_url: the server's address as clients see it, where it is not the one they ask.
    """

    owner: str = "local"
    accounts: tuple[Account, ...] | None = None
    read_only: bool = False
    compose: Mapping[str, str] = field(default_factory=dict)
    recipes: frozenset[str] | None = None
    public_url: str | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.recipes is not None and not self.compose:
            raise SettingsError(
                "recipes are named, but no base model to compose for: give --compose NAME=BASE"
            )
        for name, base in self.compose.items():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name) or not base.strip():
                raise SettingsError(
                    f"{name}={base} is not NAME=BASE: a name of letters, digits, '.', '_' and '-', "
                    "and the base model as its adapters call it"
                )
        if self.public_url is not None and not _is_address(self.public_url):
            raise SettingsError(
                f"{self.public_url!r} is not a server's address: write it like "
                "https://hub.example.org"
            )
        if not is_adapter_name(self.owner) or "/" in self.owner:
            raise SettingsError(f"{self.owner!r} cannot be an owner: use letters, digits, '._-'")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not parts.query

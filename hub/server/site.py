"""What a server serves: the hub behind it, and every repository that can be found there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from ...dsl.meaning.reference import is_adapter_name
from ...store import BlobStore, Catalog, UnknownRepositoryError
from ..adapter_hub import AdapterHub
from .access import Visitor
from .catalogued import all_catalogued, find_catalogued
from .composing import COMPOSING, Composer, ComposingSource
from .parts import remove_abandoned
from .settings import COMPOSE_OWNER, Settings
from .sources import Source, StoredSource
from .xorbs import remove_old

_KEY_BYTES = 32


class Site:
    """A hub as it is served.

    Attributes:
        key: by which upload addresses are signed; all servers of a home share it.
        uploads: the folder of files that are sent in parts.
        xorbs: the folder of what xet uploads are made of, by user.
    """

    def __init__(self, hub: AdapterHub, settings: Settings) -> None:
        self.hub = hub
        self.settings = settings
        self.key = _shared_key(hub.home.path / "server.key")
        self.uploads = hub.home.path / "uploads"
        self.xorbs = hub.home.path / "xorbs"
        self.composer = Composer(hub, settings.limits, settings.recipes)

    def sweep(self) -> None:
        """Remove what was begun and never ended, and what no client remembers having sent."""
        remove_abandoned(self.uploads)
        remove_abandoned(self.hub.home.path, f"{COMPOSING}*")
        remove_old(self.xorbs)

    def close(self) -> None:
        """Finish what is being composed."""
        self.composer.close()

    @property
    def catalog(self) -> Catalog:
        """The catalogue."""
        return self.hub.catalog

    @property
    def blobs(self) -> BlobStore:
        """The content of all files."""
        return self.hub.blobs

    def find(self, owner: str, name: str, visitor: Visitor) -> Source:
        """The repository of a name, as far as `visitor` may know of it.

        Raises:
            UnknownRepositoryError: there is none.
        """
        if not is_adapter_name(f"{owner}/{name}"):
            raise UnknownRepositoryError(f"{owner[:100]}/{name[:100]} names no repository")
        if owner.lower() == COMPOSE_OWNER:
            return self._composing(name)
        try:
            record = self.catalog.repositories.get(owner, name)
        except UnknownRepositoryError:
            found = find_catalogued(self.catalog, owner, name, self.settings.owner)
            if found is None:
                raise
            return found
        if record.private and not visitor.may_see(record.owner):
            raise UnknownRepositoryError(f"there is no repository {owner}/{name}")
        return StoredSource(self.catalog, record)

    def all(self, visitor: Visitor) -> Iterable[Source]:
        """Every repository that `visitor` may see."""
        taken = set()
        for name in sorted(self.settings.compose):
            yield self._composing(name)
        for record in self.catalog.repositories.all():
            if record.owner == COMPOSE_OWNER:
                continue
            taken.add(record.full_name)
            if not record.private or visitor.may_see(record.owner):
                yield StoredSource(self.catalog, record)
        for source in all_catalogued(self.catalog, self.settings.owner):
            if f"{source.owner}/{source.name}" not in taken and source.owner != COMPOSE_OWNER:
                yield source

    def _composing(self, name: str) -> ComposingSource:
        base = self.settings.compose.get(name)
        if base is None:
            raise UnknownRepositoryError(
                f"there is no repository {COMPOSE_OWNER}/{name}: the server's operator names them"
            )
        record = self.composer.repository(name, base)
        return ComposingSource(self.catalog, record, self.composer, base)


def _shared_key(path: Path) -> bytes:
    """The key in a file that only this user can read, made by whoever comes first."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(_KEY_BYTES))
        os.fsync(descriptor)
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.close(descriptor)
        temporary.unlink()
    return path.read_bytes()

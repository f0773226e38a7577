"""Repositories whose revisions are expressions: composed on the first request, kept by content.

The compositions of a base model lie in a repository of the store, as commits beside its main
branch; so they survive a restart, are shared by all servers of a catalogue, and are pinned by sha
like any other commit.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...dsl.errors import DslError
from ...dsl.meaning.catalogue import Context
from ...store import (
    BlobError,
    Change,
    CommitRecord,
    FileRecord,
    NameUsedError,
    RefRecord,
    Snapshot,
    UnknownRepositoryError,
    UnknownRevisionError,
)
from ...store.repositories.records import MAIN, RepositoryRecord
from ..adapter_hub import AdapterHub
from ..composition import Compiled, Request, compile_request
from ..peft_folder import CARD_NAME
from ..result import Result, carry_out
from .catalogued import large_file, small_file
from .errors import Refusal
from .settings import COMPOSE_OWNER, Limits
from .sources import Edition

MOST_EXPRESSION_BYTES = 240
_AUTHOR = "isogloss"
_SHA = re.compile(r"[0-9a-f]{40}")
_PIECE_BYTES = 1 << 20
_WAITING = 16


class Composer:
    """Composes for clients: a few at a time, each result once."""

    def __init__(self, hub: AdapterHub, limits: Limits) -> None:
        self.hub = hub
        self.limits = limits
        self._workers = ThreadPoolExecutor(limits.composing, thread_name_prefix="compose")
        self._lock = threading.Lock()
        self._running: dict[tuple[int, str], Future[None]] = {}

    def close(self) -> None:
        """Finish what is running, and begin nothing more."""
        self._workers.shutdown(cancel_futures=True)

    def repository(self, name: str, base: str) -> RepositoryRecord:
        """The repository that keeps the compositions of a base model, made when it is missing."""
        repositories = self.hub.catalog.repositories
        try:
            return repositories.get(COMPOSE_OWNER, name)
        except UnknownRepositoryError:
            first = Change("initial commit", put=(self.store_small(CARD_NAME, _card(name, base)),))
        try:
            return repositories.create(
                COMPOSE_OWNER, name, author=_AUTHOR, first=first, stored=self.hub.blobs.contains
            )
        except NameUsedError:
            return repositories.get(COMPOSE_OWNER, name)

    def snapshot(self, repository: RepositoryRecord, expression: str, base: str) -> Snapshot:
        """What an expression means now, composed.

        Raises:
            UnknownRevisionError: it is wrong; the message has the place.
            Refusal: it is larger than allowed, or others are being composed.
        """
        request = Request(expression, context=Context(base=base))
        try:
            compiled = compile_request(self.hub.catalog, self.hub.blobs, request)
        except DslError as error:
            raise UnknownRevisionError(str(error.located(expression))) from error
        tag = _tag(compiled)
        known = self._known(repository, tag)
        if known is not None:
            return known
        size = compiled.blueprint.size_bytes
        if size > self.limits.composed_bytes:
            raise Refusal(
                413, f"the composition has {size} bytes: {self.limits.composed_bytes} are allowed"
            )
        self._await(repository, tag, compiled)
        known = self._known(repository, tag)
        if known is None:
            raise Refusal(503, "the composition was removed again: too many others were asked for")
        return known

    def store_small(self, path: str, content: bytes) -> FileRecord:
        """Keep a small file."""
        with self.hub.blobs.writer() as writer:
            writer.write(content)
            writer.commit()
        return small_file(path, content)

    def _known(self, repository: RepositoryRecord, tag: str) -> Snapshot | None:
        try:
            return self.hub.catalog.repositories.snapshot(repository, tag)
        except UnknownRevisionError:
            return None

    def _await(self, repository: RepositoryRecord, tag: str, compiled: Compiled) -> None:
        """Wait until a composition is kept; who comes second waits for the same."""
        key = (repository.id, tag)
        with self._lock:
            future = self._running.get(key)
            if future is None:
                if len(self._running) >= self.limits.composing * _WAITING:
                    raise Refusal(
                        503,
                        "too many compositions are asked for: try again",
                        headers={"Retry-After": "5"},
                    )
                future = self._workers.submit(self._compose, repository, tag, compiled)
                self._running[key] = future
                future.add_done_callback(lambda _: self._forget(key))
        try:
            future.result(self.limits.compose_seconds)
        except TimeoutError as error:
            raise Refusal(
                503,
                "the composition takes longer than a request may wait: ask again later",
                headers={"Retry-After": "30"},
            ) from error
        except DslError as error:
            expression = compiled.request.expression
            raise UnknownRevisionError(str(error.located(expression))) from error

    def _forget(self, key: tuple[int, str]) -> None:
        with self._lock:
            self._running.pop(key, None)

    def _compose(self, repository: RepositoryRecord, tag: str, compiled: Compiled) -> None:
        catalog, blobs = self.hub.catalog, self.hub.blobs
        with tempfile.TemporaryDirectory(prefix=".composing-", dir=self.hub.home.path) as made:
            folder = Path(made) / "result"
            carry_out(catalog, blobs, compiled, Result(name=None, output=folder))
            files = tuple(self._store(path) for path in sorted(folder.iterdir()))
        catalog.repositories.shelve(
            repository,
            tag,
            Change(compiled.request.expression, put=files),
            author=_AUTHOR,
            # An instant that is the same wherever and whenever this is composed.
            created_at=max(record.created_at for record in compiled.parents.values()),
            stored=blobs.contains,
            most=self.limits.compositions,
        )

    def _store(self, path: Path) -> FileRecord:
        if path.suffix != ".safetensors":
            return self.store_small(path.name, path.read_bytes())
        with self.hub.blobs.writer() as writer, path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                writer.write(piece)
            blob = writer.commit()
        return large_file(path.name, blob.digest, blob.size_bytes)


@dataclass(frozen=True, slots=True)
class ComposingSource:
    """The read-only repository of all that can be composed for a base model."""

    composer: Composer
    record: RepositoryRecord
    base: str
    private: bool = False

    @property
    def owner(self) -> str:
        """Before the slash."""
        return self.record.owner

    @property
    def name(self) -> str:
        """After the slash."""
        return self.record.name

    @property
    def created_at(self) -> datetime:
        """When it was first asked for."""
        return self.record.created_at

    @property
    def updated_at(self) -> datetime:
        """When it was first asked for."""
        return self.record.updated_at

    def refs(self) -> list[RefRecord]:
        """The main branch, which says how to use it; expressions are too many to be listed."""
        refs = self.composer.hub.catalog.repositories.refs(self.record)
        return [ref for ref in refs if ref.kind == "branch"]

    def edition(self, revision: str) -> Edition:
        """What an expression, the sha of one composed before, or the main branch means."""
        if revision == MAIN or _SHA.fullmatch(revision):
            repositories = self.composer.hub.catalog.repositories
            return self._sound(repositories.snapshot(self.record, revision))
        if "/" in revision or len(revision.encode("utf-8", "replace")) > MOST_EXPRESSION_BYTES:
            raise UnknownRevisionError(
                f"an expression as a revision has no '/' and at most {MOST_EXPRESSION_BYTES} "
                "bytes; compose a longer one first, and load it by its name"
            )
        return self._sound(self.composer.snapshot(self.record, revision, self.base))

    def history(self, revision: str) -> list[CommitRecord]:
        """The one commit of a composition."""
        return [self.edition(revision).snapshot.commit]

    def _sound(self, snapshot: Snapshot) -> Edition:
        blobs = self.composer.hub.blobs
        for file in snapshot.files:
            if not blobs.contains(file.digest):
                raise BlobError(f"{file.path} of {snapshot.commit.sha} is lost")
        return Edition(snapshot)


def _tag(compiled: Compiled) -> str:
    """A name for what is composed: the plan, the number format, and all that the lock says of it.

    What a selector means can change from one request to the next; the name changes with it.
    """
    said = [
        compiled.evaluation.plan.digest,
        compiled.blueprint.dtype,
        compiled.request.expression,
        compiled.request.context.stated,
        sorted((record.label, record.digest) for record in compiled.parents.values()),
    ]
    return f"composed-{hashlib.sha256(json.dumps(said).encode()).hexdigest()}"


def _card(name: str, base: str) -> bytes:
    return f"""---
library_name: peft
base_model: {json.dumps(base)}
tags:
- isogloss
---

# Compositions for `{base}`

Every revision of this repository is an expression over the adapters of `{base}`. Loading one
composes it:

```python
PeftModel.from_pretrained(model, "{COMPOSE_OWNER}/{name}", revision="0.6*task[en] + 0.4*lm[pt]")
```
""".encode()

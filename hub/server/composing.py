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
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...dsl.errors import CheckError, DslError, did_you_mean
from ...dsl.meaning.catalogue import Context
from ...dsl.syntax import Call
from ...dsl.text.parse import parse
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
from ..cookbook import recipes_of
from ..peft_folder import CARD_NAME
from .errors import Refusal, SettingsError
from .files import keep_large, keep_small
from .settings import COMPOSE_OWNER, Limits
from .sources import Edition, RecordedSource

COMPOSING = ".composing-"
"""How the names of folders begin in which something is being composed."""
MOST_EXPRESSION_BYTES = 240
_AUTHOR = "isogloss"
_SHA = re.compile(r"[0-9a-f]{40}")
_WAITING = 16


class Composer:
    """Composes for clients: a few at a time, each result once.

    With `recipes`, only calls of these are composed.

    Raises:
        SettingsError: there is no recipe of such a name.
    """

    def __init__(
        self, hub: AdapterHub, limits: Limits, recipes: frozenset[str] | None = None
    ) -> None:
        self.hub = hub
        self.limits = limits
        self.recipes = recipes
        if recipes is not None:
            _refuse_unknown(recipes, recipes_of(hub.catalog))
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
            card = keep_small(self.hub.blobs, CARD_NAME, _card(name, base))
            first = Change("initial commit", put=(card,))
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
        if "/" in expression or len(expression.encode("utf-8", "replace")) > MOST_EXPRESSION_BYTES:
            raise UnknownRevisionError(
                f"an expression as a revision has no '/' and at most {MOST_EXPRESSION_BYTES} "
                "bytes; compose a longer one first, and load it by its name"
            )
        request = Request(expression, context=Context(base=base))
        try:
            if self.recipes is not None:
                _require_recipe(expression, self.recipes)
            compiled = compile_request(self.hub.catalog, self.hub.blobs, request)
        except DslError as error:
            raise UnknownRevisionError(str(error.located(expression))) from error
        tag = _tag(compiled)
        known = self._known(repository, tag)
        if known is not None:
            return known
        self._refuse_large(compiled)
        self._await(repository, tag, compiled)
        known = self._known(repository, tag)
        if known is None:
            raise Refusal(503, "the composition was removed again: too many others were asked for")
        return known

    def _refuse_large(self, compiled: Compiled) -> None:
        made, makings = compiled.blueprint.size_bytes, compiled.blueprint.makings
        if makings is not None:
            made += makings.disk_bytes
        if made > self.limits.composed_bytes:
            raise Refusal(
                413, f"the composition has {made} bytes: {self.limits.composed_bytes} are allowed"
            )
        read = sum(record.size_bytes for record in compiled.parents.values())
        if read > self.limits.operand_bytes:
            raise Refusal(
                413,
                f"the composition is made of {read} bytes: {self.limits.operand_bytes} are allowed",
            )

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
        from ..result import Result, carry_out  # Loads torch, which no other request needs.

        catalog, blobs = self.hub.catalog, self.hub.blobs
        with tempfile.TemporaryDirectory(prefix=COMPOSING, dir=self.hub.home.path) as made:
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
        if path.suffix == ".safetensors":
            return keep_large(self.hub.blobs, path.name, path)
        return keep_small(self.hub.blobs, path.name, path.read_bytes())


@dataclass(frozen=True, slots=True)
class ComposingSource(RecordedSource):
    """The read-only repository of all that can be composed for a base model."""

    composer: Composer
    base: str

    def refs(self) -> list[RefRecord]:
        """The main branch, which says how to use it; expressions are too many to be listed."""
        found = self.catalog.repositories.refs(self.record)
        return [ref for ref in found if ref.kind == "branch"]

    def edition(self, revision: str) -> Edition:
        """What an expression, the sha of one composed before, or the main branch means."""
        if is_expression(revision):
            found = self.composer.snapshot(self.record, revision, self.base)
        else:
            found = self.catalog.repositories.snapshot(self.record, revision)
        for file in found.files:
            if not self.composer.hub.blobs.contains(file.digest):
                raise BlobError(f"{file.path} of {found.commit.sha} is lost")
        return Edition(found)

    def history(self, revision: str) -> list[CommitRecord]:
        """The one commit of a composition."""
        return [self.edition(revision).snapshot.commit]


def is_expression(revision: str) -> bool:
    """Whether a revision of such a repository is something to be composed."""
    return revision != MAIN and not _SHA.fullmatch(revision)


def _refuse_unknown(wanted: frozenset[str], recipes: Mapping[str, object]) -> None:
    for name in sorted(wanted - set(recipes)):
        hint = did_you_mean(name, recipes) or f"there are {', '.join(sorted(recipes))}"
        raise SettingsError(f"there is no recipe {name!r}: {hint}")


def _require_recipe(text: str, recipes: frozenset[str]) -> None:
    """Let only a call of one of some recipes pass.

    Raises:
        DslError: the text is something else, or no program.
    """
    program = parse(text)
    called = program.expression
    if program.bindings or not isinstance(called, Call) or called.function not in recipes:
        raise CheckError(
            "this server composes by recipe alone",
            span=called.span,
            hint=f"its recipes are {', '.join(sorted(recipes)) or 'none'}",
        )


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

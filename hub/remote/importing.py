"""Cataloguing what a hub offers, by metadata alone: page by page, to be gone on with at any time.

What was read is recorded a batch at a time with the commit that it was read at, so that a run which
is cut off loses a batch at most, and the next one asks only for what is new or has moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields

from ...store import Catalog, Listing, NewVersion, VersionRecord
from ..errors import RemoteError, RemoteNotFoundError, SourceError
from ..peft_folder import WEIGHTS_NAME
from ..provenance import Provenance
from .client import HubClient
from .names import source_url
from .offers import (
    MENDABLE,
    NAMELESS,
    OURS,
    TAKEN,
    Offer,
    read_offer,
    read_version,
    reason_at_sight,
)

_BATCH = 64
_READERS = 8
_EXAMPLES = 3
_EXPANDED = ["sha", "cardData", "siblings"]
# What the weights bring, what only they can tell, and where they are found.
_NOT_TOLD = frozenset(
    {"digest", "original_digest", "size_bytes", "here", "parameters", "dtype", "rank", "alpha"}
    | {"target_modules", "source_revision", "tokenizer_digest", "config", "composition"}
)
_FROM_TRAINER_STATE = ("steps", "batch_size")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which adapters of a hub: by their owner, their base model, a text in their name."""

    author: str | None = None
    base: str | None = None
    search: str | None = None

    def query(self) -> dict[str, str | list[str]]:
        """The hub's words for it; the newest come first, which moves nothing while it is read."""
        query: dict[str, str | list[str]] = {"sort": "createdAt", "expand": _EXPANDED}
        query["filter"] = ["peft"] + ([f"base_model:adapter:{self.base}"] if self.base else [])
        said = {"author": self.author, "search": self.search}
        return query | {name: value for name, value in said.items() if value is not None}


@dataclass(slots=True)
class Imported:
    """What became of what was listed; counted as it goes on.

    Attributes:
        added: catalogued under a new name. `updated`: a new version, for what moved.
        known: read before at the same commit, or moved without any change to the adapter.
        skipped: how many, by the reason. `examples`: a few repositories for each reason.
        stopped: whether it ended at the limit, so that there may be more.
    """

    endpoint: str
    listed: int = 0
    added: int = 0
    updated: int = 0
    known: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    stopped: bool = False

    @property
    def catalogued(self) -> int:
        """How many versions were added."""
        return self.added + self.updated

    def skip(self, repo: str, reason: str) -> None:
        """Count what is not catalogued."""
        self.skipped[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(repo)


def import_adapters(
    catalog: Catalog,
    client: HubClient,
    wanted: Wanted,
    said: Provenance,
    limit: int | None = None,
    progress: Callable[[Imported], None] | None = None,
) -> Imported:
    """Catalogue the adapters that a hub lists; the weights stay where they are.

    Args:
        said: kind, languages and task of adapters whose cards say nothing about that.
        limit: end after so many new versions; the next run goes on from there.
        progress: is shown the counts after each batch.

    Raises:
        RemoteError: the hub refuses or fails; what was read before is kept.
        SourceError: a limit that is none.
    """
    if limit is not None and limit < 1:
        raise SourceError(f"a limit of {limit} catalogues nothing: give 1 or more")
    outcome = Imported(client.endpoint)
    ours = catalog.publications.repositories(client.endpoint)
    try:
        for batch in _batches(client, wanted, outcome):
            for offer in batch:
                if offer.repo in ours:
                    outcome.listed += 1
                    outcome.skip(offer.repo, OURS)
            others = [offer for offer in batch if offer.repo not in ours]
            _take(catalog, client, others, said, limit, outcome)
            if progress is not None:
                progress(outcome)
            if outcome.stopped:
                break
    except RemoteError as error:
        if not outcome.listed:
            raise
        raise type(error)(
            f"{error}. Of {outcome.listed:,} that were listed before, {outcome.catalogued:,} were "
            "catalogued now; run the same command again to go on"
        ) from error
    return outcome


def _batches(client: HubClient, wanted: Wanted, outcome: Imported) -> Iterator[Sequence[Offer]]:
    seen: set[str] = set()
    items = client.listed(wanted.query())
    failure: RemoteError | None = None
    ended = False
    while not ended:
        # What is pushed while a list is read can shift it, so that an item comes twice.
        batch: dict[str, Offer] = {}
        try:
            while len(batch) < _BATCH:
                item = next(items)
                offer = read_offer(item)
                if offer is None:
                    outcome.listed += 1
                    outcome.skip(repr(item)[:80], NAMELESS)
                elif offer.repo not in seen:
                    batch[offer.repo] = offer
        except StopIteration:
            ended = True
        except RemoteError as error:
            # What came before it is not lost.
            ended, failure = True, error
        seen.update(batch)
        yield tuple(batch.values())
    if failure is not None:
        raise failure


def _take(
    catalog: Catalog,
    client: HubClient,
    batch: Sequence[Offer],
    said: Provenance,
    limit: int | None,
    outcome: Imported,
) -> None:
    """Read and record one batch, in parts that cannot pass the limit."""
    known = catalog.listings.known(client.endpoint, [offer.repo for offer in batch])
    waiting = []
    for offer in batch:
        before = known.get(offer.repo)
        reason = reason_at_sight(offer, said)
        if before is not None and before.commit == offer.commit and before.reason is None:
            outcome.listed, outcome.known = outcome.listed + 1, outcome.known + 1
        elif (
            before is not None
            and before.commit == offer.commit
            and (before.reason not in MENDABLE or reason is not None)
        ):
            outcome.listed += 1
            outcome.skip(offer.repo, before.reason or "")
        else:
            waiting.append(offer)
    while waiting and not outcome.stopped:
        room = len(waiting) if limit is None else limit - outcome.catalogued
        part, waiting = waiting[:room], waiting[room:]
        _record(catalog, client, part, said, outcome)
        outcome.stopped = limit is not None and outcome.catalogued >= limit


def _record(
    catalog: Catalog,
    client: HubClient,
    offers: Sequence[Offer],
    said: Provenance,
    outcome: Imported,
) -> None:
    here = _by_name(catalog, [offer.repo for offer in offers])

    def read(offer: Offer) -> Listing | RemoteError:
        try:
            return _listing(client, offer, said, here.get(offer.repo, []))
        except RemoteError as error:
            return error

    with ThreadPoolExecutor(_READERS, thread_name_prefix="import") as readers:
        results = list(readers.map(read, offers))
    listings = [one for one in results if isinstance(one, Listing)]
    for one in catalog.listings.record(client.endpoint, listings):
        outcome.listed += 1
        if one.listing.reason is not None:
            outcome.skip(one.listing.repo, one.listing.reason)
        elif one.added is None or not one.added.created:
            outcome.known += 1
        elif one.added.version.version == 1:
            outcome.added += 1
        else:
            outcome.updated += 1
    failure = next((one for one in results if isinstance(one, RemoteError)), None)
    if failure is not None:
        raise failure


def _by_name(catalog: Catalog, names: Iterable[str]) -> dict[str, list[VersionRecord]]:
    either = ("or", tuple(("compare", "name", "=", name) for name in names))
    found: dict[str, list[VersionRecord]] = {}
    for version in catalog.find(either, latest=False):
        found.setdefault(version.name, []).append(version)
    return found


def _listing(
    client: HubClient, offer: Offer, said: Provenance, here: Sequence[VersionRecord]
) -> Listing:
    """What an offer is recorded as, beside the versions that have its name."""
    source = source_url(client.endpoint, offer.repo)
    if any((one.source, one.source_revision) == (source, offer.commit) for one in here):
        return Listing(offer.repo, offer.commit)
    if here and here[-1].source != source:
        return Listing(offer.repo, offer.commit, TAKEN)
    found = read_version(client, offer, said)
    if isinstance(found, str):
        return Listing(offer.repo, offer.commit, found)
    if here and here[-1].kind != found.kind:
        return Listing(offer.repo, offer.commit, TAKEN)
    if here and _same_adapter(client, offer, here[-1], found):
        return Listing(offer.repo, offer.commit)
    return Listing(offer.repo, offer.commit, version=found)


def _same_adapter(client: HubClient, offer: Offer, before: VersionRecord, now: NewVersion) -> bool:
    """Whether only the card, or another file, changed from one commit to the other."""
    for one in fields(NewVersion):
        told = getattr(now, one.name)
        unread = one.name in _FROM_TRAINER_STATE and told is None
        if one.name not in _NOT_TOLD and not unread and told != getattr(before, one.name):
            return False
    if now.composition is not None:
        return now.digest == before.digest
    weights = client.tree(offer.repo, offer.commit).get(WEIGHTS_NAME)
    if weights is None:
        return False
    if before.here:
        return weights.sha256 is not None and weights.sha256 == before.original_digest
    try:
        return client.tree(offer.repo, str(before.source_revision)).get(WEIGHTS_NAME) == weights
    except RemoteNotFoundError:
        return False

"""What a catalogue does with other hubs: the part of the front door that leads outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ..store import Added, BlobStore, Catalog, VersionRecord
from .awaited import Bring, refuse_awaited
from .errors import SourceError
from .meaning import memory_of

if TYPE_CHECKING:
    from .provenance import Facts
    from .remote.client import HubClient
    from .remote.fetched_parents import Fetch
    from .remote.importing import Imported
    from .remote.publish import Published
    from .verification import Verification

# As in AdapterHub, what loads torch or huggingface_hub is imported by the methods that need it.


class Exchange(ABC):
    """The base of AdapterHub that publishes, pulls and proves.

    Hub and token are the usual ones: `$HF_ENDPOINT`, and `$HF_TOKEN` or `hf auth login`.
    """

    catalog: Catalog
    blobs: BlobStore

    @abstractmethod
    def show(self, reference: str) -> VersionRecord:
        """One version by its reference."""

    def publish(
        self,
        reference: str,
        repo: str,
        *,
        tag: str | None = None,
        private: bool = False,
        message: str | None = None,
        card: bool = False,
        dry_run: bool = False,
        client: HubClient | None = None,
    ) -> Published:
        """Publish a version as one commit with a tag on it; the same again makes no commit.

        Args:
            reference: a version, as `show` takes it.
            repo: `OWNER/NAME`; it is made unless it is there.
            tag: default v1, v2, ... as in the catalogue.
            private: make the new repository private.
            message: of the commit.
            card: only renew the card of what the main branch holds.
            dry_run: say what would be sent, and ask no hub.
            client: another hub than the usual one.

        Raises:
            NotFoundError, AmbiguousError: not exactly one version. SourceError: a name.
            RemoteError: the hub refuses or fails; a repeat is safe.
            IntegrityError: bytes that are not what they should be, here or there.
        """
        from .remote.client import HubClient
        from .remote.publish import Destination, publish, publish_card, rehearse

        record = self.show(reference)
        if not record.here:
            refuse_awaited([record])
        destination = Destination(repo, tag, private, message)
        act = partial(rehearse, card=card) if dry_run else publish_card if card else publish
        return act(self.catalog, self.blobs, client or HubClient(), record, destination)

    def pull(
        self,
        reference: str,
        *,
        language: str | Sequence[str] | None = None,
        client: HubClient | None = None,
        **said: Unpack[Facts],
    ) -> Added:
        """Put a repository's adapter into the catalogue, pinned to a commit and checked.

        Args:
            reference: `OWNER/NAME`, `OWNER/NAME@tag` or `OWNER/NAME@sha`.
            language, said: as `add` takes them, where the card does not say it. Its name is
                `OWNER/NAME` unless another is given.
            client: another hub than the usual one.

        Raises:
            RemoteError: the hub refuses, fails, or has no such thing.
            RefusedSourceError: pickled weights. SourceError: files, or what is said of them.
            IntegrityError: bytes that are not what the hub, or the lock, says.
        """
        from .provenance import Provenance, languages_given
        from .remote.client import HubClient
        from .remote.names import parse_remote
        from .remote.pull import pull

        facts = Provenance(languages=languages_given(language), **said)
        remote = parse_remote(reference)
        return pull(self.catalog, self.blobs, client or HubClient(), remote, facts)

    def import_adapters(
        self,
        *,
        author: str | None = None,
        base: str | None = None,
        search: str | None = None,
        limit: int | None = None,
        kind: str | None = None,
        language: str | Sequence[str] | None = None,
        task: str | None = None,
        progress: Callable[[Imported], None] | None = None,
        client: HubClient | None = None,
    ) -> Imported:
        """Catalogue a hub's adapters by their metadata; weights come when they are needed.

        A run that was cut off, or ended at its limit, is gone on with by the next one.

        Args:
            author, base, search: only of this owner, for this base model, with this in the name.
            limit: end after so many new versions.
            kind, language, task: of those adapters whose cards do not say it.
            progress: is shown the counts now and then.
            client: another hub than the usual one.

        Raises:
            RemoteError: the hub refuses or fails; what was read before is kept.
            SourceError, LanguageError: an argument.
        """
        from .provenance import Provenance, kind_and_task, languages_given, languages_of
        from .remote.client import HubClient
        from .remote.importing import Wanted, import_adapters

        said = Provenance(kind=kind, languages=languages_given(language), task=task)
        languages_of(said.languages or ())
        if kind is not None:
            kind_and_task(said, Provenance())
        return import_adapters(
            self.catalog,
            client or HubClient(),
            Wanted(author, base, search),
            said,
            limit,
            progress,
        )

    def bring(self, records: Sequence[VersionRecord], *, client: HubClient | None = None) -> None:
        """Fetch the weights of versions that were imported without them, as `pull` would.

        Raises:
            RemoteError: the hub refuses or fails; the message names the adapter.
            RefusedSourceError, IntegrityError: what the hub has is not taken.
        """
        from .remote.arrival import bring
        from .remote.client import HubClient

        for record in records:
            bring(self.catalog, self.blobs, client or HubClient(), record)

    def verify(
        self,
        target: str | Path,
        *,
        fetch: bool = False,
        client: HubClient | None = None,
        memory: int | str | None = None,
    ) -> Verification:
        """Prove a folder or a catalogued version: digests first, then made again and compared.

        Args:
            target: a folder with a lock, or a reference to a version.
            fetch: get missing parents from where they are published, for the proof alone; and
                weights that were imported without, to stay.
            client: another hub than the usual one.
            memory: the most that making it again may take, in bytes or as `"1GiB"`; default
                256 MiB.

        Raises:
            IntegrityError: something differs; the message names it.
            UnknownVersionError: a parent is not here, or published nowhere.
        """
        if not fetch:
            return self._prove(target, refuse_awaited, None, memory_of(memory))
        from .remote.client import HubClient
        from .remote.fetched_parents import fetched_parents

        hub = client or HubClient()
        with fetched_parents(self.catalog, hub) as get:
            return self._prove(target, partial(self.bring, client=hub), get, memory_of(memory))

    def _prove(
        self, target: str | Path, bring: Bring, fetch: Fetch | None, memory_bytes: int
    ) -> Verification:
        from .verification import verify_folder, verify_version

        folder = Path(target).expanduser()
        if folder.is_dir():
            return verify_folder(self.catalog, self.blobs, folder, fetch, memory_bytes)
        if isinstance(target, Path):
            raise SourceError(f"there is no folder '{target}'")
        record = self.show(target)
        if not record.here:
            bring([record])
            record = self.show(target)
        return verify_version(self.catalog, self.blobs, record, fetch, memory_bytes)

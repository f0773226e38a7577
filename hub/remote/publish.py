"""Publishing a version: one commit on an expected parent, a tag on its sha, and reading back.

Every step looks before it acts, so that the same command again, after whatever went wrong, ends in
the same state: content that is there is not sent, and a commit whose reply was lost is found.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...store import BlobStore, Catalog, VersionRecord
from ..errors import (
    IntegrityError,
    RemoteConflictError,
    RemoteError,
    RemoteNotFoundError,
    RemoteUnavailableError,
)
from .client import HubClient
from .names import check_repository, check_tag
from .release import Release, make_release

_TRIES = 4


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a version goes.

    Attributes:
        repo: `OWNER/NAME`.
        tag: None for the catalogue's version: v1, v2, ...
        private: make a new repository that others cannot see.
        message: of the commit.
    """

    repo: str
    tag: str | None = None
    private: bool = False
    message: str | None = None


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file as it was, or would be, published."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome: where the version is, and whether this made a commit.

    Attributes:
        tag: None when only the card was sent.
        commit: sha; None for a dry run.
        created: whether a commit was made now.
        files: all files of the version.
        card: the card's text.
    """

    version: VersionRecord
    endpoint: str
    repo: str
    tag: str | None
    commit: str | None
    created: bool
    files: tuple[PublishedFile, ...]
    card: str


def rehearse(
    catalog: Catalog,
    blobs: BlobStore,
    client: HubClient,
    record: VersionRecord,
    to: Destination,
    *,
    card: bool = False,
) -> Published:
    """What publishing, or renewing the card alone, would send; no hub is asked.

    Raises:
        SourceError: a name that cannot be one. IntegrityError, BlobError: damaged content.
    """
    release, tag = _prepared(catalog, blobs, record, to)
    if card:
        return _outcome(client, record, to, release.beside(), None, None, created=False)
    return _outcome(client, record, to, release, tag, None, created=False)


def publish(
    catalog: Catalog, blobs: BlobStore, client: HubClient, record: VersionRecord, to: Destination
) -> Published:
    """Publish a version, verify what the hub has then, and record where it is.

    Raises:
        RemoteError: the hub refuses or fails; a repeat is safe.
        RemoteConflictError: the tag is on other content, or somebody else published meanwhile.
        IntegrityError: the hub holds other bytes than were sent, or weights here are damaged.
    """
    release, tag = _prepared(catalog, blobs, record, to)
    _make_ready(client, to)
    commit, created = client.tags(to.repo).get(tag), False
    if commit is not None:
        _refuse_other_content(client, to.repo, tag, commit, release)
    else:
        head = client.head(to.repo)
        if head is not None and release.same_version(client.tree(to.repo, head)):
            commit = head
        else:
            message = to.message or f"Publish {record.label}"
            commit, created = _commit(client, to.repo, release, head, message), True
            _verify(client, to.repo, commit, release)
        _tag(client, to.repo, tag, commit, release)
    catalog.publications.record(
        record.name,
        record.version,
        endpoint=client.endpoint,
        repo=to.repo,
        tag=tag,
        commit=commit,
    )
    return _outcome(client, record, to, release, tag, commit, created=created)


def publish_card(
    catalog: Catalog, blobs: BlobStore, client: HubClient, record: VersionRecord, to: Destination
) -> Published:
    """Renew the card, and the scores beside it, on the main branch; no tag is moved.

    Raises:
        RemoteConflictError: the main branch holds another version.
    """
    release, _ = _prepared(catalog, blobs, record, to)
    client.check_write(to.repo)
    head = client.head(to.repo)
    tree = client.tree(to.repo, head) if head else {}
    if head is None or not release.same_version(tree):
        raise RemoteConflictError(
            f"the main branch of {to.repo} does not hold {record.label}: publish that first"
        )
    commit, created = head, False
    if not release.is_whole_in(tree):
        message = to.message or f"Renew the card of {record.label}"
        commit, created = _commit(client, to.repo, release.beside(), head, message), True
        _verify(client, to.repo, commit, release)
    return _outcome(client, record, to, release, None, commit, created=created)


def _prepared(
    catalog: Catalog, blobs: BlobStore, record: VersionRecord, to: Destination
) -> tuple[Release, str]:
    check_repository(to.repo)
    tag = check_tag(to.tag or f"v{record.version}")
    return make_release(catalog, blobs, record, to.repo, tag), tag


def _make_ready(client: HubClient, to: Destination) -> None:
    """See to it that the repository is there, may be written, and is as private as asked."""
    try:
        private = client.is_private(to.repo)
    except RemoteNotFoundError:
        client.create(to.repo, private=to.private)
        private = client.is_private(to.repo)
    if to.private and not private:
        raise RemoteConflictError(
            f"{to.repo} is there and is public, so nothing was sent: choose another repository, "
            "or make that one private first"
        )
    client.check_write(to.repo)


def _refuse_other_content(
    client: HubClient, repo: str, tag: str, commit: str, release: Release
) -> None:
    if not release.same_version(client.tree(repo, commit)):
        raise RemoteConflictError(
            f"the tag {tag} of {repo} is on commit {commit[:12]}, which holds something else; "
            "nothing was changed. Choose another tag with --tag"
        )


def _commit(
    client: HubClient, repo: str, release: Release, parent: str | None, message: str
) -> str:
    """Make the commit, once, whatever becomes of the replies."""
    additions = client.additions([(one.path, one.content) for one in release.files])
    client.upload(repo, additions)
    failure: RemoteError | None = None
    for attempt in range(_TRIES):
        gone = _still_there(client, repo, release, parent)
        try:
            return client.commit(repo, [*additions, *client.deletions(gone)], message, parent)
        except (RemoteUnavailableError, RemoteConflictError) as error:
            failure = error
        client.pause(0.5 * 2**attempt)
        landed, head = _since(client, repo, release, parent)
        if landed is not None:
            return landed
        if head != parent:
            _refuse_crossing(client, repo, release, parent, head, failure)
            parent = head
    raise failure or RemoteError(f"committing to {repo} did not end")


def _still_there(client: HubClient, repo: str, release: Release, parent: str | None) -> list[str]:
    if not release.gone or parent is None:
        return []
    tree = client.tree(repo, parent)
    return [path for path in release.gone if path in tree]


def _since(
    client: HubClient, repo: str, release: Release, parent: str | None
) -> tuple[str | None, str | None]:
    """The commit since `parent` that holds the release, if there is one; and the head now."""
    head = client.head(repo)
    if head == parent or head is None:
        return None, head
    for commit in client.commits(repo):
        if commit == parent:
            break
        if release.is_whole_in(client.tree(repo, commit)):
            return commit, head
    return None, head


def _refuse_crossing(
    client: HubClient,
    repo: str,
    release: Release,
    parent: str | None,
    head: str | None,
    failure: RemoteError,
) -> None:
    """Somebody else committed: harmless unless it touched what is about to be written."""
    before = client.tree(repo, parent) if parent else {}
    after = client.tree(repo, head) if head else {}
    paths = [*(one.path for one in release.files), *release.gone]
    touched = sorted(path for path in paths if before.get(path) != after.get(path))
    if touched:
        raise RemoteConflictError(
            f"somebody else changed {', '.join(touched)} in {repo} at the same time; nothing of "
            "this version was published. Look at what they did, then publish again"
        ) from failure


def _tag(client: HubClient, repo: str, tag: str, commit: str, release: Release) -> None:
    try:
        client.tag(repo, tag, commit)
    except RemoteConflictError:
        there = client.tags(repo).get(tag)
        if there is None:
            raise
        if there != commit:
            _refuse_other_content(client, repo, tag, there, release)


def _verify(client: HubClient, repo: str, commit: str, release: Release) -> None:
    """Compare the hub's own hashes, and fetch back what it does not keep by sha256."""
    tree = client.tree(repo, commit)
    wrong = [one.path for one in release.differing(tree)]
    with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
        for one in release.files:
            remote = tree.get(one.path)
            if one.path not in wrong and remote is not None and remote.sha256 is None:
                path = client.download(repo, commit, one.path, Path(folder))
                if hashlib.sha256(path.read_bytes()).hexdigest() != one.sha256:
                    wrong.append(one.path)
    if wrong:
        raise IntegrityError(
            f"{repo} holds other bytes than were sent at commit {commit[:12]}: "
            f"{', '.join(sorted(wrong))}. It was not tagged; publish again"
        )


def _outcome(
    client: HubClient,
    record: VersionRecord,
    to: Destination,
    release: Release,
    tag: str | None,
    commit: str | None,
    *,
    created: bool,
) -> Published:
    files = tuple(PublishedFile(one.path, one.size_bytes, one.sha256) for one in release.files)
    cards = [one.content for one in release.files if one.path == "README.md"]
    card = next(content.decode() for content in cards if isinstance(content, bytes))
    return Published(record, client.endpoint, to.repo, tag, commit, created, files, card)

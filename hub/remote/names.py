"""Names at a hub: repositories, revisions and files, checked before they are used anywhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import IntegrityError, SourceError

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
_REPOSITORY = re.compile(rf"{_PART}/{_PART}")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_MOST_BYTES = 240


@dataclass(frozen=True, slots=True)
class RemoteReference:
    """A repository at a hub, and a tag, branch or commit of it (None: its main branch)."""

    repo: str
    revision: str | None = None


def is_repository(text: str) -> bool:
    """Whether a text can name a repository: `OWNER/NAME`, as the Hub's own rules have it.

    >>> is_repository("acme/xlsum-yo"), is_repository("acme"), is_repository("../etc")
    (True, False, False)
    """
    return (
        _REPOSITORY.fullmatch(text) is not None
        and ".." not in text
        and "--" not in text
        and not any(part.endswith((".", "-", ".git")) for part in text.split("/"))
    )


def check_repository(text: str) -> str:
    """Return the name of a repository.

    Raises:
        SourceError: it cannot be one.
    """
    if not is_repository(text):
        raise SourceError(
            f"{text!r} cannot name a repository; write OWNER/NAME, in letters, digits, "
            "'.', '_' and single '-'"
        )
    return text


def parse_remote(text: str) -> RemoteReference:
    """Read `OWNER/NAME`, `OWNER/NAME@tag` or `OWNER/NAME@sha`.

    >>> parse_remote("acme/xlsum-yo@v2")
    RemoteReference(repo='acme/xlsum-yo', revision='v2')

    Raises:
        SourceError: not a repository, or what follows cannot be a revision.
    """
    repo, at, revision = text.partition("@")
    check_repository(repo)
    return RemoteReference(repo, check_revision(revision) if at else None)


def check_revision(revision: str) -> str:
    """Return the name of a tag, branch or commit.

    Raises:
        SourceError: it cannot be one.
    """
    hostile = any(unicodedata.category(character)[0] == "C" for character in revision)
    parts = revision.split("/")
    if (
        hostile
        or len(revision.encode("utf-8", "surrogatepass")) > _MOST_BYTES
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise SourceError(f"{revision!r} cannot be a revision; give a tag, a branch or a commit")
    return revision


def check_tag(tag: str) -> str:
    """Return the name of a new tag.

    Raises:
        SourceError: it cannot be one.
    """
    if not _TAG.fullmatch(tag) or ".." in tag or tag.endswith((".", ".lock")) or is_commit(tag):
        raise SourceError(
            f"{tag!r} cannot be a tag; use letters, digits, '.', '_', '-' and '+', as in v1.2"
        )
    return tag


def is_commit(revision: str) -> bool:
    """Whether a revision is a whole commit sha, which no push can move."""
    return _COMMIT.fullmatch(revision) is not None


def check_paths(paths: Iterable[str], taken: Iterable[str]) -> None:
    """Refuse a repository whose file names could do harm on a disk.

    Args:
        paths: all files of the repository.
        taken: names of which no other may differ by case alone.

    Raises:
        IntegrityError: the message names the file.
    """
    folded = {_folded(name): name for name in taken}
    for path in paths:
        parts = path.split("/")
        if (
            any(part in ("", ".", "..") or part.casefold() == ".git" for part in parts)
            or "\\" in path
            or re.match(r"[A-Za-z]:", path)
            or any(unicodedata.category(character) in ("Cc", "Cs") for character in path)
        ):
            raise IntegrityError(f"the repository holds a file called {path!r}: it is not taken")
        name = folded.get(_folded(path), path)
        if name != path:
            raise IntegrityError(
                f"the repository holds {path!r}, which some disks take for {name!r}: "
                "it is not taken"
            )


def source_url(endpoint: str, repo: str) -> str:
    """The address of a repository, as the catalogue records it for a source."""
    return f"{endpoint}/{repo}"


def split_source(source: str) -> tuple[str, str] | None:
    """Endpoint and repository of a recorded source; None where it is no address.

    >>> split_source("https://huggingface.co/acme/lm-yo")
    ('https://huggingface.co', 'acme/lm-yo')
    """
    address = urlsplit(source)
    repo = address.path.strip("/")
    if address.scheme not in ("http", "https") or not is_repository(repo):
        return None
    return f"{address.scheme}://{address.netloc}", repo


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()

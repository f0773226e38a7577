"""Speaking to a hub: the only home of huggingface_hub, with the retries that it lacks.

The client library retries uploads and listings, but not the calls that a publication hangs on.
Whatever is safe to repeat is repeated here; a commit is sent once, and who sends it looks where it
went. Foreign errors end at `_border`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from ..errors import OfflineError, RemoteUnavailableError, SourceError
from .answers import LacksXetError, in_words
from .ranges import Part, read_part

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from tenacity import RetryCallState

PUBLIC_ENDPOINT = "https://huggingface.co"
ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 60.0
_PATIENCE_SECONDS = 60.0
_LIBRARY = "isogloss"
_TRUE = ("1", "on", "true", "yes")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository: its sha256 where the hub keeps it as a blob, else git's own hash."""

    path: str
    size_bytes: int
    sha256: str | None
    git_sha1: str


class HubClient:
    """A hub, as this room speaks to it.

    Args:
        endpoint: default `$HF_ENDPOINT`, else the public Hub.
        token: default `$HF_TOKEN`, else what `hf auth login` left; False sends none.
        pause: waits so many seconds.

    Every method raises a RemoteError in words, OfflineError where `$HF_HUB_OFFLINE` is set.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        token: str | bool | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        chosen = endpoint or os.environ.get("HF_ENDPOINT") or PUBLIC_ENDPOINT
        self.endpoint = chosen.rstrip("/")
        self.pause = pause
        self._token = token
        address = urlsplit(self.endpoint)
        if address.scheme not in ("http", "https") or not address.netloc or "@" in address.netloc:
            raise SourceError(
                "the endpoint (HF_ENDPOINT) has to be an address such as "
                f"{PUBLIC_ENDPOINT}, without a user name or password in it"
            )

    @cached_property
    def _api(self) -> HfApi:
        from huggingface_hub import HfApi
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if "HF_HUB_VERBOSITY" not in os.environ:
            # Its warnings of failed uploads hold their addresses, which are signed.
            logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        if "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ and not sys.stderr.isatty():
            disable_progress_bars()
        return HfApi(endpoint=self.endpoint, token=self._token, library_name=_LIBRARY)

    def create(self, repo: str, *, private: bool) -> None:
        """Make a repository unless it is there."""
        self._ask(
            f"creating {repo}",
            lambda: self._api.create_repo(repo, exist_ok=True, private=private or None),
        )

    def check_write(self, repo: str) -> None:
        """Fail unless the token may write to a repository."""
        self._ask(
            f"asking whether {repo} may be written", lambda: self._api.auth_check(repo, write=True)
        )

    def is_private(self, repo: str) -> bool:
        """Whether others cannot see a repository."""
        return bool(self._ask(f"looking at {repo}", lambda: self._api.model_info(repo)).private)

    def head(self, repo: str, revision: str | None = None) -> str | None:
        """The commit of a revision, or of the main branch; None for an empty repository."""
        where = repo if revision is None else f"{repo}@{revision}"
        info = self._ask(
            f"looking at {where}", lambda: self._api.model_info(repo, revision=revision)
        )
        return info.sha

    def tags(self, repo: str) -> dict[str, str]:
        """The commit of every tag."""
        refs = self._ask(f"listing the tags of {repo}", lambda: self._api.list_repo_refs(repo))
        return {tag.name: tag.target_commit for tag in refs.tags}

    def commits(self, repo: str) -> list[str]:
        """The commits of the main branch, the newest first."""
        found = self._ask_once(
            f"listing the commits of {repo}", lambda: self._api.list_repo_commits(repo)
        )
        return [commit.commit_id for commit in found]

    def tree(self, repo: str, commit: str) -> dict[str, RemoteFile]:
        """All files of a commit, by path."""
        from huggingface_hub.hf_api import RepoFile

        entries = self._ask_once(
            f"listing the files of {repo}",
            lambda: list(self._api.list_repo_tree(repo, recursive=True, revision=commit)),
        )
        return {
            entry.path: RemoteFile(
                entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id
            )
            for entry in entries
            if isinstance(entry, RepoFile)
        }

    def download(self, repo: str, commit: str, path: str, folder: Path) -> Path:
        """Fetch one file of a commit into a folder; only its size has been checked then."""
        return Path(
            self._ask(
                f"fetching {path} of {repo}",
                lambda: self._api.hf_hub_download(repo, path, revision=commit, local_dir=folder),
            )
        )

    def read(self, repo: str, commit: str, path: str, *, start: int = 0, length: int) -> Part:
        """Read `length` bytes of a file of a commit, or what there is.

        A whole file is compared with git's name for it, where the hub tells that.
        """
        return self._ask(
            f"reading {path} of {repo}", lambda: self._read(repo, commit, path, start, length)
        )

    def _read(self, repo: str, commit: str, path: str, start: int, length: int) -> Part:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # its __all__ is empty
            build_hf_headers,
        )

        url = hf_hub_url(repo, path, revision=commit, endpoint=self.endpoint)
        headers = build_hf_headers(token=self._token, library_name=_LIBRARY)
        part = read_part(url, headers, start, length, _PATIENCE_SECONDS)
        if part.is_damaged():
            raise RemoteUnavailableError(f"{path} of {repo} came damaged from {self.endpoint}")
        return part

    def listed(self, query: Mapping[str, str | list[str]]) -> Iterator[Any]:
        """What the hub lists for a query, page by page as it is asked for: JSON as it came."""
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # its __all__ is empty
            build_hf_headers,
            paginate,
        )

        doing = "listing adapters"
        headers = build_hf_headers(token=self._token, library_name=_LIBRARY)
        address = f"{self.endpoint}/api/models"
        items = iter(paginate(address, dict(query), headers, timeout=_PATIENCE_SECONDS))
        while True:
            # Not in one block: what is done with an item may fail for reasons of its own.
            with self._border(doing):
                try:
                    item = next(items)
                except StopIteration:
                    return
                except json.JSONDecodeError as error:
                    raise RemoteUnavailableError(f"{doing}: the answer is no JSON") from error
            yield item

    def additions(self, files: Sequence[tuple[str, bytes | Path]]) -> list[CommitOperationAdd]:
        """Operations that put files, by their paths in the repository."""
        from huggingface_hub import CommitOperationAdd

        return [
            CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
            for path, content in files
        ]

    def deletions(self, paths: Sequence[str]) -> list[CommitOperationDelete]:
        """Operations that remove files."""
        from huggingface_hub import CommitOperationDelete

        return [CommitOperationDelete(path, is_folder=False) for path in paths]

    def upload(self, repo: str, additions: Sequence[CommitOperationAdd]) -> None:
        """Send what is large ahead of the commit; nothing of it can be seen yet.

        The client library sends by xet alone where it can, and fails at a hub that has none; files
        that are open already it sends by LFS.
        """
        doing = f"uploading to {repo}"
        try:
            self._ask_once(doing, lambda: self._api.preupload_lfs_files(repo, additions))
        except LacksXetError:
            with _opened(additions):
                self._ask_once(doing, lambda: self._api.preupload_lfs_files(repo, additions))

    def commit(
        self,
        repo: str,
        operations: Sequence[CommitOperationAdd | CommitOperationDelete],
        message: str,
        parent: str | None,
    ) -> str:
        """Make one commit on top of `parent` and return its sha. Sent once, never repeated here.

        Raises:
            RemoteConflictError: the branch is elsewhere. RemoteUnavailableError: it is not known
                whether the commit was made.
        """
        made = self._ask_once(
            f"committing to {repo}",
            lambda: self._api.create_commit(
                repo, operations, commit_message=message, parent_commit=parent
            ),
        )
        return made.oid

    def tag(self, repo: str, tag: str, commit: str) -> None:
        """Put a new tag on a commit.

        Raises:
            RemoteConflictError: there is such a tag.
        """
        self._ask(
            f"tagging {repo} as {tag}",
            lambda: self._api.create_tag(repo, tag=tag, revision=commit),
        )

    def _ask_once(self, doing: str, call: Callable[[], _T]) -> _T:
        """Call what the client library itself repeats, or what may not be repeated blindly."""
        with self._border(doing):
            return call()

    def _ask(self, doing: str, call: Callable[[], _T]) -> _T:
        """Call until it answers; only for what may be done twice."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt

        answer: _T = Retrying(
            retry=retry_if_exception(_worth_another_try),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait_seconds,
            sleep=self.pause,
            reraise=True,
        )(self._ask_once, doing, call)
        return answer

    @contextmanager
    def _border(self, doing: str) -> Iterator[None]:
        """Turn the errors of the client library, and of the network, into this room's."""
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
            raise OfflineError(f"{doing}: HF_HUB_OFFLINE is set, so no hub is asked")
        try:
            yield
        except Exception as error:
            words = in_words(error, f"{doing} at {self.endpoint}")
            if words is None:
                raise
            raise words from error


def _worth_another_try(error: BaseException) -> bool:
    return (
        isinstance(error, RemoteUnavailableError)
        and (error.retry_after_seconds or 0.0) <= _LONGEST_WAIT_SECONDS
    )


def _wait_seconds(state: RetryCallState) -> float:
    """As long as the hub asks, else 0.5, 1, 2, 4 seconds, give or take."""
    from tenacity import wait_random_exponential

    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, RemoteUnavailableError) and error.retry_after_seconds:
        return error.retry_after_seconds
    return wait_random_exponential(multiplier=0.5, max=8)(state)


@contextmanager
def _opened(additions: Sequence[CommitOperationAdd]) -> Iterator[None]:
    """Additions as open files while the block runs."""
    paths = [one.path_or_fileobj for one in additions]
    with ExitStack() as files:
        for one, path in zip(additions, paths, strict=True):
            if isinstance(path, (str, Path)):
                one.path_or_fileobj = files.enter_context(Path(path).open("rb"))
        try:
            yield
        finally:
            for one, path in zip(additions, paths, strict=True):
                one.path_or_fileobj = path

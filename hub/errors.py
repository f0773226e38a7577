"""Errors of the front door.

HubError
├── SourceError         ValueError    a folder that lacks or garbles something
├── RefusedSourceError  ValueError    a folder that is not taken as it is (pickled weights)
├── OutputError         ValueError    a result that cannot be written where it was asked for
├── NameTakenError      ValueError    a default name that already means something else
├── IntegrityError      ValueError    something is not what its digest says
└── RemoteError         OSError       a hub that refuses or fails
    ├── RemoteDeniedError             the token may not do this (401, 403, a gated repository)
    ├── RemoteNotFoundError           no such repository, revision or file (404)
    ├── RemoteConflictError           a tag or a branch is elsewhere than expected (409, 412)
    ├── RemoteUnavailableError        no answer, or "try later" (429, 5xx, a cut connection)
    └── OfflineError                  HF_HUB_OFFLINE forbids to ask
"""

from __future__ import annotations


class HubError(Exception):
    """Base of every error of this room."""


class SourceError(HubError, ValueError):
    """A folder or a field that lacks or garbles something; the message says what would be right."""


class RefusedSourceError(HubError, ValueError):
    """A source that is not taken as it is; the message says how to convert it."""


class OutputError(HubError, ValueError):
    """A result that cannot be written where it was asked for."""


class NameTakenError(HubError, ValueError):
    """A default name under which the catalogue holds something else."""


class IntegrityError(HubError, ValueError):
    """Something is not what its digest says: damaged, changed or lost."""


class RemoteError(HubError, OSError):
    """A hub that refuses or fails; the message says what was being done."""


class RemoteDeniedError(RemoteError):
    """The token, or its absence, does not allow this."""


class RemoteNotFoundError(RemoteError):
    """There is no such repository, revision or file, or the token does not reach it."""


class RemoteConflictError(RemoteError):
    """A tag or a branch is elsewhere than expected: somebody else was there."""


class RemoteUnavailableError(RemoteError):
    """No answer, or one that says to try later.

    Attributes:
        retry_after_seconds: how long the hub asks to wait, if it does.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class OfflineError(RemoteError):
    """`HF_HUB_OFFLINE` is set, and this needs a hub."""

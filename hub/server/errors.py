"""Refusals: errors as the Hub's clients read them, and what other rooms' errors become."""

from __future__ import annotations

import errno

from ...dsl.errors import DslError
from ...store import (
    BlobError,
    MovedHeadError,
    NameUsedError,
    RecordError,
    StorageError,
    UnknownRepositoryError,
    UnknownRevisionError,
)
from ..errors import HubError, IntegrityError

REPO_NOT_FOUND = "RepoNotFound"
REVISION_NOT_FOUND = "RevisionNotFound"
ENTRY_NOT_FOUND = "EntryNotFound"


class ServerError(HubError):
    """Base of the errors of this package."""


class SettingsError(ServerError, ValueError):
    """The server cannot be started as it was asked to be."""


class Refusal(ServerError):  # noqa: N818 - an answer, not a mistake of the code
    """An answer that is an error.

    Attributes:
        status: of HTTP.
        message: what is wrong; it may have several lines.
        code: by which clients choose the class of the error that they raise.
        headers: further ones.
        fields: further ones of the body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        fields: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.fields = fields or {}


def refusal_of(error: Exception) -> Refusal | None:
    """What a client is told of an error of another room; None where it is nobody's mistake."""
    match error:
        case Refusal():
            return error
        case UnknownRepositoryError():
            return Refusal(404, str(error), code=REPO_NOT_FOUND)
        case UnknownRevisionError():
            return Refusal(404, str(error), code=REVISION_NOT_FOUND)
        case NameUsedError():
            return Refusal(409, str(error))
        case MovedHeadError():
            return Refusal(
                412, f"A commit has happened since. Please refresh and try again. ({error})"
            )
        case RecordError() | DslError():
            return Refusal(400, str(error))
        case StorageError(__cause__=OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG)):
            return Refusal(507, "the server has no room for this: its operator has to make some")
        case StorageError():
            return Refusal(503, "the server cannot store or read this now: its log says why")
        case BlobError() | IntegrityError():
            return Refusal(500, "the server has lost or damaged this content: its log says which")
    return None

"""What a hub's refusals and a network's failures mean, in words."""

from __future__ import annotations

import re

from ..errors import (
    OfflineError,
    RemoteConflictError,
    RemoteDeniedError,
    RemoteError,
    RemoteNotFoundError,
    RemoteUnavailableError,
)

_LATER = (408, 425, 429, 500, 502, 503, 504)
_LONGEST = 300
_RESET = re.compile(r"\bt=(\d+)")


class LacksXetError(RemoteError):
    """The hub takes no uploads by xet."""


def in_words(error: Exception, doing: str) -> RemoteError | None:
    """The error of this room that a foreign one stands for; None where it is none of a hub's.

    What the server said is quoted, shortened and on one line; addresses are not, for those of
    uploads are signed.
    """
    from huggingface_hub import errors

    if isinstance(error, RemoteError):
        return None
    found = _chain(error)
    for one in found:
        if isinstance(one, errors.OfflineModeIsEnabled):
            return OfflineError(f"{doing}: the offline mode is on (HF_HUB_OFFLINE)")
        if isinstance(one, errors.HfHubHTTPError):
            return _of_answer(one, doing)
    if any("xet-write-token" in str(one) and "404" in str(one) for one in found):
        return LacksXetError(f"{doing}: this hub takes no uploads by xet")
    if isinstance(error, errors.HFValidationError):
        return RemoteError(f"{doing}: {_line(str(error))}")
    if isinstance(error, ValueError) and "Invalid metadata" in str(error):
        return RemoteError(f"{doing}: the hub does not take the card: {_line(str(error))}")
    network = errors.HTTPError  # type: ignore[attr-defined]  # of whichever library it is built on
    if isinstance(error, (network, ConnectionError, TimeoutError)):
        return RemoteUnavailableError(f"{doing}: no answer ({_line(str(found[-1]))})")
    if isinstance(error, (errors.LocalEntryNotFoundError, errors.FileMetadataError)):
        return RemoteUnavailableError(f"{doing}: {_line(str(found[-1]))}")
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return RemoteUnavailableError(f"{doing}: the file came with a wrong size")
    return None


def _of_answer(error: Exception, doing: str) -> RemoteError:
    from huggingface_hub import errors

    if not isinstance(error, errors.HfHubHTTPError):
        raise TypeError(f"{error!r} holds no answer")
    status = error.response.status_code
    said = _line(error.server_message or "")
    answer = f"{doing}: {status}" + (f", {said}" if said else "")
    if isinstance(error, errors.GatedRepoError):
        return RemoteDeniedError(f"{answer}: the repository is gated; ask for access on its page")
    if isinstance(error, errors.DisabledRepoError):
        return RemoteDeniedError(f"{answer}: the repository was disabled")
    if isinstance(error, (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError)):
        return RemoteNotFoundError(answer)
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return RemoteNotFoundError(
            f"{answer}: there is no such repository, or it is private and this token does not "
            "reach it ('hf auth login', or HF_TOKEN)"
        )
    if status == 401:
        return RemoteDeniedError(
            f"{answer}: the hub wants a valid token; give one with 'hf auth login' or HF_TOKEN"
        )
    if status in (402, 403):
        return RemoteDeniedError(f"{answer}: this token may not do that")
    if status in (409, 412):
        return RemoteConflictError(answer)
    if status in _LATER:
        return RemoteUnavailableError(answer, _retry_after(error))
    return RemoteError(answer)


def _retry_after(error: Exception) -> float | None:
    """Seconds that the hub asks to wait: `Retry-After`, or the reset of its rate limit."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    asked = headers.get("retry-after", "")
    if asked.isdigit():
        return float(asked) + 1
    reset = _RESET.search(headers.get("ratelimit", ""))
    return float(reset[1]) + 1 if reset else None


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what it was raised from, the outermost first.

    It ends before an error of ours: that was already being handled when this call was made.
    """
    found: list[BaseException] = []
    while not any(one is error for one in found) and not isinstance(error, RemoteError):
        found.append(error)
        error = error.__cause__ or error.__context__ or error
    return found


def _line(text: str) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    plain = re.sub(r"https?://\S+", "(address)", plain)
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"

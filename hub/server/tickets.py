"""Upload addresses that carry their own permission: signed, for one file, for a short time."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass

from .errors import Refusal


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to send one file to one repository.

    Attributes:
        repository: its owner and name.
        digest, size_bytes: of the file.
        expires: seconds since 1970.
    """

    repository: tuple[str, str]
    digest: str
    size_bytes: int
    expires: int

    def sign(self, key: bytes) -> str:
        """The ticket as a part of an address."""
        payload = json.dumps(asdict(self), separators=(",", ":")).encode()
        return f"{_text(payload)}.{_text(_signature(key, payload))}"


def read_ticket(text: str, key: bytes) -> Ticket:
    """Read a ticket.

    Raises:
        Refusal: 403, it was not signed here, or its time is over.
    """
    payload, _, signature = text.partition(".")
    try:
        data, signed = _bytes(payload), _bytes(signature)
    except ValueError as error:
        raise Refusal(403, "this upload address is damaged: ask for a new one") from error
    if not hmac.compare_digest(signed, _signature(key, data)):
        raise Refusal(403, "this upload address was not given out here: ask for a new one")
    fields = json.loads(data)
    ticket = Ticket(**fields | {"repository": tuple(fields["repository"])})
    if ticket.expires < time.time():
        raise Refusal(403, "the time of this upload address is over: ask for a new one")
    return ticket


def _signature(key: bytes, payload: bytes) -> bytes:
    return hmac.new(key, b"upload\0" + payload, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))

"""Upload addresses that carry their own permission: signed, for one file, for a short time."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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
        return seal(asdict(self), "upload", key)


def read_ticket(text: str, key: bytes) -> Ticket:
    """Read a ticket.

    Raises:
        Refusal: 403, it was not signed here, or its time is over.
    """
    fields = unseal(text, "upload", key)
    return Ticket(**fields | {"repository": tuple(fields["repository"])})


def seal(fields: Mapping[str, Any], purpose: str, key: bytes) -> str:
    """Fields, among them when they expire, as a text that is good for one purpose."""
    payload = json.dumps(fields, separators=(",", ":")).encode()
    return f"{_text(payload)}.{_text(_signature(key, purpose, payload))}"


def unseal(text: str, purpose: str, key: bytes) -> dict[str, Any]:
    """Read what was sealed for a purpose.

    Raises:
        Refusal: 403, it was not sealed here, or its time is over.
    """
    payload, _, signature = text.partition(".")
    try:
        data, signed = _bytes(payload), _bytes(signature)
    except ValueError as error:
        raise Refusal(403, f"this {purpose} permission is damaged: ask for a new one") from error
    if not hmac.compare_digest(signed, _signature(key, purpose, data)):
        raise Refusal(403, f"this {purpose} permission was not given here: ask for a new one")
    fields: dict[str, Any] = json.loads(data)
    if fields["expires"] < time.time():
        raise Refusal(403, f"the time of this {purpose} permission is over: ask for a new one")
    return fields


def _signature(key: bytes, purpose: str, payload: bytes) -> bytes:
    return hmac.new(key, purpose.encode() + b"\0" + payload, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))

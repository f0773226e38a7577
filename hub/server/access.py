"""Who asks, and what they may do.

A token file has a line an account: user, token, role (read or write) and the owners whose
repositories the account may see and write, joined by commas; by default its own, `*` for all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Refusal, SettingsError

ROLES = ("read", "write")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True, slots=True)
class Account:
    """A user with a token; the token itself is not kept."""

    user: str
    token_digest: bytes = field(repr=False)
    role: str = "read"
    owners: tuple[str, ...] = ()

    @classmethod
    def of(cls, user: str, token: str, role: str = "read", owners: Sequence[str] = ()) -> Account:
        """Make an account; without `owners` it is for the user's own repositories."""
        return cls(user, _digest(token), role, tuple(owners) or (user,))


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: an account, nobody known, or, where there are no accounts, everybody."""

    user: str | None
    role: str | None
    owners: tuple[str, ...] = ()

    def may_see(self, owner: str) -> bool:
        """Whether the private repositories of `owner` are shown."""
        return "*" in self.owners or owner.lower() in {name.lower() for name in self.owners}

    def may_write(self, owner: str) -> bool:
        """Whether repositories of `owner` can be written."""
        return self.role == "write" and self.may_see(owner)


NOBODY = Visitor(None, None)


def identify(authorization: str | None, accounts: Sequence[Account] | None, owner: str) -> Visitor:
    """Who a request's Authorization header says it is from.

    Raises:
        Refusal: 401, a token that is nobody's.
    """
    if accounts is None:
        return Visitor(owner, "write", ("*",))
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return NOBODY
    digest = _digest(token.strip())
    found = NOBODY
    # All are compared, so that the time tells nothing about which one is near.
    for account in accounts:
        if hmac.compare_digest(account.token_digest, digest):
            found = Visitor(account.user, account.role, account.owners)
    if found is NOBODY:
        raise Refusal(401, "Invalid credentials in Authorization header")
    return found


def read_token_file(path: Path) -> tuple[Account, ...]:
    """The accounts of a token file.

    Raises:
        SettingsError: the file cannot be read, or a line of it; no token is in the message.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"the token file '{path}' cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the token file '{path}' is no UTF-8 text") from error
    accounts = []
    for number, line in enumerate(lines, 1):
        fields = line.split("#", 1)[0].split()
        if fields:
            accounts.append(_account(fields, f"line {number} of the token file '{path}'"))
    if not accounts:
        raise SettingsError(f"the token file '{path}' has no account: write lines of USER TOKEN")
    if len({account.token_digest for account in accounts}) < len(accounts):
        raise SettingsError(f"the token file '{path}' gives one token to two accounts")
    return tuple(accounts)


def _account(fields: list[str], place: str) -> Account:
    if not 2 <= len(fields) <= 4:
        raise SettingsError(f"{place} is not USER TOKEN [read|write] [OWNER,...]")
    user, token = fields[:2]
    role = fields[2] if len(fields) > 2 else "read"
    owners = fields[3].split(",") if len(fields) > 3 else []
    if role not in ROLES:
        raise SettingsError(f"{place} has role {role!r}: give read or write")
    if len(token) < 8:
        raise SettingsError(f"{place} has a token of less than 8 characters")
    for name in (user, *(owner for owner in owners if owner != "*")):
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{place}: {name!r} cannot be a user or an owner")
    return Account.of(user, token, role, owners)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()

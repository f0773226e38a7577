"""What a visitor may do."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .access import Visitor
from .errors import Refusal
from .site import Site
from .sources import StoredSource

_DIGEST = re.compile(r"[0-9a-f]{64}")


def require_write(site: Site, visitor: Visitor, owner: str) -> None:
    """Let only a visitor pass who may write the repositories of `owner`.

    Raises:
        Refusal: 401 or 403.
    """
    if site.settings.read_only:
        raise Refusal(403, "this server is read-only")
    if visitor.user is None:
        raise Refusal(401, "writing needs a token: log in with 'hf auth login' or set HF_TOKEN")
    if not visitor.may_write(owner):
        raise Refusal(403, f"{visitor.user} may not write the repositories of {owner!r}")


def contents_at_hand(
    site: Site, visitor: Visitor, source: StoredSource, digests: Iterable[str]
) -> frozenset[str]:
    """Which contents lie here and may be used by `visitor` in a commit to `source`.

    They were sent to that repository, or are in one that the visitor may see: who knows no more
    than a digest must not get the content by it.
    """
    sound = {digest for digest in digests if _DIGEST.fullmatch(digest)}
    holders = site.catalog.repositories.holders(sound)
    visible = {
        found.id
        for found in site.catalog.repositories.all()
        if not found.private or visitor.may_see(found.owner)
    }
    allowed = visible | {source.record.id, None}
    return frozenset(
        digest for digest, ids in holders.items() if ids & allowed and site.blobs.contains(digest)
    )

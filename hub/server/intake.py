"""What is pushed, taken into the catalogue with what its card says.

Only what everybody may see is taken: an expression can name all that the catalogue holds.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from ...dsl.errors import DslError
from ...dsl.meaning.lock import LOCK_NAME
from ...store import Snapshot, StoreError, UnknownVersionError
from ...store.repositories.records import MAIN
from ..addition import add_folder
from ..cards.card import RemotePlace
from ..errors import HubError
from ..peft_folder import CARD_NAME, CONFIG_NAME, TOKENIZER_NAME, TRAINER_STATE_NAME, WEIGHTS_NAME
from ..provenance import Provenance
from .site import Site
from .sources import StoredSource

_log = logging.getLogger("isogloss.server")

_TAKEN = (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME, LOCK_NAME, TOKENIZER_NAME, TRAINER_STATE_NAME)


def take_in(site: Site, source: StoredSource, sha: str, address: str) -> None:
    """Catalogue the adapter of a commit under its repository's name, if it is one.

    What cannot be taken is said in the log; the commit stands either way. The commit has been noted
    as pending, so that it is taken in later should this process die before the end.
    """
    repositories = site.catalog.repositories
    _take_in(site, source, repositories.snapshot(source.record, sha), address)
    repositories.settle(source.record, sha)


def take_in_pending(site: Site) -> None:
    """Catalogue what a server that died had committed and not yet catalogued."""
    for record, address in site.catalog.repositories.pending():
        source = StoredSource(site.catalog, record)
        take_in(site, source, source.edition(MAIN).snapshot.commit.sha, address)


def _take_in(site: Site, source: StoredSource, snapshot: Snapshot, address: str) -> None:
    files = {file.path: file for file in snapshot.files if file.path in _TAKEN}
    if source.private or not {CONFIG_NAME, WEIGHTS_NAME} <= set(files):
        return
    name = f"{source.owner}/{source.name}"
    # The same weights under a second name would make selectors ambiguous.
    elsewhere = site.catalog.by_digest(files[WEIGHTS_NAME].digest)
    if any(known.name != name for known in elsewhere):
        _log.info("%s is not catalogued again: it is %s", name, elsewhere[0].label)
        return
    try:
        with tempfile.TemporaryDirectory(prefix="isogloss-") as made:
            folder = Path(made)
            for path, file in files.items():
                (folder / path).symlink_to(site.blobs.path(file.digest))
            place = RemotePlace(address, snapshot.commit.sha)
            added = add_folder(site.catalog, site.blobs, folder, Provenance(name=name), place)
    except (HubError, StoreError, DslError) as error:
        _log.warning("%s at %s is not catalogued: %s", name, snapshot.commit.sha, error)
        return
    _log.info("%s at %s is %s", name, snapshot.commit.sha, added.version.label)


def withdraw(site: Site, source: StoredSource, reason: str) -> None:
    """Withdraw what was catalogued of a repository that goes away, for `reason`."""
    try:
        versions = site.catalog.versions(f"{source.owner}/{source.name}")
    except UnknownVersionError:
        return
    for version in versions:
        pushed = version.source is not None and version.source.endswith(f"/{version.name}")
        if pushed and version.withdrawn is None:
            site.catalog.withdraw(version.name, version.version, reason)

"""What a name may go on to name: a version never changes what kind of thing a name is for."""

from __future__ import annotations

from ..store import Catalog
from .errors import NameTakenError


def refuse_other_kind(catalog: Catalog, name: str, kind: str) -> None:
    """Refuse to make an adapter of one kind the next version of another.

    Selectors look at the latest version of a name: the earlier kind would silently be gone.

    Raises:
        NameTakenError: the name is one of another kind.
    """
    kinds = {version.kind for version in catalog.find(("compare", "name", "=", name), latest=False)}
    if kinds and kind not in kinds:
        raise NameTakenError(
            f"'{name}' already names an adapter of kind {' and '.join(sorted(kinds))}, "
            f"this one is of kind {kind}; give it a name of its own with --name"
        )

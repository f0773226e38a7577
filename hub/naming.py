"""What can be a name, and what a name may go on to name: always one kind of thing."""

from __future__ import annotations

from ..dsl.meaning.reference import is_adapter_name
from ..store import Catalog
from .errors import NameTakenError, SourceError


def refuse_odd_name(name: str) -> None:
    """Refuse what expressions could not call an adapter.

    Raises:
        SourceError: it cannot be a name.
    """
    if not is_adapter_name(name):
        raise SourceError(
            f"'{name}' cannot name an adapter: use letters, digits, '.', '_' and '-', "
            "with at most one '/' between owner and name"
        )


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

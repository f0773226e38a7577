"""Commands on the database schema: db upgrade, current and history."""

from __future__ import annotations

import click

from .options import Settings, json_option
from .output import Column, print_json, print_table, print_text


@click.group(
    epilog="""\b
Examples:
  isogloss db current
  isogloss db upgrade
"""
)
def db() -> None:
    """Look after the tables of the catalogue's database.

    A newer isogloss may need other tables than the catalogue has; it says so then, and never
    changes them by itself.
    """


@db.command(
    epilog="""\b
Example:
  isogloss db upgrade
"""
)
@click.pass_obj
def upgrade(settings: Settings) -> None:
    """Upgrade the tables of an older catalogue.

    They become what this isogloss needs; the adapters stay. Make a copy of the database first.
    """
    from ..store import schema

    url = settings.database_url()
    before = schema.current(url)
    schema.upgrade(url)
    after = schema.current(url)
    if before == after:
        print_text(f"Nothing to do: the catalogue is at {after}")
    else:
        print_text(f"Upgraded from {before} to {after}")


@db.command(
    epilog="""\b
Example:
  isogloss db current
"""
)
@json_option
@click.pass_obj
def current(settings: Settings, as_json: bool) -> None:
    """Print the revision of the tables.

    And whether this isogloss needs another one.
    """
    from ..store import schema

    revision, needed = schema.current(settings.database_url()), schema.SCHEMA_REVISION
    if as_json:
        print_json({"current": revision, "needed": needed})
    elif revision == needed:
        print_text(f"{revision} (up to date)")
    else:
        print_text(f"{revision or 'no tables'} (this isogloss needs {needed})")


@db.command(
    epilog="""\b
Example:
  isogloss db history --json
"""
)
@json_option
def history(as_json: bool) -> None:
    """List the known revisions.

    The first one stands first, the one that this isogloss needs last.
    """
    from ..store import schema

    revisions = schema.history()
    if as_json:
        print_json(
            [
                {"revision": one.id, "previous": one.previous, "summary": one.summary}
                for one in revisions
            ]
        )
    else:
        print_table(
            (Column("revision"), Column("summary", wrap=True)),
            [(one.id, one.summary) for one in revisions],
        )

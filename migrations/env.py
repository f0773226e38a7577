"""Alembic's environment: runs the revisions on a connection handed over, or on a URL by hand.

By hand, in a checkout: ``ISOGLOSS_DATABASE_URL=... alembic upgrade head``, or
``alembic -x url=... revision --autogenerate -m "..."``.
"""

from __future__ import annotations

import os

from alembic import context
from alembic.util import CommandError
from isogloss.store.sql.database import Database
from isogloss.store.sql.models import Base
from sqlalchemy import Connection
from sqlalchemy.orm import Session


def run(connection: Connection) -> None:
    """Run the asked revisions in the connection's own transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    context.run_migrations()


def run_by_hand() -> None:
    """Run them on the database of ``-x url=...`` or ``$ISOGLOSS_DATABASE_URL``."""
    url = context.get_x_argument(as_dictionary=True).get("url")
    url = str(url) if url else os.environ.get("ISOGLOSS_DATABASE_URL")
    if not url:
        raise CommandError("no database: give -x url=sqlite:///path or set ISOGLOSS_DATABASE_URL")
    database = Database(url, create=True, foreign_keys=False)

    def work(session: Session) -> None:
        run(session.connection())

    try:
        database.write(work)
    finally:
        database.close()


if context.is_offline_mode():
    raise CommandError("SQL scripts are not written: give a database")
given = context.config.attributes.get("connection")
if given is None:
    run_by_hand()
else:
    run(given)

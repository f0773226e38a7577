"""Listings: adapters known by their metadata alone, whose weights are fetched when needed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_listings"
down_revision = "0003_repositories"
branch_labels = None
depends_on = None

_OF_VERSIONS = ("evaluations", "publications", "withdrawals", "parents", "compositions")


def upgrade() -> None:
    op.add_column(
        "versions", sa.Column("here", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.create_index("ix_versions_base_model", "versions", ["base_model"])
    op.create_table(
        "listings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("repo", sa.String(200), nullable=False),
        sa.Column("commit_sha", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_listings"),
        sa.UniqueConstraint("endpoint", "repo", name="uq_listings_endpoint_repo"),
    )


def downgrade() -> None:
    # What has no weights here is no version to the release before.
    versions = sa.table("versions", sa.column("id"), sa.column("adapter_id"), sa.column("here"))
    adapters = sa.table("adapters", sa.column("id"))
    absent = sa.select(versions.c.id).where(versions.c.here == sa.false())
    for name in _OF_VERSIONS:
        table = sa.table(name, sa.column("version_id"))
        op.execute(sa.delete(table).where(table.c.version_id.in_(absent)))
    op.execute(sa.delete(versions).where(versions.c.here == sa.false()))
    op.execute(sa.delete(adapters).where(adapters.c.id.not_in(sa.select(versions.c.adapter_id))))
    op.drop_table("listings")
    op.drop_index("ix_versions_base_model", "versions")
    op.drop_column("versions", "here")

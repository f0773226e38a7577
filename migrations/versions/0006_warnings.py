"""Warnings: what was said of a composition when it was made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_warnings"
down_revision = "0005_training"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "compositions", sa.Column("warnings", sa.JSON(), nullable=False, server_default="[]")
    )


def downgrade() -> None:
    op.drop_column("compositions", "warnings")

"""Pending: where a repository is whose latest commit is still to be catalogued."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_pending"
down_revision = "0006_warnings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("repositories", sa.Column("pending", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("repositories", "pending")

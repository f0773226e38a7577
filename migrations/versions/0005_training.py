"""Training: what else is known of the run that made a version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_training"
down_revision = "0004_listings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("training", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("versions", "training")

"""Repositories: files under names, in commits that never change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_repositories"
down_revision = "0002_recipes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "repositories",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(96), nullable=False),
        sa.Column("name", sa.String(96), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_repositories"),
        sa.UniqueConstraint("key", name="uq_repositories_key"),
    )
    op.create_table(
        "repository_commits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("sha", sa.String(40), nullable=False),
        sa.Column("parent_sha", sa.String(40), nullable=True),
        sa.Column("tree_oid", sa.String(40), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("author", sa.String(96), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _of_repository("repository_commits"),
        sa.PrimaryKeyConstraint("id", name="pk_repository_commits"),
        sa.UniqueConstraint("repository_id", "sha", name="uq_repository_commits_repository_id_sha"),
    )
    op.create_table(
        "repository_files",
        sa.Column("commit_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("oid", sa.String(40), nullable=False),
        sa.Column("lfs", sa.Boolean(), nullable=False),
        sa.Column("changed_in", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(
            ["commit_id"], ["repository_commits.id"], name="fk_repository_files_commit_id"
        ),
        sa.PrimaryKeyConstraint("commit_id", "path", name="pk_repository_files"),
    )
    op.create_index("ix_repository_files_digest", "repository_files", ["digest"])
    op.create_table(
        "repository_refs",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(250), nullable=False),
        sa.Column("sha", sa.String(40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('branch', 'tag')", name="ck_repository_refs_kind"),
        _of_repository("repository_refs"),
        sa.PrimaryKeyConstraint("repository_id", "kind", "name", name="pk_repository_refs"),
    )
    op.create_table(
        "repository_uploads",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _of_repository("repository_uploads"),
        sa.PrimaryKeyConstraint("repository_id", "digest", name="pk_repository_uploads"),
    )
    op.create_index("ix_repository_uploads_digest", "repository_uploads", ["digest"])


def downgrade() -> None:
    for table in ("uploads", "refs", "files", "commits"):
        op.drop_table(f"repository_{table}")
    op.drop_table("repositories")


def _of_repository(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["repository_id"], ["repositories.id"], name=f"fk_{table}_repository_id"
    )

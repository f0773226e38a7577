"""The catalogue's Alembic revisions, installed with the package."""

"""Where a catalogue lives: the home folder, its database and its weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "ISOGLOSS_HOME"
DATABASE_VARIABLE = "ISOGLOSS_DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Home:
    """The places of one catalogue.

    Attributes:
        path: the home folder.
        database: SQLAlchemy URL of the database.
    """

    path: Path
    database: str

    @property
    def blobs(self) -> Path:
        """The folder of the content-addressed weights."""
        return self.path / "blobs"


def find_home(home: str | Path | None = None, database: str | None = None) -> Home:
    """The home that was asked for, else the environment's, else the platform's data folder."""
    chosen = home or os.environ.get(HOME_VARIABLE)
    if not chosen:
        import platformdirs

        chosen = platformdirs.user_data_path("isogloss")
    path = Path(chosen).expanduser().absolute()
    url = database or os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{path / 'catalog.sqlite3'}"
    return Home(path, url)

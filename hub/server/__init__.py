"""The Hub's protocol over our own catalogue: `isogloss serve`, and a server for tests."""

from .access import Account, read_token_file
from .application import Application, create_app
from .errors import Refusal, ServerError, SettingsError
from .running import configure, run, serving
from .settings import Limits, Settings

__all__ = [
    "Account",
    "Application",
    "Limits",
    "Refusal",
    "ServerError",
    "Settings",
    "SettingsError",
    "configure",
    "create_app",
    "read_token_file",
    "run",
    "serving",
]

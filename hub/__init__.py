"""The front door: a catalogue of adapters, the language over it, and publishing."""

from .adapter_hub import AdapterHub
from .errors import (
    HubError,
    IntegrityError,
    NameTakenError,
    OfflineError,
    OutputError,
    RefusedSourceError,
    RemoteConflictError,
    RemoteDeniedError,
    RemoteError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    SourceError,
)
from .home import Home, find_home

__all__ = [
    "AdapterHub",
    "Home",
    "HubError",
    "IntegrityError",
    "NameTakenError",
    "OfflineError",
    "OutputError",
    "RefusedSourceError",
    "RemoteConflictError",
    "RemoteDeniedError",
    "RemoteError",
    "RemoteNotFoundError",
    "RemoteUnavailableError",
    "SourceError",
    "find_home",
]

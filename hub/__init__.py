"""The front door: a catalogue of adapters, the language over it, and publishing."""

from .adapter_hub import AdapterHub
from .errors import (
    HubError,
    IntegrityError,
    NameTakenError,
    OutputError,
    RefusedSourceError,
    SourceError,
)
from .home import Home, find_home

__all__ = [
    "AdapterHub",
    "Home",
    "HubError",
    "IntegrityError",
    "NameTakenError",
    "OutputError",
    "RefusedSourceError",
    "SourceError",
    "find_home",
]

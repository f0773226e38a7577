"""How close languages are to each other, and choosing among them with the evidence shown."""

from .backend import KINDS, Backend, Kind, backend
from .codes import Located, name_of
from .evidence import MEASURES, Evidence, Measure, Row, Status, gather
from .presets import PRESETS
from .rules import family, nearest, related
from .selection import EmptySelectionError, Selection
from .weights import weights

__all__ = [
    "KINDS",
    "MEASURES",
    "PRESETS",
    "Backend",
    "EmptySelectionError",
    "Evidence",
    "Kind",
    "Located",
    "Measure",
    "Row",
    "Selection",
    "Status",
    "backend",
    "family",
    "gather",
    "name_of",
    "nearest",
    "related",
    "weights",
]

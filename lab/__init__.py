"""Training of language and task vectors, and the experiments made with them (extra: lab)."""

from .errors import (
    DataError,
    LabError,
    MissingExtraError,
    ModelError,
    NoDataError,
    NoModelError,
    OtherBaseError,
    RemoteDataError,
    RemoteModelError,
    ScoringError,
    SettingsError,
    TrainingError,
)

__all__ = [
    "DataError",
    "LabError",
    "MissingExtraError",
    "ModelError",
    "NoDataError",
    "NoModelError",
    "OtherBaseError",
    "RemoteDataError",
    "RemoteModelError",
    "ScoringError",
    "SettingsError",
    "TrainingError",
]

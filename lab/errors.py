"""Errors of the lab.

LabError
├── DataError             ValueError        data that cannot be read or lack what is needed
│   ├── NoDataError       LookupError       there is no such file, data set or split
│   └── RemoteDataError   OSError           a data set's host refuses or fails
├── ModelError            ValueError        a model or tokenizer that cannot do what was asked
│   ├── NoModelError      LookupError       there is no such model
│   ├── RemoteModelError  OSError           a model's host refuses or fails
│   └── OtherBaseError    ValueError        an adapter of another base model
├── SettingsError         ValueError        settings that make no sense, or not together
├── TrainingError         RuntimeError      a run that failed on the way: out of memory
├── ScoringError          RuntimeError      a scoring that failed on the way: out of memory
└── MissingExtraError     ImportError       a library that is not installed
"""

from __future__ import annotations


class LabError(Exception):
    """Base of all errors of the lab."""


class DataError(LabError, ValueError):
    """Data that cannot be read, or that lack what is needed."""


class NoDataError(DataError, LookupError):
    """There is no such file, data set, configuration or split."""


class RemoteDataError(DataError, OSError):
    """A data set's host refuses or fails."""


class ModelError(LabError, ValueError):
    """A model or a tokenizer that cannot do what was asked."""


class NoModelError(ModelError, LookupError):
    """There is no such model."""


class RemoteModelError(ModelError, OSError):
    """A model's host refuses or fails."""


class OtherBaseError(ModelError):
    """An adapter of another base model than the one that is loaded."""


class SettingsError(LabError, ValueError):
    """Settings that make no sense, or that do not go together."""


class TrainingError(LabError, RuntimeError):
    """A run that failed on the way."""


class ScoringError(LabError, RuntimeError):
    """A scoring that failed on the way."""


class MissingExtraError(LabError, ImportError):
    """A library that this needs and that is not installed."""

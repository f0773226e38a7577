"""Errors of the front door.

HubError
├── SourceError         ValueError    a folder that lacks or garbles something
├── RefusedSourceError  ValueError    a folder that is not taken as it is (pickled weights)
├── OutputError         ValueError    a result that cannot be written where it was asked for
├── NameTakenError      ValueError    a default name that already means something else
└── IntegrityError      ValueError    something is not what its digest says
"""

from __future__ import annotations


class HubError(Exception):
    """Base of every error of this room."""


class SourceError(HubError, ValueError):
    """A folder or a field that lacks or garbles something; the message says what would be right."""


class RefusedSourceError(HubError, ValueError):
    """A source that is not taken as it is; the message says how to convert it."""


class OutputError(HubError, ValueError):
    """A result that cannot be written where it was asked for."""


class NameTakenError(HubError, ValueError):
    """A default name under which the catalogue holds something else."""


class IntegrityError(HubError, ValueError):
    """Something is not what its digest says: damaged, changed or lost."""

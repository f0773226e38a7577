"""From errors to messages and exit codes.

The classes are looked up by name, so that a command that fails early has imported no room for it.
"""

import os
from collections.abc import Iterable
from typing import IO, Final

import click

MISTAKE: Final = 1
NOT_FOUND: Final = 3
REFUSED: Final = 4
REMOTE: Final = 5
DAMAGED: Final = 6
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141

EXIT_CODES: Final = {
    "isogloss.cli.errors.CliError": MISTAKE,
    "isogloss.dsl.errors.DslError": MISTAKE,
    "isogloss.dsl.errors.NotFoundError": NOT_FOUND,
    "isogloss.dsl.errors.IncompatibleError": REFUSED,
    "isogloss.dsl.errors.UnsupportedError": REFUSED,
    "isogloss.dsl.errors.WeightsError": DAMAGED,
    "isogloss.store.errors.StoreError": MISTAKE,
    "isogloss.store.errors.UnknownVersionError": NOT_FOUND,
    "isogloss.store.errors.BlobError": DAMAGED,
    "isogloss.store.errors.DamagedCatalogError": DAMAGED,
    "isogloss.lab.errors.LabError": MISTAKE,
    "isogloss.lab.errors.NoDataError": NOT_FOUND,
    "isogloss.lab.errors.NoModelError": NOT_FOUND,
    "isogloss.lab.errors.OtherBaseError": REFUSED,
    "isogloss.lab.errors.RemoteDataError": REMOTE,
    "isogloss.lab.errors.RemoteModelError": REMOTE,
    "isogloss.hub.errors.HubError": MISTAKE,
    "isogloss.hub.errors.RefusedSourceError": REFUSED,
    "isogloss.hub.errors.IntegrityError": DAMAGED,
    "isogloss.hub.errors.RemoteError": REMOTE,
}


class CliError(Exception):
    """Base of the errors that this room raises itself."""


class InputError(CliError, ValueError):
    """An expression that cannot be read from its file or from standard input."""


class OutputError(CliError, OSError):
    """What a command prints cannot be written to where it goes, a full disk for example."""


def exit_code(error: BaseException) -> int | None:
    """Return the exit code of an error's class or its nearest base, None for what is a bug."""
    for cls in type(error).__mro__:
        code = EXIT_CODES.get(f"{cls.__module__}.{cls.__qualname__}")
        if code is not None:
            return code
    return None


def report(message: str) -> None:
    """Print an error to stderr; what follows its first line stays as it is, carets below source."""
    click.echo(click.style("error:", fg="red", bold=True) + f" {message}", err=True)


def note(message: str) -> None:
    """Print to stderr what is neither an error nor a result."""
    click.echo(message, err=True)


def warn(messages: Iterable[str]) -> None:
    """Print warnings to stderr."""
    for message in messages:
        click.echo(click.style("warning:", fg="yellow", bold=True) + f" {message}", err=True)


def quiet_streams(*streams: IO[str]) -> None:
    """Send what is still to be written nowhere, for nobody reads it and the flush would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())

"""Options and arguments that several commands share, and what they turn into."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from .errors import InputError

if TYPE_CHECKING:
    from ..hub import AdapterHub

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Options = tuple[Callable[[Any], Any], ...]

SEMANTICS: Final = ("elementwise", "exact", "onesided", "peft-linear")
DTYPES: Final = ("float32", "float16", "bfloat16")

# More than any expression may have, whatever its characters are; so that nothing endless is read.
_MOST_BYTES: Final = 4_000_000
PARAMETER: Final = re.compile(r"([A-Za-z_]\w*)\s*=\s*(.*\S)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the hub is: what `--home` and `--database` say, None where they say nothing."""

    home: Path | None
    database: str | None

    def open_hub(self) -> AdapterHub:
        """Open the hub that the options name."""
        from ..hub import AdapterHub

        return AdapterHub.open(self.home, self.database)

    def database_url(self) -> str:
        """Return the URL of the database that the options name; it need not be there."""
        from ..hub import find_home

        return find_home(self.home, self.database).database


class Text(click.types.StringParamType):
    """Text that is not empty: an empty one comes from a shell variable that is not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text, or fail if it is empty."""
        if not str(value).strip():
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


class Folder(click.Path):
    """The path of a folder, which need not be there; the hub says what is wrong with it."""

    def __init__(self, file_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or fail if it is empty (the current folder, then) or too long."""
        if str(value) == "":
            self.fail("it is empty", param, ctx)
        try:
            Path(value).lstat()
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                self.fail(error.strerror or str(error), param, ctx)
        return super().convert(value, param, ctx)


class ExpressionCommand(click.Command):
    """A command whose argument may begin with a minus: `isogloss compose '-lm[en] + task[en]'`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; what begins with one dash is no option, for none is that short."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name.startswith("--"):
                raise
            ctx.ignore_unknown_options = True
            return super().parse_args(ctx, given)


text_option = partial(click.option, type=Text())


def count_option(flag: str, text: str, low: int = 1) -> Callable[[Decorated], Decorated]:
    """An option that takes a whole number, at least so large."""
    return click.option(flag, metavar="N", type=click.IntRange(min=low), help=text)


def with_options(*groups: Options) -> Callable[[Decorated], Decorated]:
    """Add groups of options to a command, in their order."""

    def add(command: Decorated) -> Decorated:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

distances_option = text_option(
    "--distances",
    metavar="SOURCE",
    help="Distances between languages: uriel, lang2vec (of its version on GitHub), or a .tsv file"
    " of your own.  [default: uriel]",
)

memory_option = text_option(
    "--memory",
    metavar="SIZE",
    help="The most memory that functions and buffers may take, such as 512MiB or 2GiB; what needs"
    " more is refused before anything runs.  [default: 256MiB]",
)

expression_argument = click.argument("expression", metavar="EXPRESSION")


def read_expression(argument: str) -> str:
    """Return the text of an expression: as given, from a file (`@FILE`) or standard input (`-`).

    Raises:
        InputError: the file cannot be read, is too large, or is not UTF-8.
    """
    if argument == "-":
        data, place = sys.stdin.buffer.read(_MOST_BYTES + 1), "standard input"
    elif argument.startswith("@"):
        data, place = _read_file(argument[1:]), f"'{argument[1:]}'"
    else:
        return argument
    if len(data) > _MOST_BYTES:
        raise InputError(f"{place} is no expression: it has more than {_MOST_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{place} is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start};"
            " save it as UTF-8"
        ) from error


def _read_file(name: str) -> bytes:
    if not name:
        raise InputError("'@' lacks the name of a file; write @FILE, for example @steer.iso")
    try:
        with Path(name).open("rb") as file:
            return file.read(_MOST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot read the expression from '{name}': {reason}") from error


def _parameters(
    ctx: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    """Turn the values of `--set` into a mapping."""
    values: dict[str, str] = {}
    for text in given:
        match = PARAMETER.fullmatch(text)
        if match is None:
            raise click.BadParameter(
                f"{text!r} is not NAME=VALUE, as in --set l=0.6 or --set T=yo",
                ctx=ctx,
                param=option,
            )
        name, value = match.groups()
        if name in values:
            raise click.BadParameter(f"{name!r} is set twice", ctx=ctx, param=option)
        values[name] = value
    return values


_MEANING: Final = {
    "set": click.option(
        "--set",
        "parameters",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_parameters,
        help="Value of a parameter: a number (--set l=0.6) or, for a $NAME in brackets,"
        " a language (--set T=yo). May be repeated.",
    ),
    "semantics": click.option(
        "--semantics",
        type=click.Choice(SEMANTICS),
        help="What + and * mean: on the factors A and B one by one (elementwise), or on"
        " the updates that they make (exact).  [default: elementwise]",
    ),
    "dtype": click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        help="Number format of the result.  [default: that of the adapters]",
    ),
    "task": text_option(
        "--task", metavar="TASK", help="Task that task[..] and any[..] mean where they name none."
    ),
    "base": text_option(
        "--base", metavar="MODEL", help="Base model that [..] means where it names none."
    ),
    "peft": text_option(
        "--peft", metavar="TYPE", help="PEFT type that [..] means where it names none."
    ),
    "distances": distances_option,
    "memory": memory_option,
}


def meaning_options(command: Decorated) -> Decorated:
    """Add the options that bear on what an expression means."""
    for option in reversed(_MEANING.values()):
        command = option(command)
    return command


def expression_options(command: Decorated) -> Decorated:
    """Add these options but --base and --dtype, for commands that load the base model itself."""
    for name, option in reversed(_MEANING.items()):
        if name not in ("base", "dtype"):
            command = option(command)
    return command

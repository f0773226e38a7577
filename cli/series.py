"""One expression composed for several values of a parameter: `compose --each`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .errors import exit_code, note, report
from .options import PARAMETER

if TYPE_CHECKING:
    from ..hub import AdapterHub
    from ..hub.result import Composed

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Series:
    """A parameter and the values that it takes one after another."""

    parameter: str
    values: tuple[str, ...]

    @property
    def placeholder(self) -> str:
        """What stands for the value in a pattern."""
        return "{" + self.parameter + "}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out for one value: an adapter, or an error and its exit code."""

    value: str
    composed: Composed | None
    error: str | None = None
    code: int = 0


def read_series(
    ctx: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> Series | None:
    """Turn the value of `--each` into a series."""
    if not given:
        return None
    if len(given) > 1:
        raise click.BadParameter("it is given twice; one will do", ctx=ctx, param=option)
    match = PARAMETER.fullmatch(given[0])
    if match is None:
        said = f"{given[0]!r} is not NAME=VALUE,VALUE, as in --each T=yo,ne,si"
        raise click.BadParameter(said, ctx=ctx, param=option)
    values = tuple(value.strip() for value in match[2].split(","))
    for value in values:
        if not value or "/" in value:
            why = f"{value!r} cannot stand in a name" if value else "there is an empty place"
            raise click.BadParameter(f"{given[0]!r}: {why}", ctx=ctx, param=option)
        if values.count(value) > 1:
            said = f"{given[0]!r} has {value!r} twice"
            raise click.BadParameter(said, ctx=ctx, param=option)
    return Series(match[1], values)


def check_patterns(series: Series, options: Mapping[str, Any]) -> None:
    """Refuse what would give two results one place, before anything is composed.

    Raises:
        click.UsageError: a pattern lacks the placeholder or has an unknown one, there is none, or
            the parameter is set as well.
    """
    if series.parameter in options["parameters"]:
        raise click.UsageError(f"{series.parameter!r} is in --set and in --each; leave one out")
    places = {f"--{name}": str(options[name]) for name in ("name", "output") if options[name]}
    if not places:
        raise click.UsageError(
            f"--each needs a name for each result, such as --name 'x-{series.placeholder}'"
        )
    for option, pattern in places.items():
        if series.placeholder not in pattern:
            raise click.UsageError(
                f"{option} {pattern!r} is the same for all results; it lacks {series.placeholder}"
            )
    languages = {"--result-language": ",".join(options["result_language"])}
    for option, pattern in (places | languages).items():
        for name in _PLACEHOLDER.findall(pattern):
            if name != series.parameter:
                raise click.UsageError(
                    f"{option} {pattern!r} has the placeholder '{{{name}}}', which has no value;"
                    f" there is {series.placeholder}"
                )


def compose_each(
    hub: AdapterHub, expression: str, series: Series, options: Mapping[str, Any]
) -> Iterator[Outcome]:
    """Compose for one value after another; what is wrong with one does not stop the others."""
    for number, value in enumerate(series.values, start=1):
        title = f"{series.parameter}={value}"
        if sys.stderr.isatty():
            note(f"{title} ({number} of {len(series.values)})")
        try:
            composed = hub.compose(expression, **_filled(options, series, value))
        except Exception as error:
            code = exit_code(error)
            if code is None:
                raise
            report(f"{title}: {error}")
            yield Outcome(value, None, str(error), code)
        else:
            yield Outcome(value, composed)


def _filled(options: Mapping[str, Any], series: Series, value: str) -> dict[str, Any]:
    """Return the options of one composition: the value put in, as a parameter and in patterns."""

    def put_in(pattern: str) -> str:
        return pattern.replace(series.placeholder, value)

    name, output = options["name"], options["output"]
    return dict(options) | {
        "parameters": {**options["parameters"], series.parameter: value},
        "name": None if name is None else put_in(name),
        "output": None if output is None else Path(put_in(str(output))),
        "result_language": tuple(put_in(one) for one in options["result_language"]),
    }

"""Commands on what is stored: fsck and gc."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .errors import DAMAGED, note, report
from .options import Settings, json_option
from .output import print_json, print_text, size

if TYPE_CHECKING:
    from ..store import Collected, Examination

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART: Final = re.compile(r"\s*(\d{1,9})\s*([smhdw])")


def _duration(ctx: click.Context, option: click.Parameter, text: str) -> timedelta:
    """Turn a time such as 1d, 12h or 1h30m into what it is; 0 needs no unit."""
    if text.strip() == "0":
        return timedelta(0)
    if not re.fullmatch(rf"(?:{_PART.pattern})+\s*", text):
        said = f"{text!r} is no time; write 0, or one such as 30m, 12h, 1d or 2w"
        raise click.BadParameter(said, ctx=ctx, param=option)
    parts = [(int(number), _UNITS[unit]) for number, unit in _PART.findall(text)]
    try:
        return sum((timedelta(**{unit: number}) for number, unit in parts), timedelta(0))
    except OverflowError as error:
        said = f"{text!r} is longer than any catalogue will live"
        raise click.BadParameter(said, ctx=ctx, param=option) from error


@click.command(
    epilog="""\b
Examples:
  isogloss fsck
  isogloss fsck --json
  isogloss fsck --remove
"""
)
@click.option(
    "--remove",
    is_flag=True,
    help="Remove the files that belong to no version, and those that writes left which were cut"
    " off; unless something is damaged.",
)
@json_option
@click.pass_context
def fsck(ctx: click.Context, remove: bool, as_json: bool) -> None:
    """Check that the catalogue and the stored weights agree.

    Every stored file that a version or a repository needs is read again. What is damaged or missing
    is named, and the exit code is 6 then. Weights that were never fetched are not missing. Files
    that belong to nothing are counted; they do no harm. --remove removes them at once, where
    'isogloss gc' would wait a day: a command that is just adding such a file would fail then, and
    could be repeated.
    """
    settings: Settings = ctx.obj
    with settings.open_hub() as hub:
        found = hub.fsck()
        removed = hub.gc(timedelta(0)) if remove and not found.problems else None
    if as_json:
        print_json(_examination_json(found) | _removal_json(remove, removed))
    else:
        _print_examination(found)
        if removed is not None:
            print_text(_removed(removed))
    for problem in found.problems:
        report(problem)
    if found.problems:
        if remove:
            note("nothing was removed: what is left over may help to mend what is damaged")
        ctx.exit(DAMAGED)


@click.command(
    epilog="""\b
Examples:
  isogloss gc
  isogloss gc --grace 12h --json
  isogloss gc --grace 0
"""
)
@click.option(
    "--grace",
    default="1d",
    metavar="TIME",
    callback=_duration,
    help="Leave what was written in this time, such as 30m, 12h, 1d; 0 leaves nothing."
    "  [default: 1d]",
)
@json_option
@click.pass_obj
def gc(settings: Settings, /, grace: timedelta, as_json: bool) -> None:
    """Remove weights that no version refers to.

    Such weights are left behind where a command was cut off after it wrote them and before it
    recorded their version; so are files that were never finished. No version is ever removed, a
    withdrawn one neither.
    """
    with settings.open_hub() as hub:
        removed = hub.gc(grace)
    if as_json:
        print_json(_collected_json(removed))
    else:
        print_text(_removed(removed))


def _examination_json(found: Examination) -> dict[str, Any]:
    return {
        "checked": found.checked,
        "versions": found.versions,
        "awaited": found.awaited,
        "problems": list(found.problems),
        "temporaries": _names(found.temporaries),
        "unreferenced": list(found.unreferenced),
    }


def _removal_json(asked: bool, removed: Collected | None) -> dict[str, Any]:
    if not asked:
        return {}
    return {"removed": None if removed is None else _collected_json(removed)}


def _collected_json(removed: Collected) -> dict[str, Any]:
    return {
        "digests": list(removed.digests),
        "temporaries": _names(removed.temporaries),
        "freed": removed.freed_bytes,
    }


def _names(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths]


def _print_examination(found: Examination) -> None:
    print_text(
        f"{_counted(found.versions, 'version')} and {_counted(found.checked, 'file')} checked"
    )
    if found.awaited:
        print_text(f"{_counted(found.awaited, 'version')} of these without weights here yet")
    if found.temporaries:
        print_text(f"{_counted(len(found.temporaries), 'file')} left from writes that were cut off")
    if found.unreferenced:
        print_text(f"{_counted(len(found.unreferenced), 'file')} of no version")


def _removed(removed: Collected) -> str:
    if not removed.digests and not removed.temporaries:
        return "Nothing to remove"
    weights = _counted(len(removed.digests), "file")
    unfinished = _counted(len(removed.temporaries), "unfinished file")
    return f"Removed {weights} of no version and {unfinished}; {size(removed.freed_bytes)} freed"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")

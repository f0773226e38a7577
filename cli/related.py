"""The command that says which languages are close to one, and shows the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .errors import CliError, warn
from .languages import print_languages, selection_json, warnings_of
from .options import Settings, Text, distances_option, json_option, text_option
from .output import print_json, print_text

if TYPE_CHECKING:
    from ..dsl.relatedness import Backend, Row, Selection

_MOST_MISSES: Final = 20
_MAPS: Final = (".html", ".png")


def _codes(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Split lists of languages at their commas."""
    codes = tuple(code.strip() for text in given for code in text.split(","))
    if not all(codes):
        said = f"{','.join(given)!r} has an empty place; write codes, as in --among en,ar,sw"
        raise click.BadParameter(said, ctx=ctx, param=option)
    return codes


def _map_file(ctx: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file that is no map before any work is done for it."""
    if path is not None and path.suffix.lower() not in _MAPS:
        said = f"{str(path)!r} does not end in {' or '.join(_MAPS)}"
        raise click.BadParameter(said, ctx=ctx, param=option)
    return path


@click.command(
    epilog="""\b
Examples:
  isogloss related yo
  isogloss related yo --among en,ar,sw,fr,ha
  isogloss related Nepali --all --syntactic 0.6 --geographic 0.2
  isogloss related yo --preset table5 --json
  isogloss related yo --among en,ar,sw,fr,ha --map yoruba.html
"""
)
@click.argument("language", type=Text(), metavar="LANG")
@text_option(
    "--among",
    metavar="CODES",
    multiple=True,
    callback=_codes,
    help="Choose among these languages, joined by commas.  [default: those the catalogue has"
    " adapters for]",
)
@click.option(
    "--all", "everything", is_flag=True, help="Choose among all languages that have distances."
)
@text_option("--syntactic", metavar="X", help="Syntactic distance to stay under.  [default: 0.7]")
@text_option("--geographic", metavar="Y", help="Geographic distance to stay under.  [default: 0.3]")
@text_option(
    "--preset", metavar="NAME", help="A published choice instead of distances, such as table5."
)
@distances_option
@click.option(
    "--map",
    "map_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    callback=_map_file,
    help="Also draw a world map, as .html or .png.",
)
@json_option
@click.pass_obj
def related(
    settings: Settings,
    /,
    language: str,
    among: tuple[str, ...],
    everything: bool,
    distances: str | None,
    map_file: Path | None,
    as_json: bool,
    **rule: str | None,
) -> None:
    """Show which languages are close to one, and by which evidence.

    LANG is a code (yo, yor, pt-BR) or a name (Yoruba). What is chosen is what related(LANG) means
    in an expression: the languages under both thresholds, without LANG itself. Distances are
    URIEL's, between 0 and 1: syntactic from features of grammar, geographic between the places
    where the languages are spoken; the genetic one, of the family tree, is shown beside them.
    """
    _check(among, everything, rule)
    from ..dsl.relatedness import EmptySelectionError, backend
    from ..dsl.relatedness import related as choose

    source = backend(distances or "uriel")
    adapters = _adapters(settings, needed=not among and not everything)
    candidates = among or _candidates(source, adapters or {}, everything=everything)
    given: dict[str, Any] = {name: value for name, value in rule.items() if value is not None}
    empty: EmptySelectionError | None = None
    try:
        selection = choose(language, candidates, source=source, **given)
    except EmptySelectionError as error:
        empty, selection = error, error.selection
        if not among and not everything:
            error.hint = "--among en,ar or --all choose among other languages than the catalogue's"
    if map_file is not None:
        from ..dsl.relatedness.map import draw

        draw(selection, map_file)
    warn(warnings_of(selection))
    if as_json:
        print_json(selection_json(selection, adapters))
    else:
        _print_selection(selection, adapters, shortened=everything)
        if map_file is not None:
            print_text(f"Map written to {map_file}")
    if empty is not None:
        raise empty


def _check(among: Sequence[str], everything: bool, rule: Mapping[str, str | None]) -> None:
    if among and everything:
        raise click.UsageError("--among and --all exclude each other; leave one out")
    if rule["preset"] is not None and (rule["syntactic"] or rule["geographic"]):
        raise click.UsageError(
            "a preset knows no thresholds; leave out --preset, or --syntactic and --geographic"
        )


def _adapters(settings: Settings, *, needed: bool) -> dict[str, list[str]] | None:
    """Return the adapters of the catalogue by language, None where there is no catalogue."""
    from ..store import NoCatalogError

    try:
        hub = settings.open_hub()
    except NoCatalogError as error:
        if not needed:
            return None
        raise CliError(
            f"{error}; or say by --among en,ar or --all which languages to choose from"
        ) from error
    labels: dict[str, list[str]] = {}
    with hub:
        for record in hub.find():
            if record.withdrawn is None and len(record.languages) == 1:
                labels.setdefault(record.languages[0], []).append(record.label)
    return labels


def _candidates(
    source: Backend, adapters: Mapping[str, Sequence[str]], *, everything: bool
) -> list[str]:
    """Return the languages of the catalogue, and of the source where all are asked for."""
    if not everything:
        return sorted(adapters)
    from ..dsl.errors import UnsupportedError

    def code_of(language: str) -> str:
        with suppress(UnsupportedError):  # it becomes a language that cannot be judged
            return source.locate(language).code
        return ""

    known = {code_of(tag) for tag in adapters}
    # A code that another one stands for is no language of its own here.
    others = [code for code in source.languages() if code_of(code) == code and code not in known]
    return [*sorted(adapters), *others]


def _print_selection(
    selection: Selection, adapters: Mapping[str, Sequence[str]] | None, *, shortened: bool
) -> None:
    target = selection.target
    facts = (target.code, target.family or "no family known", target.note)
    print_text(f"{target.name} ({', '.join(filter(None, facts))})")
    print_text(f"{selection.rule}; distances: {selection.backend}, {selection.version}")
    rows = _near(selection) if shortened else selection.rows
    if rows:
        print_text()
        print_languages(rows, adapters)
    if len(rows) < len(selection.rows):
        left_out = len(selection.rows) - len(rows)
        print_text(f"and {left_out:,} more, outside or not judged; --json has all of them")


def _near(selection: Selection) -> tuple[Row, ...]:
    """Return the chosen languages and the nearest misses."""
    chosen = [row for row in selection.rows if row.selected]
    return (*chosen, *selection.misses[:_MOST_MISSES])

"""Commands on what was made of what: lineage, withdraw and outdated."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

import click

from .errors import note
from .options import Settings, Text, json_option, text_option
from .output import can_print, print_json, print_text, print_title
from .records import outdated_json, print_outdated, print_records, summary_json

if TYPE_CHECKING:
    from .graph import Twig

_VERSION: Final = re.compile(r"[^@]+@v[1-9]\d*")
_GUIDES: Final = "│├└─"


@click.command(
    epilog="""\b
Examples:
  isogloss lineage acme/xlsum-yo
  isogloss lineage lm-yo@v1 --descendants
  isogloss lineage acme/xlsum-yo --format mermaid
"""
)
@click.argument("adapter", type=Text(), metavar="NAME")
@click.option(
    "--descendants", is_flag=True, help="Show what was made of it, not what it was made of."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("tree", "mermaid", "dot", "json")),
    help="A tree of lines, a Mermaid flowchart, Graphviz's DOT, or JSON.  [default: tree]",
)
@json_option
@click.pass_obj
def lineage(
    settings: Settings, /, adapter: str, descendants: bool, form: str | None, as_json: bool
) -> None:
    """Show what an adapter was made of, to the last generation.

    NAME is NAME (its latest version), NAME@v2, or sha256:PREFIX of its weights. Numbers are the
    coefficients of the sum. Versions with the same weights and configuration are one node. What
    comes up again is shown in full once, and marked where it comes up again.
    """
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} say different things; leave one out")
    with settings.open_hub() as hub:
        found = hub.lineage(adapter, descendants=descendants)
    from . import graph

    if as_json or form == "json":
        print_json(graph.as_json(found, descendants=descendants))
    elif form == "mermaid":
        print_text(graph.mermaid(found))
    elif form == "dot":
        print_text(graph.dot(found))
    else:
        _print_tree(graph.grow(found, descendants=descendants))
        if not found.edges:
            said = "nothing was made of it" if descendants else "it was not composed of anything"
            note(f"{found.version.label}: {said}")


@click.command(
    epilog="""\b
Examples:
  isogloss withdraw lm-yo@v1 --reason 'trained on the test set'
  isogloss withdraw acme/xlsum-en@v2 --reason 'wrong tokenizer' --json
"""
)
@click.argument("version", type=Text(), metavar="NAME@vN")
@text_option("--reason", required=True, help="Why; it is shown wherever the version turns up.")
@json_option
@click.pass_obj
def withdraw(settings: Settings, /, version: str, reason: str, as_json: bool) -> None:
    """Mark a version as one that should no longer be used.

    Expressions do not choose it any more. It is kept, can still be named, and what was made of it
    can still be verified; that is listed, for you may want to make it again without it.
    """
    if not _VERSION.fullmatch(version):
        raise click.BadParameter(
            f"{version!r} does not say which version; write NAME@vN, as in {_named(version)}@v1",
            param_hint="'NAME@vN'",
        )
    with settings.open_hub() as hub:
        outcome = hub.withdraw(version, reason)
    record = outcome.version
    if as_json:
        print_json(
            {
                "version": record.label,
                "reason": record.withdrawn,
                "created": outcome.created,
                "descendants": [summary_json(descendant) for descendant in outcome.descendants],
            }
        )
        return
    said = f"Withdrew {record.label}" if outcome.created else f"{record.label} is withdrawn already"
    print_text(f"{said}: {record.withdrawn}")
    print_text("Nothing was deleted; expressions just do not choose it any more.")
    if outcome.descendants:
        print_title("Made of it")
        print_records(outcome.descendants)
        print_text()
        print_text("'isogloss compose --again NAME' makes one of them anew from what there is now.")


@click.command(
    epilog="""\b
Examples:
  isogloss outdated
  isogloss outdated acme/xlsum-yo --json
"""
)
@click.argument("name", type=Text(), required=False)
@json_option
@click.pass_obj
def outdated(settings: Settings, /, name: str | None, as_json: bool) -> None:
    """List the compositions that would come out differently today.

    Because there are newer versions of what they are made of, because some of it was withdrawn,
    or because the expression would choose others. NAME asks for one composition alone.
    Something being outdated is an answer, not an error.
    """
    with settings.open_hub() as hub:
        found = hub.outdated(name)
    if as_json:
        print_json([outdated_json(entry) for entry in found])
    elif found:
        print_outdated(found)
    else:
        note("nothing is outdated" if name is None else f"{name} is up to date")


def _print_tree(twigs: tuple[Twig, ...]) -> None:
    from .graph import tree_text, twig_text

    if not sys.stdout.isatty():
        print_text(tree_text(twigs, ascii_only=not can_print(_GUIDES)))
        return
    from rich.console import Console
    from rich.text import Text as Words
    from rich.tree import Tree

    branches: list[Tree] = []
    for twig in twigs:
        words = Words(twig_text(twig), style="dim" if twig.mark else "")
        del branches[twig.depth :]
        branches.append(branches[-1].add(words) if branches else Tree(words))
    Console(file=sys.stdout).print(branches[0])


def _named(version: str) -> str:
    return version.partition("@")[0] or "lm-yo"

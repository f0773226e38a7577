"""The command that catalogues a hub's adapters by their metadata: import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from .errors import note
from .options import Settings, json_option, text_option
from .output import Column, print_json, print_table, print_text, print_title

if TYPE_CHECKING:
    from ..hub.remote.importing import Imported


@click.command(
    "import",
    epilog="""\b
Examples:
  isogloss import --base-model bigscience/mt0-small
  isogloss import --author acme --kind task --task xlsum
  isogloss import --search lora-yo --limit 1000 --json
""",
)
@text_option("--author", metavar="OWNER", help="Only repositories of this user or organisation.")
@text_option("--base-model", "base", metavar="MODEL", help="Only adapters of this base model.")
@text_option("--search", metavar="TEXT", help="Only repositories with this in their names.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="End when so many new ones are catalogued; the next run goes on.",
)
@click.option(
    "--kind",
    type=click.Choice(("task", "lm")),
    help="What those were trained on whose cards do not say it.",
)
@text_option(
    "--language",
    metavar="CODE",
    multiple=True,
    help="Language of those whose cards name none; may be repeated.",
)
@text_option("--task", metavar="TASK", help="Task of those whose cards name none.")
@json_option
@click.pass_obj
def import_(settings: Settings, /, as_json: bool, **wanted: Any) -> None:
    """Catalogue a hub's adapters by their metadata alone.

    Every adapter that fits gets an entry OWNER/REPO at the commit that it has now, from its card
    and its adapter_config.json. No weights are fetched: they come when an expression first needs
    them, from that commit, checked as 'isogloss pull' checks. 'isogloss find here' lists what has
    its weights.

    What the metadata does not say is not guessed: such adapters are skipped, and counted with the
    reason. A run that was cut off is gone on with by the next one, which asks only for what is new
    or has moved. The hub is $HF_ENDPOINT (default: huggingface.co), the token $HF_TOKEN or that of
    'hf auth login'.
    """
    with settings.open_hub() as hub, _shown() as progress:
        outcome = hub.import_adapters(progress=progress, **wanted)
    if as_json:
        print_json(_json(outcome))
    else:
        _print(outcome)


@contextmanager
def _shown() -> Iterator[Callable[[Imported], None] | None]:
    """A line on the terminal that counts along; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("Asking the hub") as status:
        yield lambda now: status.update(
            f"{now.listed:,} listed, {now.catalogued:,} catalogued, {now.skipped.total():,} skipped"
        )


def _json(outcome: Imported) -> dict[str, Any]:
    return {
        "endpoint": outcome.endpoint,
        "listed": outcome.listed,
        "added": outcome.added,
        "updated": outcome.updated,
        "known": outcome.known,
        "skipped": [
            {"reason": reason, "count": count, "examples": outcome.examples[reason]}
            for reason, count in outcome.skipped.most_common()
        ],
        "complete": not outcome.stopped,
    }


def _print(outcome: Imported) -> None:
    print_text(
        f"{outcome.added:,} added, {outcome.updated:,} updated, {outcome.known:,} known before, "
        f"{outcome.skipped.total():,} skipped, of {outcome.listed:,} listed at {outcome.endpoint}"
    )
    if outcome.skipped:
        print_title("Skipped")
        print_table(
            (Column("count", number=True), Column("reason", wrap=True), Column("such as")),
            [
                (count, reason, outcome.examples[reason][0])
                for reason, count in outcome.skipped.most_common()
            ],
        )
    if outcome.stopped:
        note("that was the limit; the same command goes on from here")

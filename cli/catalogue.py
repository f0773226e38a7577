"""Commands on the catalogue: init, add, find and show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import note, warn
from .options import Settings, Text, json_option, text_option
from .output import print_json, print_text
from .records import (
    full_json,
    print_publications,
    print_record,
    print_records,
    publications_json,
    summary_json,
)
from .scores import print_scores, scores_json

if TYPE_CHECKING:
    from ..store import Added


@click.command(
    epilog="""\b
Examples:
  isogloss init
  isogloss --home ./adapters init
"""
)
@click.pass_obj
def init(settings: Settings) -> None:
    """Make a new, empty catalogue.

    It is a folder with a database and the weights beside it; all other commands need it. Where
    one is already, it is left as it is. A database that holds something else is refused.
    """
    from ..hub import AdapterHub

    with AdapterHub.init(settings.home, settings.database) as hub:
        print_text(f"The catalogue is {hub.catalog.location}, its weights go to {hub.blobs.root}")


@click.command(
    epilog="""\b
Examples:
  isogloss add ./runs/text-pt --kind lm --language pt --steps 10000
  isogloss add ./runs/xlsum-en --kind task --task xlsum --language en \\
      --name acme/xlsum-en --license apache-2.0
  isogloss add ./runs/mt --kind task --task translation --language en,yo
  isogloss add ./composed
  isogloss add acme/xlsum-yo@v2
"""
)
@click.argument("source", type=Text(), metavar="SOURCE")
@click.option(
    "--kind",
    type=click.Choice(("task", "lm")),
    help="task: trained on labelled data of a task; lm: on plain text of a language."
    "  [default: from the card or the lock]",
)
@text_option(
    "--language",
    metavar="CODE",
    multiple=True,
    help="Language, as an ISO 639 or BCP 47 code (en, yor, pt-BR). Repeat it, or join codes by"
    " commas, for an adapter that was trained on several.  [default: from the folder]",
)
@text_option("--task", metavar="TASK", help="Its task, such as xlsum.")
@text_option(
    "--name",
    metavar="NAME",
    help="NAME or OWNER/NAME in the catalogue.  [default: TASK-CODE or lm-CODE]",
)
@text_option("--dataset", metavar="NAME", help="Data set that it was trained on.")
@text_option("--dataset-revision", metavar="REVISION", help="Revision of the data set.")
@text_option("--objective", help="Training objective, such as prefix-lm.")
@text_option("--base", metavar="MODEL", help="Base model.  [default: from adapter_config.json]")
@text_option("--base-revision", metavar="REVISION", help="Commit of the base model.")
@click.option("--steps", metavar="N", type=click.IntRange(min=0), help="Training steps.")
@click.option(
    "--batch-size", metavar="N", type=click.IntRange(min=1), help="Examples in one training step."
)
@click.option("--learning-rate", metavar="X", type=float, help="Peak learning rate.")
@click.option("--seed", metavar="N", type=int, help="Seed of the training.")
@text_option("--license", help="Licence, such as apache-2.0.")
@text_option("--note", help="Anything else worth knowing.")
@json_option
@click.pass_obj
def add(settings: Settings, /, source: str, as_json: bool, **facts: Any) -> None:
    """Put an adapter from a PEFT folder or a hub into the catalogue.

    The folder is one that PEFT's save_pretrained wrote: adapter_config.json and
    adapter_model.safetensors. What its configuration, its README.md and its trainer_state.json
    say is taken over; the options add to that and correct it.

    A name that is there already gets its next version, unless weights, configuration and all
    that is said about them are equal to the latest one: then nothing is added. Nothing is stored
    of an adapter that is damaged. A folder that isogloss composed keeps its lineage.

    SOURCE is a folder. OWNER/REPO or OWNER/REPO@REVISION, where there is no folder OWNER, is a
    repository, as 'isogloss pull' takes it.
    """
    with settings.open_hub() as hub:
        added = hub.pull(source, **facts) if _is_remote(source) else hub.add(source, **facts)
    print_added(added, as_json)


def _is_remote(source: str) -> bool:
    """Whether a source is a repository at a hub: it looks like one, and no folder is meant."""
    repo = source.partition("@")[0]
    if source.startswith((".", "/", "~")) or Path(source).exists():
        return False
    from ..hub.remote.names import is_repository

    return is_repository(repo) and not Path(repo.partition("/")[0]).exists()


def print_added(added: Added, as_json: bool) -> None:
    """Print what became of adding an adapter."""
    record = added.version
    warn(added.warnings)
    if as_json:
        print_json({"added": added.created, "warnings": list(added.warnings)} | full_json(record))
    elif added.created:
        print_text(f"Added {record.label}")
    else:
        print_text(f"{record.label} is the same; nothing was added")


@click.command(
    epilog="""\b
Examples:
  isogloss find
  isogloss find --kind lm --language pt
  isogloss find 'task = xlsum and steps >= 5000 and not withdrawn' --sort -created
  isogloss find 'name ~ acme/ and (language = yo or language = ha)' --json

\b
A query compares fields with values by = != < <= > >= and ~ (contains), and joins that by
and, or, not and parentheses. The fields are
  name version kind language task dataset dataset_revision objective base base_revision
  peft rank alpha parameters dtype steps batch_size learning_rate seed license note source
  digest config_digest size created here withdrawn
"""
)
@click.argument("query", default="")
@text_option("--language", metavar="CODE", help="Only this language.")
@text_option("--task", metavar="TASK", help="Only this task.")
@click.option("--kind", type=click.Choice(("task", "lm", "composed")), help="Only this kind.")
@text_option("--base", metavar="MODEL", help="Only this base model.")
@text_option("--peft", metavar="TYPE", help="Only this PEFT type, such as LORA.")
@text_option("--sort", metavar="FIELD", help="Sort by a field; -FIELD sorts downwards.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), help="List no more than this many."
)
@click.option("--all-versions", is_flag=True, help="List all versions, not just the latest.")
@json_option
@click.pass_obj
def find(settings: Settings, /, query: str, as_json: bool, **options: Any) -> None:
    """List the adapters that fit a query.

    Without a query and options that is all of them, each in its latest version. Those that were
    imported have no digest and no size until their weights are here; 'here' and 'not here' are
    queries.
    """
    with settings.open_hub() as hub:
        records = hub.find(query, **options)
    if as_json:
        print_json([summary_json(record) for record in records])
    elif records:
        print_records(records)
    else:
        note("nothing was found")


@click.command(
    epilog="""\b
Examples:
  isogloss show acme/xlsum-en
  isogloss show acme/xlsum-en@v2 --json
  isogloss show sha256:9f86d081884c
"""
)
@click.argument("adapter", type=Text())
@json_option
@click.pass_obj
def show(settings: Settings, /, adapter: str, as_json: bool) -> None:
    """Show all that is known about one adapter.

    ADAPTER is NAME (its latest version), NAME@v2, or sha256:PREFIX of its weights. How it scored
    and where it was published from here stand at the end.
    """
    with settings.open_hub() as hub:
        record = hub.show(adapter)
        scores = hub.catalog.evaluations.of(record.name, record.version)
        published = hub.catalog.publications.of(record.name, record.version)
    if as_json:
        known = {"scores": scores_json(scores), "publications": publications_json(published)}
        print_json(full_json(record) | known)
    else:
        print_record(record)
        print_scores(scores)
        print_publications(published)

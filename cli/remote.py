"""Commands that speak to a hub: publish and pull."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from .catalogue import print_added
from .errors import note
from .options import Settings, Text, json_option, text_option
from .output import Column, print_json, print_table, print_text, print_title, size

if TYPE_CHECKING:
    from ..hub.remote.publish import Published


@click.command(
    epilog="""\b
Examples:
  isogloss publish xlsum-yo acme/xlsum-yo
  isogloss publish xlsum-yo@v2 acme/xlsum-yo --tag best --private
  isogloss publish xlsum-yo acme/xlsum-yo --dry-run
  isogloss publish xlsum-yo acme/xlsum-yo --card
"""
)
@click.argument("adapter", type=Text(), metavar="NAME")
@click.argument("repo", type=Text(), metavar="OWNER/REPO")
@text_option("--tag", help="Tag of this version there.  [default: v and its number here]")
@click.option("--private", is_flag=True, help="Make the new repository private.")
@text_option("--message", metavar="TEXT", help="Message of the commit.")
@click.option(
    "--card",
    is_flag=True,
    help="Only renew the card on the main branch, for results that came later; moves no tag.",
)
@click.option("--dry-run", is_flag=True, help="Show files, card and commands, and send nothing.")
@json_option
@click.pass_obj
def publish(
    settings: Settings, /, adapter: str, repo: str, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Publish an adapter to the Hugging Face Hub, or to your own.

    NAME is NAME (its latest version) or NAME@v2. The repository is made if need be. One commit
    holds the weights, the configuration, the card, scores where there are any, and the lock of
    what was composed. What arrived is compared with what was sent, and a tag is put on the commit.
    The same version again makes no commit, whatever its card would say now (--card renews that);
    so after whatever went wrong, run the same command again. A tag that is on something else, and
    somebody else's changes to the same files, stop it in words.

    The hub is $HF_ENDPOINT (default: huggingface.co), the token $HF_TOKEN or that of
    'hf auth login'.
    """
    if options["card"] and options["tag"]:
        raise click.UsageError("--card moves no tag; leave --tag out")
    if options["card"] and options["private"]:
        raise click.UsageError("--card makes no repository; leave --private out")
    with settings.open_hub() as hub:
        published = hub.publish(adapter, repo, dry_run=dry_run, **options)
    if as_json:
        print_json(_published_json(published))
    elif dry_run:
        _print_rehearsal(published, options["message"], private=options["private"])
    else:
        _print_published(published)


@click.command(
    epilog="""\b
Examples:
  isogloss pull acme/xlsum-yo
  isogloss pull acme/xlsum-yo@v2 --name xlsum-yo
  isogloss pull ann/lora-en --kind task --task xlsum --language en
"""
)
@click.argument("reference", type=Text(), metavar="OWNER/REPO[@TAG|SHA]")
@text_option("--name", metavar="NAME", help="Its name here.  [default: OWNER/REPO]")
@click.option(
    "--kind",
    type=click.Choice(("task", "lm")),
    help="task: trained on labelled data of a task; lm: on plain text.  [default: from the card]",
)
@text_option(
    "--language",
    metavar="CODE",
    multiple=True,
    help="Language, as an ISO 639 or BCP 47 code; may be repeated.  [default: from the card]",
)
@text_option("--task", metavar="TASK", help="Its task, such as xlsum.  [default: from the card]")
@text_option("--base", metavar="MODEL", help="Base model.  [default: from adapter_config.json]")
@json_option
@click.pass_obj
def pull(settings: Settings, /, reference: str, as_json: bool, **facts: Any) -> None:
    """Put an adapter from the Hugging Face Hub, or your own, into the catalogue.

    It is pinned to the commit that the tag or branch has now, complete or not taken at all, and
    compared with the hub's checksums. Only safetensors are taken. What isogloss composed keeps
    its lineage and is compared with its lock too; 'isogloss verify --fetch' makes it again.
    """
    with settings.open_hub() as hub:
        added = hub.pull(reference, **facts)
    print_added(added, as_json)


def _published_json(published: Published) -> dict[str, Any]:
    return {
        "version": published.version.label,
        "endpoint": published.endpoint,
        "repo": published.repo,
        "tag": published.tag,
        "commit": published.commit,
        "created": published.created,
        "files": [
            {"path": one.path, "size_bytes": one.size_bytes, "sha256": one.sha256}
            for one in published.files
        ],
        "card": published.card,
    }


def _print_published(published: Published) -> None:
    where = f"{published.endpoint}/{published.repo}"
    commit = (published.commit or "")[:12]
    if published.tag is None:
        said = "Renewed the card of" if published.created else "The card is the same in"
        print_text(f"{said} {where}, commit {commit}")
        return
    label = published.version.label
    if published.created:
        print_text(f"Published {label} to {where}, tag {published.tag}, commit {commit}")
        print_text(f"Verified: {len(published.files)} files are there as they are here")
    else:
        print_text(
            f"{label} is in {where} already, tag {published.tag}, commit {commit}; no new commit"
        )
    note(f"isogloss pull {published.repo}@{published.tag}")


def _print_rehearsal(published: Published, message: str | None, *, private: bool) -> None:
    label, repo, tag = published.version.label, published.repo, published.tag
    what = f"publish {label} to" if tag else f"renew the card of {label} at"
    print_text(f"Would {what} {published.endpoint}/{repo}")
    print_title("Files")
    columns = [Column("path"), Column("size", number=True), Column("sha256")]
    print_table(columns, [(one.path, size(one.size_bytes), one.sha256) for one in published.files])
    print_title("Card")
    print_text(published.card.rstrip("\n"))
    print_title("Commands")
    options = ["--tag", tag] if tag else ["--card"]
    options += ["--private"] if private else []
    options += ["--message", message] if message else []
    print_text(shlex.join(["isogloss", "publish", label, repo, *options]))
    if tag:
        print_text(shlex.join(["isogloss", "pull", f"{repo}@{tag}"]))
        print_text(shlex.join(["hf", "download", repo, "--revision", tag]))

"""Fetches, checks, cleans and splits Debian's descriptions: `python -m isogloss.lab.debian FOLDER`.

Writes FOLDER/LANGUAGE/{train,dev,test}.jsonl (fields id, document, summary), texts.jsonl (field
text: the long descriptions of the training side) and FOLDER/dataset.json (where all came from).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import click

from ..errors import DataError, LabError
from .files import (
    KEYRING,
    LANGUAGES,
    MIRROR,
    SUITE,
    check_pins,
    digests_of,
    fetch_descriptions,
    find_descriptions,
)
from .pairs import Dataset, Limits, make_dataset
from .stanzas import read_descriptions

LICENCE = (
    "Each description belongs to its package and is under that package's licence, all of them free "
    "by Debian's guidelines (see the package's copyright file)."
)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--language", "languages", multiple=True, help="Debian's code; all fifteen if none.")
@click.option(
    "--lists",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Translation files that are already here, instead of fetching.",
)
@click.option("--mirror", default=MIRROR, show_default=True, help="Where apt fetches from.")
@click.option("--keyring", default=KEYRING, show_default=True, help="Debian's archive keys.")
@click.option(
    "--longest",
    type=click.IntRange(min=100),
    help="Cut documents at the end of a word after so many characters (a CPU is grateful).",
)
@click.option(
    "--accept-changed", is_flag=True, help="Go on where a file is not the one that was pinned."
)
def main(
    folder: Path,
    languages: tuple[str, ...],
    lists: Path | None,
    mirror: str,
    keyring: str,
    longest: int | None,
    accept_changed: bool,
) -> None:
    """Make the data set of Debian's package descriptions in FOLDER."""
    try:
        limits = Limits(longest=longest)
        sizes = prepare(folder, languages, lists, limits, mirror, keyring, accept_changed)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    for language, size in sizes.items():
        click.echo(f"{language}\t" + "\t".join(f"{split} {n}" for split, n in size.items()))


def prepare(
    folder: Path,
    languages: Iterable[str],
    lists: Path | None,
    limits: Limits,
    mirror: str = MIRROR,
    keyring: str = KEYRING,
    accept_changed: bool = False,
) -> dict[str, dict[str, int]]:
    """Make the data set; return the number of pairs by language and split.

    Raises DataError for an unknown language, for what cannot be fetched or found, and, unless
    accept_changed, where a file's sha256 is not the recorded one.
    """
    chosen = tuple(languages) or tuple(LANGUAGES)
    unknown = [language for language in chosen if language not in LANGUAGES]
    if unknown:
        raise DataError(
            f"unknown language {unknown[0]!r}; Debian's codes here are: {', '.join(LANGUAGES)}"
        )
    # English is needed always: it tells what a translation has left untranslated.
    wanted = tuple(dict.fromkeys(("en", *chosen)))
    where = lists or fetch_descriptions(folder / "apt", wanted, mirror=mirror, keyring=keyring)
    found = find_descriptions(where, wanted)
    digests = digests_of(found)
    changed = check_pins(digests)
    if changed and not accept_changed:
        raise DataError(
            f"not the pinned files: {', '.join(changed)} (sha256 differs from pins.tsv). Debian "
            "changes them at point releases; the figures of a published report then need not come "
            "out again. To go on with what is served today: --accept-changed"
        )
    english = {found.package: found for found in read_descriptions(found["en"])}
    made = {}
    for language in chosen:
        original = None if language == "en" else english
        dataset = make_dataset(read_descriptions(found[language]), limits, original=original)
        made[LANGUAGES[language]] = dataset
        write(folder / LANGUAGES[language], dataset)
    record(folder / "dataset.json", made, limits, digests, changed)
    return {
        language: {split: len(pairs) for split, pairs in dataset.pairs.items()}
        for language, dataset in made.items()
    }


def write(folder: Path, dataset: Dataset) -> None:
    """Write a language's splits and the texts of its training side as JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in dataset.pairs.items():
        rows = [{"id": p.package, "document": p.document, "summary": p.summary} for p in pairs]
        _write_lines(folder / f"{split}.jsonl", rows)
    texts = [{"id": p.package, "text": p.document} for p in dataset.pairs["train"]]
    _write_lines(folder / "texts.jsonl", texts)


def _write_lines(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def record(
    path: Path,
    made: Mapping[str, Dataset],
    limits: Limits,
    digests: Mapping[str, str],
    changed: Iterable[str],
) -> None:
    """Write where the data came from, what was left out and why, and how much there is."""
    content = {
        "source": f"Debian {SUITE}, main: Translation files",
        "licence": LICENCE,
        "sha256": dict(digests),
        "other_than_pinned": list(changed),
        "limits": asdict(limits),
        "languages": {
            language: {
                **{split: len(pairs) for split, pairs in dataset.pairs.items()},
                "dropped": dict(dataset.dropped),
            }
            for language, dataset in made.items()
        },
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

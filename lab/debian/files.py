"""Fetches Debian's Translation files with apt, which checks their signatures, and pins them.

apt is given a configuration of its own, so nothing changes on the system and no rights are needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from hashlib import file_digest
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

from ..errors import DataError

MIRROR = "http://deb.debian.org/debian"
SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Debian's names of the languages, and the language tags of the same.
LANGUAGES: Mapping[str, str] = {
    "en": "en", "da": "da", "it": "it", "fr": "fr", "de": "de", "sk": "sk", "pt_BR": "pt-BR",
    "ja": "ja", "ko": "ko", "uk": "uk", "pl": "pl", "ru": "ru", "cs": "cs", "es": "es",
    "zh_CN": "zh-CN",
}  # fmt: skip


def fetch_descriptions(
    folder: Path, languages: Iterable[str], *, mirror: str = MIRROR, keyring: str = KEYRING
) -> Path:
    """Have apt fetch the languages' Translation files; return the folder in which they lie.

    Raises DataError where apt or Debian's keyring is missing, or where apt fails, in its words.
    """
    if shutil.which("apt-get") is None:
        raise DataError(
            "apt-get is not on this machine: run this on Debian or Ubuntu, "
            "or give a folder with Translation files fetched elsewhere (--lists)"
        )
    if not Path(keyring).is_file():
        raise DataError(
            f"Debian's archive keys are not at {keyring}: install debian-archive-keyring, "
            "or say where they are (--keyring)"
        )
    configuration = _configure(folder.resolve(), languages, mirror, keyring)
    variables = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
    command = ("apt-get", "update", "--error-on=any", "-qq")
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"apt-get update failed: {done.stderr.strip() or done.stdout.strip()}")
    return folder / "lists"


def _configure(folder: Path, languages: Iterable[str], mirror: str, keyring: str) -> Path:
    for part in ("lists/partial", "cache/archives/partial", "parts"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    sources = folder / "debian.sources"
    sources.write_text(
        f"Types: deb\nURIs: {mirror}\nSuites: {SUITE}\nComponents: main\nSigned-By: {keyring}\n"
    )
    configuration = folder / "apt.conf"
    wanted = "".join(f'"{language}"; ' for language in languages)
    # An empty folder of parts: those of the system often say Acquire::Languages "none".
    configuration.write_text(
        f'Dir::Etc::parts "{folder}/parts";\n'
        f'Dir::Etc::sourcelist "{sources}";\n'
        'Dir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{folder}/lists";\n'
        f'Dir::Cache "{folder}/cache";\n'
        f"Acquire::Languages {{ {wanted}}};\n"
    )
    return configuration


def find_descriptions(lists: Path, languages: Iterable[str]) -> dict[str, Path]:
    """Return each language's Translation file in apt's folder of lists.

    Raises DataError where one is missing (with those that are there) or there twice.
    """
    there: dict[str, list[Path]] = {}
    for path in sorted(lists.glob("*Translation-*")):
        there.setdefault(unquote(path.name).rpartition("Translation-")[2], []).append(path)
    found = {}
    for language in languages:
        paths = there.get(language, [])
        if len(paths) != 1:
            what = "no Translation file" if not paths else f"{len(paths)} Translation files"
            known = ", ".join(sorted(there)) or "none"
            raise DataError(f"{what} of {language!r} in {lists}; there are: {known}")
        found[language] = paths[0]
    return found


def pins() -> dict[str, str]:
    """Return the recorded sha256 of each language's Translation file (pins.tsv)."""
    text = files(__package__).joinpath("pins.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return dict(rows)


def digests_of(found: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of each file."""
    digests = {}
    for language, path in found.items():
        with path.open("rb") as stream:
            digests[language] = file_digest(stream, "sha256").hexdigest()
    return digests


def check_pins(digests: Mapping[str, str]) -> list[str]:
    """Return the languages whose file is another than the recorded one, in order."""
    recorded = pins()
    return [language for language, digest in digests.items() if recorded.get(language) != digest]

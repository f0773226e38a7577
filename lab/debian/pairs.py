"""Cleans, thins and splits descriptions into pairs, so that no family of packages is on two sides.

Debian has families of near-identical packages (one for each version, plug-in or language). They
share the stem of their name; the split is decided by the stem alone, so that a family lies on one
side in every language, and only a few of a family are kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from .stanzas import Description

SPLITS = ("train", "dev", "test")
# Prefixes of an ecosystem, not of a family: python3-numpy and python3-yaml are no relatives.
ECOSYSTEM = re.compile(
    r"^(librust-|lib(?!reoffice)(?=..)|python3?-(django-)?|ruby-|node-|golang-[a-z]+-|r-[a-z]+-"
    r"|php-|elpa-|gir1\.2-|haskell-|ghc-|ocaml-)"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept: at most `family` pairs of a stem in a language, with bodies of at least
    `body` characters and synopses of at least `synopsis`; `dev` and `test` are per mille of stems.

    longest: characters after which a document is cut, at the end of a word; None leaves it whole.
    """

    family: int = 4
    body: int = 60
    synopsis: int = 8
    dev: int = 100
    test: int = 100
    longest: int | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A package's long description and, as its summary, the synopsis."""

    package: str
    document: str
    summary: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """One language: its pairs by split, and why others were left out (reason -> number)."""

    pairs: Mapping[str, tuple[Pair, ...]]
    dropped: Mapping[str, int]


def stem_of(package: str) -> str:
    """Return the stem that a family of packages shares.

    >>> stem_of("libboost1.74-dev"), stem_of("boost-build"), stem_of("python3-numpy")
    ('boost', 'boost', 'numpy')
    """
    name = ECOSYSTEM.sub("", package.lower())
    first = re.split(r"[-.+_]", name)[0].rstrip("0123456789")
    return first if len(first) > 1 else name


def split_of(stem: str, limits: Limits) -> str:
    """Return the side a stem lies on: the same for all languages, and for all time."""
    place = int(sha256(stem.encode()).hexdigest()[:8], 16) % 1000
    if place < limits.test:
        return "test"
    return "dev" if place < limits.test + limits.dev else "train"


def make_dataset(
    descriptions: Iterable[Description],
    limits: Limits,
    *,
    original: Mapping[str, Description] | None = None,
) -> Dataset:
    """Return a language's pairs: distinct synopses and bodies, few of a family, split by stem.

    original: the English descriptions by package, where this is a translation: what is translated
    only in part (a paragraph or the synopsis is still the English one) is left out.
    """
    pairs: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    families: Counter[str] = Counter()
    # By a hash, not by name: the first of a family by name are its oldest versions.
    for found in sorted(descriptions, key=lambda d: sha256(d.package.encode()).digest()):
        document = _cut("\n".join(found.paragraphs), limits.longest)
        pair = Pair(found.package, document, found.synopsis)
        stem = stem_of(found.package)
        marks = {f"synopsis {_plain(pair.summary)}", f"document {_plain(pair.document)}"}
        reason = _short(pair, limits) or _untranslated(found, original)
        if reason is None and marks & seen:
            reason = "repeated"
        if reason is None and families[stem] >= limits.family:
            reason = "family"
        if reason is not None:
            dropped[reason] += 1
            continue
        seen |= marks
        families[stem] += 1
        pairs[split_of(stem, limits)].append(pair)
    return Dataset({split: tuple(kept) for split, kept in pairs.items()}, dict(dropped))


def _cut(document: str, longest: int | None) -> str:
    if longest is None or len(document) <= longest:
        return document
    cut = document[: longest + 1]
    # Chinese and Japanese have no blanks to cut at.
    end = max(cut.rfind(" "), cut.rfind("\n"))
    return cut[:end] if end > longest // 2 else cut[:longest]


def _short(pair: Pair, limits: Limits) -> str | None:
    # Chinese, Japanese and Korean say as much with a third of the characters.
    weight = 3 if re.search(r"[぀-ヿ一-鿿가-힯]", pair.summary) else 1
    enough = len(pair.document) * weight >= limits.body
    return None if enough and len(pair.summary) * weight >= limits.synopsis else "short"


def _untranslated(found: Description, original: Mapping[str, Description] | None) -> str | None:
    english = None if original is None else original.get(found.package)
    if english is None:
        return None
    same = found.synopsis == english.synopsis or any(
        # Names, addresses and lists of files are the same in every language.
        len(paragraph) >= 40 and paragraph in english.paragraphs
        for paragraph in found.paragraphs
    )
    return "untranslated" if same else None


def _plain(text: str) -> str:
    """Return a text without case, digits and punctuation: versions of one thing become equal."""
    return " ".join(re.sub(r"[\W\d_]+", " ", text.casefold()).split())

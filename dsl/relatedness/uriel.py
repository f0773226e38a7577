"""URIEL's distances, computed from the features that lang2vec ships.

Littell et al. 2017, URIEL and lang2vec: Representing languages as typological, geographical, and
phylogenetic vectors (EACL 2017, E17-2002) published a table of distances between all pairs of
languages, which the package on PyPI lacks. The formulas below give that table's numbers back; they
were held against 2,250 pairs of it.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from operator import sub

from .backend import Kind
from .cache import snapshot
from .codes import Located, locate
from .snapshot import FEATURES, Snapshot

_UNIT = 10_000
"""URIEL's table has four decimals, so every distance is a whole number of these."""
_PRIVATE = {"cmn": 1, "yue": 1}
"""Features of URIEL's table that only one language has, and that lang2vec's data lack."""
_FEW = 10


class Uriel:
    """Distances by URIEL's formulas, from the data of the installed lang2vec.

    Raises:
        UnsupportedError: lang2vec is not installed, or its data are damaged.
    """

    name = "uriel"

    def __init__(self, facts: Snapshot | None = None) -> None:
        self._facts = snapshot() if facts is None else facts

    @property
    def version(self) -> str:
        """The version of the lang2vec that the data are from."""
        return f"lang2vec {self._facts.version}"

    def languages(self) -> tuple[str, ...]:
        """Return every ISO 639-3 code in URIEL, sorted."""
        return self._facts.codes

    def locate(self, language: str) -> Located:
        """Find the ISO 639-3 code whose data stand for a language; see `codes.locate`."""
        return locate(language, self._facts.__contains__)

    def caution(self, code: str) -> str:
        """Say so where hardly any syntactic features of a language are known."""
        known = self._facts.known(code)
        if known >= _FEW or not self._facts.syntax(code):
            return ""
        return f"only {known} of {FEATURES} syntactic features of {code} are known"

    def distances(
        self, kind: Kind, code: str, others: Sequence[str]
    ) -> tuple[Fraction | None, ...]:
        """Return the distances between a code and others; None where one is not known.

        See `syntactic`, `geographic` and `genetic` for the formulas.
        """
        if not self._has(kind, code):
            return (None,) * len(others)
        measure = _MEASURES[kind]
        return tuple(
            measure(self._facts, code, other) if self._has(kind, other) else None
            for other in others
        )

    def missing(self, kind: Kind, code: str, other: str) -> str:
        """Return why a distance is not known, for a message."""
        without = other if self._has(kind, code) else code
        return _MISSING[kind].format(without)

    def _has(self, kind: Kind, code: str) -> bool:
        if kind == "syntactic":
            return self._facts.syntax(code) > 0
        if kind == "geographic":
            return self._facts.place(code) is not None
        return bool(self._facts.lineage(code))

    def lineage(self, code: str) -> tuple[str, ...]:
        """Return a code's ancestors in Glottolog, the family first."""
        return self._facts.lineage(code)

    def place(self, code: str) -> tuple[float, float] | None:
        """Return latitude and longitude, recovered from the distances to the fixed points."""
        return self._facts.place(code)


def syntactic(facts: Snapshot, one: str, other: str) -> Fraction:
    """Return the angle between two languages' syntactic features; see `angle`.

    The features are 98 of the columns `S_*` of lang2vec's `features.npz`; one is present where any
    source says so, and what nobody knows counts as absent. URIEL's table treats a language of
    which nothing is known as one that has every feature; here it has no distances.
    """
    if one == other:
        return Fraction(0)
    private = _PRIVATE.get(one, 0), _PRIVATE.get(other, 0)
    return angle(facts.syntax(one), facts.syntax(other), private)


def angle(here: int, there: int, private: tuple[int, int] = (0, 0)) -> Fraction:
    """Return (2/pi) arccos(cosine) of two sets of features, to four decimals.

    Args:
        here, there: the features that are present, as bits; at least one each.
        private: how many more each has that no other language has.
    """
    sizes = here.bit_count() + private[0], there.bit_count() + private[1]
    cosine = (here & there).bit_count() / math.sqrt(sizes[0] * sizes[1])
    return _rounded(2 / math.pi * math.acos(min(1.0, cosine)))


def geographic(facts: Snapshot, one: str, other: str) -> Fraction:
    """Return the great-circle distance between two languages over half the Earth's circumference.

    lang2vec gives a place by its distances to 299 fixed points, in the same unit. The largest
    difference between two places' distances to one point is at most their own distance, and
    reaches it where a point lies in line with both: it is at most 0.002 short of URIEL's number.
    """
    here, there = facts.geography(one) or (), facts.geography(other) or ()
    return Fraction(max(map(abs, map(sub, here, there))), _UNIT)


def genetic(facts: Snapshot, one: str, other: str) -> Fraction:
    """Return how far up the family tree two languages meet, to four decimals.

    URIEL's number is the steps up from a language to where both meet, over the steps from it to
    the root: 1 - shared / (ancestors + 1). It depends on where one starts (from English to where
    it meets Slovak .9, the other way .8333), and lang2vec answers with one of the two. Here it is
    the larger one, that of the deeper language: 1 - |A & B| / max(|A|, |B|) of both languages'
    ancestors and themselves, which is symmetric and obeys the triangle inequality. It is the
    larger of URIEL's numbers exactly, but for languages whose smallest clades lang2vec's features
    lack (French, Portuguese; up to .12 too near).
    """
    if one == other:
        return Fraction(0)
    here, there = facts.lineage(one), facts.lineage(other)
    shared = len(set(here) & set(there))
    return _rounded(1 - shared / (max(len(here), len(there)) + 1))


_MEASURES = {"syntactic": syntactic, "geographic": geographic, "genetic": genetic}
_MISSING = {
    "syntactic": "URIEL knows no syntactic feature that {} has",
    "geographic": "URIEL does not know where {} is spoken",
    "genetic": "URIEL has no family for {}, as for isolates and unclassified languages",
}


def _rounded(distance: float) -> Fraction:
    return Fraction(round(distance * _UNIT), _UNIT)

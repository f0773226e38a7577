"""Weighing languages by how close they are to a target."""

from collections.abc import Iterable
from fractions import Fraction

from ..errors import CheckError, UnsupportedError, quoted
from .backend import Backend, backend
from .evidence import Measure, gather, kinds_of
from .selection import distance_of


def weights(
    target: str,
    languages: Iterable[str],
    by: Measure = "syntactic",
    source: Backend | None = None,
) -> dict[str, Fraction]:
    """Weigh languages by how close they are to the target: 1 - distance, scaled to sum to 1.

    The weights are exact. The target itself, where it is among the languages, is at distance zero.

    Args:
        target: a language code, tag or name.
        languages: the languages to weigh.
        by: a kind of distance, or the mean of all three.
        source: where the distances are from; URIEL if None.

    Returns:
        The weight of each language, as given.

    Raises:
        LanguageError: one of them is no language.
        UnsupportedError: a distance is not known, or all of them are 1.
        CheckError: there are no languages, or there is no such distance.
    """
    kinds_of(by)
    evidence = gather(target, languages, source or backend())
    evidence.require(by)
    if not evidence.rows:
        raise CheckError("there are no languages to weigh")
    unknown = [row for row in evidence.rows if row.distance(by) is None]
    if unknown:
        raise UnsupportedError(
            f"{quoted(unknown[0].language)} cannot be weighed by its {by} distance to "
            f"{quoted(target)}: {evidence.missing(unknown[0], by)}"
        )
    closeness = {row.language: 1 - distance_of(row, by) for row in evidence.rows}
    total = sum(closeness.values(), Fraction(0))
    if not total:
        raise UnsupportedError(
            f"no language can be weighed by its {by} distance to {quoted(target)}: all are 1"
        )
    return {language: near / total for language, near in closeness.items()}

"""The rules by which languages are chosen for a target.

They are pure: the same languages and data give the same choice. None of them chooses the target
itself or another tag of the same language, such as `pt-BR` for `pt`.
"""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

from ..errors import CheckError, UnsupportedError, quoted
from ..number import fraction_text
from .backend import KINDS, Backend, Kind, backend
from .codes import stands_for
from .evidence import Evidence, Measure, Row, Status, gather, kinds_of
from .presets import PRESETS, published
from .selection import (
    EmptySelectionError,
    Order,
    Selection,
    distance_of,
    filled,
    known,
    select,
    shown,
)

Number: TypeAlias = Fraction | int | float | str


def related(
    target: str,
    candidates: Iterable[str],
    syntactic: Number = Fraction(7, 10),
    geographic: Number = Fraction(3, 10),
    preset: str | None = None,
    source: Backend | None = None,
) -> Selection:
    """Choose the languages with both distances to the target under a threshold.

    Args:
        target: a language code, tag or name.
        candidates: the languages to choose from.
        syntactic, geographic: the thresholds, between 0 and 1, that a distance must be under.
        preset: "table5" takes the languages that the paper's Table 5 has for the target instead
            (the thresholds do not count then, and as stated do not give that table).
        source: where the distances are from; URIEL if None.

    Raises:
        EmptySelectionError: no language fits; it names the nearest miss.
        LanguageError: one of them is no language.
        UnsupportedError: there are no distances to the target, or the preset lacks it.
        CheckError: a threshold or preset that cannot be.

    Source:
        Chronopoulou et al. 2023, arXiv:2311.09344, sections 2.2 and 5.4.
    """
    evidence = gather(target, candidates, source or backend())
    if preset is not None:
        return _preset(evidence, preset)
    limits: dict[Kind, Fraction] = {
        "syntactic": _threshold("syntactic", syntactic),
        "geographic": _threshold("geographic", geographic),
    }

    def excess(row: Row) -> tuple[Fraction, ...]:
        over = [max(Fraction(0), distance_of(row, kind) - limit) for kind, limit in limits.items()]
        return sum(over, Fraction(0)), distance_of(row, "syntactic"), distance_of(row, "geographic")

    def judge(row: Row) -> tuple[Status, str]:
        far = [kind for kind, limit in limits.items() if distance_of(row, kind) >= limit]
        verb = "is not" if far else "is"
        said = [
            f"{kind} {shown(distance_of(row, kind))} {verb} under {fraction_text(limits[kind])}"
            for kind in far or limits
        ]
        return "outside" if far else "chosen", " and ".join(said)

    stated = "".join(f", {kind}={fraction_text(limit)}" for kind, limit in limits.items())
    rule = f"related({evidence.target.language}{stated})"
    selection = select(evidence, rule, tuple(limits), excess, judge)
    return filled(replace(selection, radius=limits["geographic"]), tuple(limits))


def nearest(
    target: str,
    candidates: Iterable[str],
    k: int,
    by: Measure = "syntactic",
    source: Backend | None = None,
) -> Selection:
    """Choose the k languages that are nearest to the target.

    Languages at the same distance are ordered by their syntactic, then geographic, then genetic
    distance, then by their tag.

    Args:
        target: a language code, tag or name.
        candidates: the languages to choose from.
        k: how many to choose.
        by: a kind of distance, or the mean of all three.
        source: where the distances are from; URIEL if None.

    Raises:
        EmptySelectionError: there are fewer than k languages with distances.
        LanguageError: one of them is no language.
        UnsupportedError: there are no distances to the target.
        CheckError: k is less than 1, or there is no such distance.
    """
    if k < 1:
        raise CheckError(f"nearest(..., {k}) chooses nothing; k would be 1 or more")
    kinds = kinds_of(by)
    evidence = gather(target, candidates, source or backend())

    def place(row: Row) -> tuple[Fraction, ...]:
        others = (row.syntactic, row.geographic, row.genetic)
        # A distance that is not known loses every tie.
        return distance_of(row, by), *(Fraction(2) if one is None else one for one in others)

    ranked = sorted(known(evidence, kinds), key=lambda row: (place(row), row.tag))
    rank_by_tag = {row.tag: rank for rank, row in enumerate(ranked, 1)}
    tie = _tie(ranked[k - 1 : k + 1], place)

    def judge(row: Row) -> tuple[Status, str]:
        rank = rank_by_tag[row.tag]
        reason = f"number {rank} by {by} distance: {shown(distance_of(row, by))}"
        if rank in (k, k + 1):
            reason += tie
        return "chosen" if rank <= k else "outside", reason

    rule = f"nearest({evidence.target.language}, {k}, by={by})"
    selection = select(evidence, rule, kinds, place, judge)
    if len(ranked) < k:
        have = f"only {', '.join(selection.languages)}" if ranked else "no language with distances"
        raise EmptySelectionError(f"{rule}: there is {have} to choose from", selection)
    return selection


def family(target: str, candidates: Iterable[str], source: Backend | None = None) -> Selection:
    """Choose the languages of the target's family, by Glottolog's classification in URIEL.

    Args:
        target: a language code, tag or name.
        candidates: the languages to choose from.
        source: where the families are from; URIEL if None.

    Raises:
        EmptySelectionError: none of them is of the family.
        LanguageError: one of them is no language.
        UnsupportedError: the target has no family.
    """
    evidence = gather(target, candidates, source or backend())
    own = evidence.target

    def place(row: Row) -> tuple[Fraction, ...]:
        return (distance_of(row, "genetic"),)

    def judge(row: Row) -> tuple[Status, str]:
        if row.family != own.family:
            return "outside", f"of another family: {row.family}"
        shared = [one for one, other in zip(own.lineage, row.lineage, strict=False) if one == other]
        return "chosen", f"shares {' > '.join(shared)}"

    rule = f"family({own.language})"
    return filled(select(evidence, rule, ("genetic",), place, judge), ("genetic",))


def _tie(edge: list[Row], place: Order) -> str:
    """Say what put the last chosen language before the first that was not, where they tie."""
    if len(edge) < 2:
        return ""
    last, first = (place(row) for row in edge)
    if last[0] != first[0]:
        return ""
    differing = [
        kind for kind, one, other in zip(KINDS, last[1:], first[1:], strict=True) if one != other
    ]
    return f", a tie broken by {f'{differing[0]} distance' if differing else 'the code'}"


def _preset(evidence: Evidence, preset: str) -> Selection:
    """Choose what a publication chose, and show the distances all the same."""
    target = evidence.target
    choices = {stands_for(tag): tags for tag, tags in published(preset).items()}
    if stands_for(target.tag) not in choices:
        raise UnsupportedError(
            f"{PRESETS[preset]} has no choice for {quoted(target.language)}; "
            f"it has one for {', '.join(published(preset))}"
        )
    chosen = {stands_for(tag): tag for tag in choices[stands_for(target.tag)]}

    def place(row: Row) -> tuple[Fraction, ...]:
        return tuple(Fraction(2) if one is None else one for one in (row.syntactic, row.geographic))

    def judge(row: Row) -> tuple[Status, str]:
        if stands_for(row.tag) in chosen:
            return "chosen", f"in {PRESETS[preset]}"
        return "outside", f"not in {PRESETS[preset]}"

    rule = f"related({target.language}, preset={preset})"
    selection = select(evidence, rule, (), place, judge)
    present = {stands_for(row.tag) for row in selection.rows}
    absent = [tag for code, tag in chosen.items() if code not in present]
    if absent:
        warning = f"{PRESETS[preset]} also has {', '.join(absent)}, which cannot be chosen here"
        selection = replace(selection, warnings=(warning, *selection.warnings))
    return filled(selection, ("syntactic", "geographic"))


def _threshold(kind: Kind, value: Number) -> Fraction:
    # 0.7 as a float lies a little under 7/10; its text does not.
    try:
        exact = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        exact = Fraction(-1)
    if not 0 <= exact <= 1:
        raise CheckError(f"{kind}={value} is no threshold; distances lie between 0 and 1")
    return exact

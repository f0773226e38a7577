"""The rows of the paper's tables, and the controls that it lacks, as expressions.

A row is one method for one target language. Where a method has a parameter, or chooses among
adapters, the row has several options and validation data choose one; test data never do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Final, Literal

from ..errors import SettingsError
from .plan import Plan

Shelf = Literal["vectors", "kronecker", "independent", "apart", "full", "base"]
"""Where an option's adapters lie: a catalogue of its own each.

What selectors choose from is on the first three. Adapters that have seen a target's labels, or the
data of several languages, lie apart, so that no selector can find them.
"""

BASELINE: Final = "baseline"


@dataclass(frozen=True, slots=True)
class Option:
    """One adapter that a row may come to.

    Attributes:
        label: what sets it apart among the row's options: a value, a language, or nothing.
        expression: the adapter; None for the bare base, or for a fully trained model.
        value: of the row's parameter, for a curve; None where there is none.
    """

    label: str
    expression: str | None
    shelf: Shelf = "vectors"
    semantics: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A method for one language.

    Attributes:
        key: the row's short name, the same for all languages.
        part: of the plan's, which asked for it.
        language: whose data it is scored on.
        how: `chosen`: validation data choose one option; `mean`: the mean over all of them.
        against: key of the row that the difference is taken to.
        note: why the row has no options.
    """

    key: str
    title: str
    part: str
    language: str
    options: tuple[Option, ...]
    how: Literal["chosen", "mean"] = "chosen"
    against: str | None = BASELINE
    note: str = ""


def rows_of(
    plan: Plan, task: str, target: str, related: Sequence[str], *, seed: int, independent: bool
) -> list[Row]:
    """Return a target's rows, in the order of the tables.

    Args:
        task: the task's name.
        related: the task languages related to the target, as the language's own rule has them.
        seed: chooses the random subsets. independent: whether vectors of another start are there.
    """
    rows = [
        Row("base", "Base model, untrained", "one", target, (_bare(),)),
        Row(BASELINE, "Baseline", "one", target, (Option("", f"task[{plan.source}]"),)),
    ]
    if "one" in plan.parts:
        rows += _one(plan, target)
    if "many" in plan.parts:
        rows += _many(plan, task, target, related, seed)
    if "controls" in plan.parts:
        rows += _controls(plan, task, target)
        if independent:
            rows += _independent(plan, target)
    if "kronecker" in plan.parts:
        rows += _kronecker(plan, task, target, related)
    return rows


def source_rows(plan: Plan, target: str) -> list[Row]:
    """Return the cells of Figure 2: each task language as the source, with and without."""
    rows = []
    for source in plan.task_languages:
        title = f"{source} -> {target}"
        alone = f"source-{source}"
        rows += [
            Row(
                alone,
                f"{title}, task vector alone",
                "sources",
                target,
                (Option("", f"task[{source}]"),),
            ),
            Row(
                f"source-{source}-arithmetic",
                f"{title}, add and subtract",
                "sources",
                target,
                _over(plan, "l", f"add_subtract({_called(source)}, {_called(target)}, {{l}})"),
                against=alone,
            ),
        ]
    return rows


def in_domain_rows(plan: Plan, task: str, language: str) -> list[Row]:
    """Return the rows of Table 6 for a language that has labelled data."""
    rows = [
        Row("base", "Base model, untrained", "in-domain", language, (_bare(),)),
        Row("in-lora", "LoRA", "in-domain", language, (Option("", f"task[{language}]"),)),
        Row(
            "in-multilora",
            "Multi-LoRA",
            "in-domain",
            language,
            (Option("", f'"{task}-multilingual"', "apart"),),
            against="in-lora",
        ),
    ]
    if "kronecker" in plan.parts:
        rows += [
            Row(
                "in-kronecker",
                "Kronecker",
                "in-domain",
                language,
                (Option("", f"task[{language}]", "kronecker"),),
                against="in-lora",
            ),
            Row(
                "in-multikronecker",
                "Multi-Kronecker",
                "in-domain",
                language,
                (Option("", f'"{task}-multilingual-kronecker"', "apart"),),
                against="in-lora",
            ),
        ]
    if "full" in plan.parts:
        whole = (Option(language, None, "full"),)
        rows.append(
            Row("in-full", "Full fine-tuning", "in-domain", language, whole, against="in-lora")
        )
    return rows


def _one(plan: Plan, target: str) -> list[Row]:
    pair = f"{_called(plan.source)}, {_called(target)}"
    added = _over(plan, "l", f"add({pair}, {{l}})")
    return [
        Row("add", "Language and Task (Add)", "one", target, added),
        Row(
            "add_subtract",
            "Language and Task (Add and Subtract)",
            "one",
            target,
            _over(plan, "l", f"add_subtract({pair}, {{l}})"),
        ),
    ]


def _many(plan: Plan, task: str, target: str, related: Sequence[str], seed: int) -> list[Row]:
    rows = list(_averages(plan, task, target, related, "vectors"))
    called = _called(target)
    options = _over(plan, "l", f"add_subtract_related({called}, {{l}})") if related else ()
    rows.append(
        Row(
            "add_subtract_related",
            "Language and Task (Add and Subtract related)",
            "many",
            target,
            options,
            note="" if related else "no task language is related",
        )
    )
    subsets = random_subsets(plan.task_languages, related, plan.subsets, f"{seed} {target}")
    members = tuple(Option("|".join(s), f"mean(task[{'|'.join(s)}])") for s in subsets)
    rows.append(
        Row(
            "random_subsets",
            f"Control: mean of random subsets of {len(related)}, instead of related",
            "many",
            target,
            members,
            how="mean",
            note="" if members else "every subset of that size is the related one",
        )
    )
    return rows


def _kronecker(plan: Plan, task: str, target: str, related: Sequence[str]) -> list[Row]:
    alone = (Option("", f"task[{plan.source}]", "kronecker"),)
    return [
        Row("kronecker-baseline", "Baseline (Kronecker)", "kronecker", target, alone),
        *_averages(plan, task, target, related, "kronecker"),
    ]


def _averages(
    plan: Plan, task: str, target: str, related: Sequence[str], shelf: Shelf
) -> Iterator[Row]:
    kronecker = shelf == "kronecker"
    part, prefix = ("kronecker", "kronecker-") if kronecker else ("many", "")
    against = f"{prefix}{BASELINE}"
    singles = tuple(Option(one, f"task[{one}]", shelf) for one in plan.task_languages)
    several = f'"{task}-multilingual{"-kronecker" if kronecker else ""}"'
    called = _called(target)
    chosen = (Option("", f"add_related({called})", shelf),) if related else ()
    for key, title, options in (
        ("best", "Baseline (best)", singles),
        ("multilingual", "Baseline (multilingual)", (Option("", several, "apart"),)),
        ("add_all", "Task-only (Add all)", (Option("", f"add_all({called})", shelf),)),
        ("add_related", "Task-only (Add related)", chosen),
    ):
        note = "" if options else "no task language is related"
        yield Row(f"{prefix}{key}", title, part, target, options, against=against, note=note)


def _controls(plan: Plan, task_name: str, target: str) -> list[Row]:
    source = plan.source
    pair = f"{_called(source)}, {_called(target)}"
    task, difference = f"task[{source}]", f"(lm[{target}] - lm[{source}])"

    def row(key: str, title: str, options: tuple[Option, ...]) -> Row:
        return Row(key, title, "controls", target, options)

    def over_l(expression: str, semantics: str | None = None) -> tuple[Option, ...]:
        return _over(plan, "l", expression, semantics=semantics)

    return [
        row("shrink", "Control: l*task[S] alone", over_l(f"{{l}}*{task}")),
        *(
            row(
                f"{recipe}-{wrong}",
                f"Control: {title} with the wrong language {wrong}",
                over_l(f"{recipe}({_called(source)}, {_called(wrong)}, {{l}})"),
            )
            for recipe, title in (("add", "Add"), ("add_subtract", "Add and Subtract"))
            for wrong in plan.wrong.get(target, ())
        ),
        row("shrink-exact", "exact: l*task[S] alone", over_l(f"{{l}}*{task}", "exact")),
        row("add-exact", "exact: Add", over_l(f"add({pair}, {{l}})", "exact")),
        row(
            "add_subtract-exact",
            "exact: Add and Subtract",
            over_l(f"add_subtract({pair}, {{l}})", "exact"),
        ),
        row("steer", "steer(S, T, m)", _over(plan, "m", f"steer({pair}, {{m}})")),
        *(
            row(
                f"steer-{wrong}",
                f"Control: steer with the wrong language {wrong}",
                _over(plan, "m", f"steer({_called(source)}, {_called(wrong)}, {{m}})"),
            )
            for wrong in plan.wrong.get(target, ())
        ),
        row(
            "steer-unsubtracted",
            "Control: steer without the subtraction, task[S] + m*lm[T]",
            _over(plan, "m", f"exact({task} + {{m}}*lm[{target}])"),
        ),
        row(
            "steer-elementwise",
            "elementwise: task[S] + m*(lm[T] - lm[S])",
            _over(plan, "m", f"{task} + {{m}}*{difference}"),
        ),
        row("oracle", "Oracle: task[T]", (Option("", f'"{task_name}-oracle-{target}"', "apart"),)),
    ]


def _independent(plan: Plan, target: str) -> list[Row]:
    source = plan.source
    formula = f"task[{source}] + {{m}}*(lm[{target}] - lm[{source}])"
    rows = []
    for key, title, expression in (
        ("independent-elementwise", "elementwise, lm[T] from another start", formula),
        ("independent-steer", "steer, lm[T] from another start", f"exact({formula})"),
    ):
        against = "steer-elementwise" if key.endswith("elementwise") else "steer"
        options = _over(plan, "m", expression, shelf="independent")
        rows.append(Row(key, title, "controls", target, options, against=against))
    return rows


def _over(
    plan: Plan,
    parameter: str,
    expression: str,
    *,
    shelf: Shelf = "vectors",
    semantics: str | None = None,
) -> tuple[Option, ...]:
    return tuple(
        Option(
            f"{parameter}={value}",
            expression.format(**{parameter: value}),
            shelf,
            semantics,
            float(value),
        )
        for value in plan.tune[parameter]
    )


def _bare() -> Option:
    return Option("", None, "base")


def _called(language: str) -> str:
    """A language as an argument of a call: a tag with a hyphen is quoted there."""
    return f'"{language}"' if "-" in language else language


def random_subsets(
    languages: Sequence[str], related: Sequence[str], count: int, seed: str
) -> list[tuple[str, ...]]:
    """Return distinct random subsets as large as the related one and other than it.

    All there are, where there are not so many; none where none of the size is another.
    """
    if not related:
        return []
    every = [s for s in combinations(languages, len(related)) if set(s) != set(related)]
    if len(every) <= count:
        return every
    return sorted(Random(seed).sample(every, count))


def find_row(rows: Sequence[Row], key: str) -> Row:
    """Return the row of a key.

    Raises:
        SettingsError: there is none, with those that there are.
    """
    for row in rows:
        if row.key == key:
            return row
    known = ", ".join(dict.fromkeys(row.key for row in rows))
    raise SettingsError(f"there is no row {key!r}; the plan's rows are: {known}")

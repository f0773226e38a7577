"""Many runs from one TOML file: all languages, tasks and seeds of an experiment.

    base = "./smollm2"                      # Hub id, folder or GGUF file, as --base takes it
    base_name = "HuggingFaceTB/SmolLM2-135M-Instruct"

    [settings]                              # of every run, by the names of `Settings`
    batch_size = 4
    learning_rate = 3e-3

    [[task]]                                # one run for every language and seed
    task = "synopsis"
    languages = ["en", "fr"]
    data = "data/{language}.train.jsonl"    # beside the plan
    seeds = [0, 1, 2]
    name = "synopsis-{language}-s{seed}"
    steps = 240                             # a setting of these runs alone

    [[lm]]
    languages = ["en", "es"]
    data = "data/{language}.train.jsonl"
    text_field = "source"

A table with `multilingual = true` makes one run of all its languages, and one with
`init_seeds = [..]` one for each initialisation.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...hub import AdapterHub
from ..data.fields import Fields
from ..errors import ModelError, SettingsError
from .request import BaseChoice, Run, choose_base, describe_run
from .run import Trained, carry_out, find_finished
from .settings import NAMES, Settings
from .values import numbers, text_at, texts

if TYPE_CHECKING:
    from ..models.base import Base

_TOP = ("base", "base_name", "revision", "dtype", "device", "license", "settings", "task", "lm")
_TABLE = (
    "task",
    "languages",
    "data",
    "name",
    "seeds",
    "init_seeds",
    "multilingual",
    "source_field",
    "target_field",
    "text_field",
    "validation",
    "limit",
    "license",
)
_FROM_AXES = ("seed", "init_seed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run of a plan: its result, or why there is none."""

    run: Run
    trained: Trained | None
    error: str | None


class Loader(Protocol):
    """Loads a base, and keeps it for the next run."""

    def __call__(self, base: BaseChoice, /) -> Base:
        """Return the base, loaded."""

    def cache_clear(self) -> None:
        """Forget it."""


def read_plan(path: str | Path, *, base: str | Path | None = None) -> tuple[Run, ...]:
    """Return the runs of a plan, in its order, each checked as far as it can be unloaded.

    Args:
        path: the TOML file; the data's paths in it are relative to its folder.
        base: another base model than the plan's.

    Raises:
        SettingsError: not a plan, with the table and the field. DataError: its data.
    """
    path = Path(path)
    try:
        plan = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"the plan '{path}' cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the plan '{path}' is not TOML: {error}") from error
    _refuse_unknown(plan, _TOP, f"the plan '{path}'")
    chosen = _base(plan, path, base)
    runs = [
        run
        for kind in ("task", "lm")
        for number, table in enumerate(_tables(plan, kind, path), 1)
        for run in _runs(plan, kind, table, f"[[{kind}]] number {number} of '{path}'", path, chosen)
    ]
    if not runs:
        raise SettingsError(f"the plan '{path}' holds no [[task]] and no [[lm]]: nothing to train")
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(
            f"the plan '{path}' has several runs called {', '.join(map(repr, twice))}: tell them "
            'apart with name = "..{language}..{seed}..{init_seed}"'
        )
    return tuple(runs)


def train_plan(
    hub: AdapterHub,
    runs: Sequence[Run],
    *,
    progress: bool = False,
    report: Callable[[Outcome], None] | None = None,
) -> tuple[Outcome, ...]:
    """Train the runs one after the other, without those that the catalogue has.

    A run that fails does not stop the others. The base model is loaded once, and not at all where
    nothing is left to train.

    Args:
        progress: show a bar where standard error is a terminal.
        report: called with every outcome as it comes.
    """
    load = cache(BaseChoice.load)
    outcomes = []
    for run in runs:
        outcomes.append(outcome_of(hub, run, load, progress=progress))
        if report is not None:
            report(outcomes[-1])
    return tuple(outcomes)


def outcome_of(hub: AdapterHub, run: Run, load: Loader, *, progress: bool = False) -> Outcome:
    """Train a run, unless the catalogue has it, and say what became of it.

    Args:
        load: loads the base, or has it from an earlier run; after a failure of the model itself,
            which may have left it half adapted, it is asked to load anew.
    """
    try:
        base = load(run.base) if find_finished(hub, run) is None else None
        return Outcome(run, carry_out(hub, run, base, progress=progress), None)
    except Exception as error:  # noqa: BLE001 - reported beside what became of the others
        if isinstance(error, ModelError):
            load.cache_clear()
        return Outcome(run, None, str(error) or type(error).__name__)


def _base(plan: Mapping[str, Any], path: Path, given: str | Path | None) -> BaseChoice:
    model = plan.get("base") if given is None else given
    if not isinstance(model, (str, Path)) or not str(model).strip():
        raise SettingsError(f"the plan '{path}' names no base model: write base = \"MODEL\"")
    if given is None:
        model = _beside(str(model), path)
    said = {key: text_at(plan, key, f"'{path}'") for key in ("revision", "dtype", "device")}
    return choose_base(model, name=text_at(plan, "base_name", f"'{path}'"), **said)


def _tables(plan: Mapping[str, Any], kind: str, path: Path) -> list[dict[str, Any]]:
    tables = plan.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f"'{path}': write [[{kind}]], with two brackets, before its fields")
    return tables


def _runs(
    plan: Mapping[str, Any],
    kind: str,
    table: Mapping[str, Any],
    place: str,
    path: Path,
    base: BaseChoice,
) -> Iterator[Run]:
    common = plan.get("settings", {})
    _refuse_unknown(common, NAMES, f"[settings] of '{path}'")
    _refuse_unknown(table, (*_TABLE, *(name for name in NAMES if name not in _FROM_AXES)), place)
    for needed in ("languages", "data", *(["task"] if kind == "task" else [])):
        if needed not in table:
            raise SettingsError(f"{place} has no {needed}")
    settings = dict(common) | {key: value for key, value in table.items() if key in NAMES}
    if not isinstance(table.get("multilingual", False), bool):
        raise SettingsError(f"multilingual in {place} must be true or false")
    languages = texts(table["languages"], f"languages in {place}")
    groups = [languages] if table.get("multilingual") else [(one,) for one in languages]
    seeds = numbers(table.get("seeds", [settings.get("seed", 0)]), f"seeds in {place}")
    starts = numbers(
        table.get("init_seeds", [settings.get("init_seed", 0)]), f"init_seeds in {place}"
    )
    default = "{task}-{language}" if kind == "task" else "lm-{language}"
    validation = text_at(table, "validation", place)
    for group, seed, start in product(groups, seeds, starts):
        words = {
            "language": "-".join(group),
            "task": str(table.get("task")),
            "seed": str(seed),
            "init_seed": str(start),
        }
        yield describe_run(
            kind,
            base,
            [
                _beside(_filled(text, words | {"language": one}, place), path)
                for one in group
                for text in texts(table["data"], f"data in {place}")
            ],
            group,
            text_at(table, "task", place),
            _settings(settings | {"seed": seed, "init_seed": start}, place),
            _filled(text_at(table, "name", place) or default, words, place),
            Fields(
                *(text_at(table, f"{one}_field", place) for one in ("source", "target", "text"))
            ),
            None if validation is None else _beside(_filled(validation, words, place), path),
            table.get("limit"),
            text_at(table, "license", place) or text_at(plan, "license", f"'{path}'"),
        )


def _settings(values: Mapping[str, Any], place: str) -> Settings:
    fixed = dict(values)
    if "targets" in fixed:
        fixed["targets"] = texts(fixed["targets"], f"targets in {place}")
    try:
        return Settings(**fixed)
    except SettingsError as error:
        raise SettingsError(f"{place}: {error}") from error


def _filled(text: str, words: Mapping[str, str], place: str) -> str:
    for name, value in words.items():
        text = text.replace(f"{{{name}}}", value)
    if "{" in text:
        raise SettingsError(
            f"{place}: {text!r} has a place that is not known: there are "
            f"{', '.join(f'{{{name}}}' for name in words)}"
        )
    return text


def _beside(name: str, path: Path) -> str:
    """A file that lies beside the plan, or the name as it is (of a data set, of a model)."""
    there = path.parent / name
    return str(there.resolve()) if there.exists() else name


def _refuse_unknown(table: Mapping[str, Any], known: Sequence[str], place: str) -> None:
    if not isinstance(table, Mapping):
        raise SettingsError(f"{place} is {table!r}, not a table")
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(known)}"
            raise SettingsError(f"{place} has {name!r}, which is not known; {hint}")

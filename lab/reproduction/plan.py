"""The plan of a reproduction: languages, data, settings and which of the paper's parts to run."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from ...dsl.languages import normalize
from ..errors import NoDataError, SettingsError
from ..models.prompts import Prompt
from ..training.settings import NAMES
from ..training.values import number, numbers, text_at, texts

PARTS: Final = {
    "one": "Table 1: labelled data in one language",
    "many": "Tables 2 and 5: labelled data in several languages",
    "sources": "Figure 2: every language of labelled data as the source",
    "controls": "what the paper lacks: shrinking, wrong languages, exact sums, steering, oracle",
    "kronecker": "Table 3: labelled data in several languages, Kronecker adapters",
    "in-domain": "Table 6: languages with labelled data of their own",
    "full": "full fine-tuning beside them (costly)",
}
_TABLES: Final = {
    "tune": {"l", "m", "examples"},
    "test": {"examples"},
    "generate": {"metrics", "rows", "examples"},
}
_TASK: Final = {
    "name", "train", "validation", "test", "source_field", "target_field", "metrics", "prompt",
}  # fmt: skip
_TOP: Final = {
    "name", "source", "task_languages", "targets", "seeds", "parts", "names", "wrong", "task",
    "texts", "training", "tune", "test", "generate", "initialisation", "independent_seeds",
    "subsets", "distances", "max_length", "text_field",
}  # fmt: skip
# A table of this name under [training] corrects the settings for one kind of vector.
KINDS: Final = ("task", "lm", "oracle", "multilingual", "kronecker", "full")
_SEEDS: Final = {"seed", "init_seed", "data_seed", "peft"}


@dataclass(frozen=True, slots=True)
class Task:
    """A task and where its labelled data are.

    Attributes:
        name: as the catalogue has it.
        train, validation, test: sources of data, with {language} and {name} in the place of a
            language's tag and of its name in the data.
        metrics: what is measured; the first one chooses on validation data.
    """

    name: str
    train: str
    validation: str
    test: str
    source_field: str | None = None
    target_field: str | None = None
    metrics: tuple[str, ...] = ("bpb",)
    prompt: str = "{source}\n"


@dataclass(frozen=True, slots=True)
class Generation:
    """Metrics of generated text, measured on some rows alone since they cost the most."""

    metrics: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    examples: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be reproduced.

    Attributes:
        source: the language S of equations 1 and 2.
        task_languages: those with labelled data, S among them; targets: those without.
        wrong: for each target, languages whose vectors should not help it.
        parts: of PARTS, in their order.
        independent_seeds: seeds for which target vectors with a start of their own are trained.
        subsets: how many random subsets stand against the related languages.
        tune: values of the parameters l and m.
        training: settings of every kind of vector, the kind's own last.
    """

    name: str
    source: str
    task_languages: tuple[str, ...]
    targets: tuple[str, ...]
    tasks: tuple[Task, ...]
    texts: str
    seeds: tuple[int, ...]
    parts: tuple[str, ...]
    wrong: Mapping[str, tuple[str, ...]]
    tune: Mapping[str, tuple[str, ...]]
    training: Mapping[str, Mapping[str, Any]]
    names: Mapping[str, str] = field(default_factory=dict)
    validation_examples: int | None = None
    test_examples: int | None = None
    generation: Generation = field(default_factory=Generation)
    initialisation: int = 0
    independent_seeds: tuple[int, ...] = ()
    subsets: int = 5
    distances: str | None = None
    max_length: int = 512
    text_field: str | None = None
    folder: Path = Path()

    def data(self, template: str, language: str) -> str:
        """Return the source of a language's data; files are meant beside the plan."""
        given = template.format(language=language, name=self.names.get(language, language))
        beside = self.folder / given
        return str(beside) if beside.exists() else given

    @property
    def languages(self) -> tuple[str, ...]:
        """All languages that a language vector is needed for."""
        wrong = (one for target in self.targets for one in self.wrong.get(target, ()))
        return tuple(dict.fromkeys((*self.task_languages, *self.targets, *wrong)))


def read_plan(path: Path) -> Plan:
    """Read a plan from a TOML file.

    Raises:
        NoDataError: there is no such file. SettingsError: it is not TOML, or says what makes no
            sense, with the key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NoDataError(f"there is no plan '{path}'") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"'{path}' is no plan in TOML: {error}") from error
    return make_plan(content, folder=path.parent, name=path.stem)


def make_plan(content: Mapping[str, Any], *, folder: Path = Path(), name: str = "plan") -> Plan:
    """Return the plan that a TOML file's content says.

    Raises:
        SettingsError: an unknown key, a missing one, or values that do not go together.
    """
    _known(content, _TOP, "the plan")
    for table, keys in _TABLES.items():
        _known(content.get(table, {}), keys, f"[{table}]")
    for key in ("source", "task_languages", "targets", "task", "texts"):
        if key not in content:
            raise SettingsError(f"the plan says nothing of {key!r}; it needs one")
    tune, independent = content.get("tune", {}), content.get("independent_seeds")
    here = "the plan"
    plan = Plan(
        name=text_at(content, "name", here) or name,
        source=normalize(str(content["source"])),
        task_languages=_languages(content["task_languages"]),
        targets=_languages(content["targets"]),
        tasks=tuple(_task(one) for one in _tables(content["task"])),
        texts=text_at(content, "texts", here) or "",
        seeds=numbers(content.get("seeds", [0]), "seeds"),
        parts=_parts(content.get("parts", [part for part in PARTS if part != "full"])),
        wrong={normalize(t): _languages(w) for t, w in _table(content, "wrong").items()},
        tune={
            "l": _values(tune.get("l", [n / 10 for n in range(11)]), "l"),
            "m": _values(tune.get("m", [0.25, 0.5, 0.75, 1.0]), "m"),
        },
        training=_training(_table(content, "training")),
        names={normalize(tag): str(said) for tag, said in _table(content, "names").items()},
        validation_examples=_examples(tune, "[tune]"),
        test_examples=_examples(content.get("test", {}), "[test]"),
        generation=_generation(content.get("generate", {})),
        initialisation=number(content.get("initialisation", 0), "initialisation", low=0),
        independent_seeds=numbers(independent, "independent_seeds") if independent else (),
        subsets=number(content.get("subsets", 5), "subsets", low=0),
        distances=text_at(content, "distances", here),
        max_length=number(content.get("max_length", 512), "max_length", low=8),
        text_field=text_at(content, "text_field", here),
        folder=folder,
    )
    _check(plan)
    return plan


def _check(plan: Plan) -> None:
    if plan.source not in plan.task_languages:
        raise SettingsError(f"the source {plan.source!r} is not among the task_languages: add it")
    for target in plan.targets:
        if target in plan.task_languages:
            raise SettingsError(
                f"{target!r} is both a target and a task language: the targets are the languages "
                "whose labelled data nothing but the oracle may see"
            )
    for target, wrong in plan.wrong.items():
        if target not in plan.targets:
            raise SettingsError(f"[wrong] names {target!r}, which is no target")
        if target in wrong or plan.source in wrong:
            raise SettingsError(f"[wrong] of {target!r}: the target and the source are not wrong")
    for template in (plan.texts, *(t for k in plan.tasks for t in (k.train, k.validation, k.test))):
        try:
            plan.data(template, plan.source)
        except (LookupError, ValueError) as error:
            raise SettingsError(
                f"{template!r} has a place that is not known: there are {{language}} and {{name}}"
            ) from error
    if not plan.targets or len(set(plan.seeds)) < len(plan.seeds):
        raise SettingsError("the plan needs at least one target and one seed, no seed twice")


def _training(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    # What the plan itself decides is no setting here.
    known = set(NAMES) - _SEEDS
    common = {key: value for key, value in given.items() if not isinstance(value, dict)}
    _known(given, {*known, *KINDS}, "[training]")
    made = {}
    for kind in KINDS:
        _known(given.get(kind, {}), known, f"[training.{kind}]")
        # An oracle and a multilingual adapter are task vectors in all but their data.
        inherited = {} if kind in ("task", "lm") else given.get("task", {})
        made[kind] = {**common, **inherited}
        if kind == "kronecker":
            # Its size is the paper's own, not LoRA's.
            made[kind] = {k: v for k, v in made[kind].items() if k not in ("rank", "alpha")}
        made[kind] |= given.get(kind, {})
    return made


def _task(given: Mapping[str, Any]) -> Task:
    _known(given, _TASK, "[[task]]")
    for key in ("name", "train", "validation", "test"):
        if not isinstance(given.get(key), str):
            raise SettingsError(f"a [[task]] of the plan has no {key!r}; it needs one, a text")
    where = f"[[task]] {given['name']!r}"
    metrics = texts(given.get("metrics", ["bpb"]), f"metrics of {where}")
    said: dict[str, Any] = {key: text_at(given, key, where) for key in given if key != "metrics"}
    task = Task(**said, metrics=metrics)
    Prompt(task.prompt)
    return task


def _generation(given: Mapping[str, Any]) -> Generation:
    metrics, rows = (given.get(key) for key in ("metrics", "rows"))
    return Generation(
        metrics=texts(metrics, "metrics in [generate]") if metrics else (),
        rows=texts(rows, "rows in [generate]") if rows else (),
        examples=_examples(given, "[generate]"),
    )


def _examples(given: Mapping[str, Any], where: str) -> int | None:
    return number(given["examples"], f"examples in {where}", low=1) if "examples" in given else None


def _table(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = given.get(key, {})
    if not isinstance(table, Mapping):
        raise SettingsError(f"[{key}] is {table!r}, not a table")
    return table


def _known(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    if not isinstance(given, Mapping):
        raise SettingsError(f"{where} is {given!r}, not a table")
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise SettingsError(f"{where} does not know {key!r}; {hint}")


def _parts(given: object) -> tuple[str, ...]:
    asked = texts(given, "parts")
    _known(dict.fromkeys(asked), PARTS, "parts")
    return tuple(part for part in PARTS if part in asked)


def _tables(given: Any) -> list[Mapping[str, Any]]:
    return list(given) if isinstance(given, list) else [given]


def _languages(given: object) -> tuple[str, ...]:
    if not isinstance(given, (list, tuple)):
        raise SettingsError(f"{given!r} stands where a list of languages is expected")
    return tuple(dict.fromkeys(normalize(str(one)) for one in given))


def _values(given: object, parameter: str) -> tuple[str, ...]:
    """The values as texts without rounding noise: 0.1 * 3 is 0.3."""
    found = given if isinstance(given, list) else []
    if not found or not all(type(one) in (int, float) for one in found):
        raise SettingsError(f"{parameter} in [tune] must be a list of numbers, not {given!r}")
    return tuple(f"{value:.6g}" for value in found)


def digest_of(*parts: object) -> str:
    """Return a short name for content: the first half of its sha256."""
    return sha256(repr(parts).encode()).hexdigest()[:32]

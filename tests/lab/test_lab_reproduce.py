"""A whole reproduction on the tiny Llama: that it is complete, honest and resumable.

Two steps of training teach nothing: who wins here says nothing, and no test asks it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from isogloss.lab.errors import DataError, LabError, NoDataError, SettingsError
from isogloss.lab.reproduction.bench import Bench
from isogloss.lab.reproduction.cells import Cell
from isogloss.lab.reproduction.crew import Alone
from isogloss.lab.reproduction.plan import PARTS, Plan, read_plan
from isogloss.lab.reproduction.report import write_report
from isogloss.lab.reproduction.results import average_interval, pool
from isogloss.lab.reproduction.rows import random_subsets
from isogloss.lab.reproduction.run import lines_of, look, reproduce
from isogloss.lab.reproduction.vectors import Vector, vectors_of
from isogloss.lab.scoring.bootstrap import paired_bootstrap
from isogloss.lab.scoring.measurement import Measurement
from isogloss.lab.tiny import byte_tokenizer, tiny_llama
from isogloss.lab.training.request import BaseChoice, choose_base

from .conftest import Invoke

PLAN = """\
name = "tiny"
source = "en"
task_languages = ["en", "fr"]
targets = ["es"]
seeds = [1]
parts = ["one", "many", "controls"]
texts = "data/{language}-texts.jsonl"
max_length = 96

[[task]]
name = "echo"
train = "data/{language}-train.jsonl"
validation = "data/{language}-dev.jsonl"
test = "data/{language}-test.jsonl"

[wrong]
es = ["fr"]

[training]
steps = 1
batch_size = 2
rank = 2
alpha = 4
learning_rate = 1e-2
max_target_length = 24

[tune]
l = [0.5, 1.0]
m = [0.5]
examples = 3

[test]
examples = 4

[generate]
metrics = ["language"]
rows = ["baseline", "steer"]
examples = 2
"""


def write_plan(folder: Path, text: str = PLAN) -> Path:
    """Write a plan and its data; documents of each language and split are their own."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    for language in ("en", "fr", "ja", "es"):
        for split in ("train", "dev", "test"):
            rows = [
                {
                    "id": f"{split}-{number}",
                    "document": f"{language} {split} text {number} of no meaning",
                    "summary": f"{language} {number * 7 % 10}",
                }
                for number in range(6)
            ]
            lines = "".join(f"{json.dumps(row)}\n" for row in rows)
            (data / f"{language}-{split}.jsonl").write_text(lines)
            texts = "".join(f"{json.dumps({'text': row['document']})}\n" for row in rows)
            (data / f"{language}-texts.jsonl").write_text(texts)
    path = folder / "plan.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseChoice:
    folder = tmp_path_factory.mktemp("base")
    tiny_llama().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return choose_base(folder, name="tiny-llama")


@pytest.fixture(scope="session")
def reproduced(base: BaseChoice, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished reproduction; plan.toml beside `out`."""
    folder = tmp_path_factory.mktemp("reproduced")
    bench = Bench(read_plan(write_plan(folder)), folder / "out", base)
    reproduce(bench)
    bench.close()
    return folder


@pytest.fixture
def bench(reproduced: Path, base: BaseChoice, tmp_path: Path) -> Bench:
    """The finished reproduction, in a copy to change."""
    shutil.copytree(reproduced, tmp_path / "copy")
    plan = read_plan(tmp_path / "copy" / "plan.toml")
    return Bench(plan, tmp_path / "copy" / "out", base)


class Counting(Alone):
    """Notes what is done, and is killed before more than so many cells."""

    def __init__(self, bench: Bench, limit: int = 10_000) -> None:
        super().__init__(bench)
        self.limit = limit
        self.trained: list[str] = []
        self.scored: list[str] = []

    def train(self, vectors: Sequence[Vector]) -> None:
        for vector in vectors:
            super().train([vector])
            self.trained.append(vector.name)

    def score(self, cells: Sequence[Cell]) -> None:
        for cell in cells:
            if len(self.scored) == self.limit:
                raise KeyboardInterrupt
            super().score([cell])
            self.scored.append(cell.name)


def report_of(bench: Bench, folder: Path) -> dict[str, object]:
    results, done = look(bench)
    write_report(bench, results, done, folder)
    document: dict[str, object] = json.loads((folder / "report.json").read_text())
    return document


def test_the_report_has_all_rows_and_controls(bench: Bench, tmp_path: Path) -> None:
    document = report_of(bench, tmp_path / "report")
    assert document["complete"] is True
    tables = document["tables"]
    assert isinstance(tables, dict)
    for table, keys in {
        "table-1-echo-bpb": ["base", "baseline", "add", "add_subtract"],
        "table-2-echo-bpb": [
            *("baseline", "best", "multilingual", "add_all", "add_related"),
            "add_subtract_related",
        ],
        "controls-echo-bpb": [
            *("baseline", "shrink", "add-fr", "add_subtract-fr", "shrink-exact", "add-exact"),
            *("add_subtract-exact", "steer", "steer-fr", "steer-unsubtracted"),
            *("steer-elementwise", "oracle"),
        ],
    }.items():
        rows = tables[table]["rows"]
        assert [row["row"] for row in rows] == keys
        for row in rows:
            figure = row["languages"]["es"]
            assert figure["low"] <= figure["value"] <= figure["high"]
            assert figure["examples"] == 4
            assert (figure["difference"] is None) == (
                row["against"] is None or row["row"] == "baseline"
            )
    shares = tables["controls-echo-language"]["rows"]
    assert [row["row"] for row in shares] == ["baseline", "steer"]
    assert shares[1]["languages"]["es"]["examples"] == 2
    assert {row["row"] for row in tables["comparisons-echo-bpb"]["rows"]} >= {"steer", "oracle"}
    selected = tables["table-5"]["rows"][0]
    assert sorted(selected["related"]) == ["en", "fr"]
    assert tables["table-7-echo"]["rows"][0] == {"language": "en", "examples": 6}
    assert all(0 < row["share"] < 1 for row in tables["vectors"]["rows"])
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Control: l*task[S] alone" in page
    assert page.count("data:image/png;base64,") == 1
    assert ' src="http' not in page


def test_nothing_is_done_twice(bench: Bench) -> None:
    crew = Counting(bench)
    reproduce(bench, crew)
    assert (crew.trained, crew.scored) == ([], [])


def test_a_killed_reproduction_goes_on_to_the_same_report(
    bench: Bench, base: BaseChoice, tmp_path: Path
) -> None:
    expected = report_of(bench, tmp_path / "expected")
    cells = sorted((bench.folder / "cells").iterdir())
    for path in cells:
        path.unlink()
    bench.close()
    shutil.rmtree(bench.folder / "seed-1" / "apart")
    killed = Counting(Bench(bench.plan, bench.folder, base), limit=9)
    with pytest.raises(KeyboardInterrupt):
        reproduce(killed.bench, killed)
    halfway = report_of(killed.bench, tmp_path / "halfway")
    assert halfway["complete"] is False
    rest = Counting(Bench(bench.plan, bench.folder, base))
    reproduce(rest.bench, rest)
    assert rest.trained == []
    assert killed.trained == ["echo-oracle-es", "echo-multilingual"]
    assert sorted([*killed.scored, *rest.scored]) == [path.name for path in cells]
    assert report_of(rest.bench, tmp_path / "again") == expected


def test_the_oracle_is_in_its_own_row_alone(bench: Bench) -> None:
    plan = bench.plan
    oracle = bench.shelves.find(1, "apart", "echo-oracle-es")
    several = bench.shelves.find(1, "apart", "echo-multilingual")
    assert oracle is not None
    assert several is not None
    taking_part: dict[str, set[str]] = {}
    for row in lines_of(plan, plan.tasks[0], 1):
        for option in row.options:
            if option.expression is not None:
                hub = bench.shelves.hub(1, option.shelf)
                terms = hub.explain(option.expression, task="echo").terms
                taking_part.setdefault(row.key, set()).update(term.digest for term in terms)
    assert [key for key, digests in taking_part.items() if oracle.digest in digests] == ["oracle"]
    assert [key for key, digests in taking_part.items() if several.digest in digests] == [
        "multilingual"
    ]
    assert len(taking_part["add_all"]) == 2


def test_the_oracle_changes_no_other_number(bench: Bench, base: BaseChoice, tmp_path: Path) -> None:
    """Were it among what selectors find, add_all would come out differently without it."""
    before = report_of(bench, tmp_path / "before")
    bench.close()
    shutil.rmtree(bench.folder / "seed-1" / "apart")
    after = report_of(Bench(bench.plan, bench.folder, base), tmp_path / "after")
    assert isinstance(before["tables"], dict)
    assert isinstance(after["tables"], dict)
    kept = {"oracle", "multilingual"}
    for table in ("table-1-echo-bpb", "table-2-echo-bpb", "controls-echo-bpb"):
        rows = [row for row in before["tables"][table]["rows"] if row["row"] not in kept]
        assert rows == after["tables"][table]["rows"]


def test_means_over_sets_wait_for_the_whole_set(
    bench: Bench, base: BaseChoice, tmp_path: Path
) -> None:
    """With one vector of two, `add_all` would be the baseline under another name."""
    there = bench.shelves.hub(1, "vectors")
    bench.close()
    shutil.rmtree(there.home.path)
    again = Bench(bench.plan, bench.folder, base)
    for vector in vectors_of(bench.plan, 1, 0):
        if vector.shelf == "vectors" and vector.name != "echo-fr":
            again.train(vector)
    tables = report_of(again, tmp_path / "report")["tables"]
    assert isinstance(tables, dict)
    assert [row["row"] for row in tables["table-2-echo-bpb"]["rows"]] == [
        "baseline",
        "multilingual",
    ]
    assert "steer" in [row["row"] for row in tables["controls-echo-bpb"]["rows"]]


def test_lambda_is_chosen_on_validation_data_alone(bench: Bench) -> None:
    results, _ = look(bench)
    for outcome in results.outcomes:
        if outcome.curve:
            best = min(outcome.curve, key=lambda point: point[1])
            assert outcome.chosen == (f"{outcome.chosen[0][0]}={best[0]:.6g}",)
    for path in (bench.folder / "cells").glob("es-validation-*"):
        ids = json.loads(path.read_text())["metrics"]["bpb"]["ids"]
        assert all(one.startswith("dev-") for one in ids)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('targets = ["es"]', 'targets = ["fr"]', "'fr' is both a target and a task language"),
        ('source = "en"', 'source = "de"', "source 'de' is not among the task_languages"),
        ("seeds = [1]", "seed = [1]", "does not know 'seed'; did you mean 'seeds'"),
        ('"controls"]', '"control"]', "parts does not know 'control'; did you mean 'controls'"),
        ('es = ["fr"]', 'es = ["en"]', "the target and the source are not wrong"),
        ("steps = 1", "step = 1", "[training] does not know 'step'; did you mean 'steps'"),
        ('name = "echo"', 'names = "echo"', "[[task]] does not know 'names'; did you mean 'name'"),
        ('texts = "data', 'text = "data', "the plan does not know 'text'; did you mean 'texts'"),
        ("seeds = [1]", "seeds = [1", "is no plan in TOML"),
        ("seeds = [1]", "seeds = 1", "seeds must be a list of whole numbers, not 1"),
        ('targets = ["es"]', "targets = 3", "3 stands where a list of languages is expected"),
        ("{language}-texts", "{lang}-texts", "there are {language} and {name}"),
        ("{language}-dev", "{-dev", "there are {language} and {name}"),
        ('[wrong]\nes = ["fr"]', "[wrong]\nes = 3", "3 stands where a list of languages"),
        ("l = [0.5, 1.0]", "l = []", "l in [tune] must be a list of numbers, not []"),
        ("l = [0.5, 1.0]", 'l = "0.5"', "l in [tune] must be a list of numbers, not '0.5'"),
        ("examples = 4", "examples = 0", "examples in [test] must be a whole number, at least 1"),
        ("max_length = 96", 'max_length = "x"', "max_length must be a whole number, at least 8"),
        ('name = "echo"', 'name = "echo"\nprompt = "x"', "must hold {source} exactly once"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in PLAN
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.replace(old, new, 1))
    with pytest.raises(SettingsError) as caught:
        read_plan(path)
    assert said in str(caught.value)


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="there is no plan"):
        read_plan(tmp_path / "plan.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("steps = 1", 'steps = "1"', "steps is '1', it must be a whole number"),
        ('metrics = ["language"]', 'metrics = ["rouge9"]', "there is no metric 'rouge9'"),
        ('"steer"]', '"stear"]', "there is no row 'stear'; the plan's rows are: base, "),
    ],
)
def test_nothing_is_trained_for_a_plan_that_cannot_be_finished(
    base: BaseChoice, tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in PLAN
    plan = read_plan(write_plan(tmp_path, PLAN.replace(old, new, 1)))
    crew = Counting(Bench(plan, tmp_path / "out", base))
    with pytest.raises(SettingsError) as caught:
        reproduce(crew.bench, crew)
    assert said in str(caught.value)
    assert crew.trained == []


def test_vectors_of_another_base_or_other_settings_or_data_are_not_reported_as_these(
    bench: Bench, base: BaseChoice, tmp_path: Path
) -> None:
    other = replace(base, digest="0" * 64)
    steps = bench.folder.parent / "steps.toml"
    steps.write_text(PLAN.replace("steps = 1", "steps = 2"))
    for changed, what in (
        (Bench(bench.plan, bench.folder, other), "another base than"),
        (Bench(bench.plan, bench.folder, replace(base, dtype="bfloat16")), "another dtype than"),
        (Bench(read_plan(steps), bench.folder, base), "another steps than"),
    ):
        with pytest.raises(SettingsError, match=f"'echo-en' of seed 1 in .*{what}"):
            reproduce(changed)
        changed.close()
    texts = bench.folder.parent / "data" / "es-texts.jsonl"
    texts.write_text(texts.read_text() + '{"text": "one more"}\n')
    with pytest.raises(SettingsError, match=r"'lm-es' of seed 1 .*another data than"):
        reproduce(bench)


def test_choosing_on_test_data_is_refused(base: BaseChoice, tmp_path: Path) -> None:
    text = PLAN.replace("{language}-dev", "{language}-test")
    bench = Bench(read_plan(write_plan(tmp_path, text)), tmp_path / "out", base)
    with pytest.raises(DataError, match="what chooses must not be what is reported"):
        reproduce(bench)
    assert not (tmp_path / "out").exists()


def test_the_command_reports_what_is_finished(
    reproduced: Path, base: BaseChoice, invoke: Invoke, tmp_path: Path
) -> None:
    given = ("--base", base.model, "--base-name", base.name, "--plan", reproduced / "plan.toml")
    out = shutil.copytree(reproduced / "out", tmp_path / "out")
    shown = invoke("reproduce", *given, "--output", out, "--report-only").output
    assert "### Table 1: labelled data in one language (echo, bits per byte" in shown
    said = json.loads(invoke("reproduce", *given, "--output", out, "--json").stdout)
    assert said["complete"] is True
    assert (out / "report" / "report.md").is_file()
    missing = invoke("reproduce", *given[:-1], tmp_path / "none.toml", code=3)
    assert "there is no plan" in missing.stderr


def test_random_subsets_are_as_large_and_others() -> None:
    every = random_subsets(["en", "fr", "ja"], ["en", "fr"], 5, "seed")
    assert every == [("en", "ja"), ("fr", "ja")]
    some = random_subsets(list("abcdefgh"), ["a", "b", "c"], 4, "seed")
    assert len(set(some)) == 4
    assert all(len(set(one)) == 3 for one in some)
    assert some == random_subsets(list("abcdefgh"), ["a", "b", "c"], 4, "seed")
    assert some != random_subsets(list("abcdefgh"), ["a", "b", "c"], 4, "other")
    assert random_subsets(["en", "fr"], ["en", "fr"], 5, "seed") == []


def measured(*numerators: float, examples: int = 4) -> Measurement:
    ids = tuple(f"d{number}" for number in range(examples))
    return Measurement("bpb", ids, numerators, tuple(float(10 + n) for n in range(examples)))


def test_seeds_are_pooled_document_by_document() -> None:
    first, second = measured(10.0, 12.0, 9.0, 20.0), measured(14.0, 12.0, 11.0, 10.0)
    pooled = pool([first, second])
    assert pooled.numerators == (12.0, 12.0, 10.0, 15.0)
    assert pooled.value == pytest.approx((first.value + second.value) / 2)


def test_an_average_over_one_language_has_that_languages_interval() -> None:
    first, second = measured(10.0, 12.0, 9.0, 20.0), measured(14.0, 12.0, 11.0, 10.0)
    alone = paired_bootstrap(first, second)
    average = average_interval([(first, second)])
    assert average.value == pytest.approx(alone.value)
    assert average.low == pytest.approx(alone.low, abs=0.02)
    assert average.high == pytest.approx(alone.high, abs=0.02)


def test_an_average_is_surer_than_its_parts() -> None:
    numerators = [float(n % 7) for n in range(60)]
    sets = [(measured(*numerators[k:], *numerators[:k], examples=60), None) for k in (0, 9, 23, 40)]
    one, four = average_interval(sets[:1]), average_interval(sets)
    assert four.high - four.low == pytest.approx((one.high - one.low) / 2, rel=0.1)


@pytest.fixture(scope="session")
def whole_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("whole")
    every = f"parts = {json.dumps(list(PARTS))}\nindependent_seeds = [1]\n"
    text = PLAN.replace('parts = ["one", "many", "controls"]\n', every)
    text = text.replace('["en", "fr"]', '["en", "fr", "ja"]')
    text = text.replace("seeds = [1]", "seeds = [1, 2]", 1)
    return read_plan(write_plan(folder, text))


@pytest.mark.slow
def test_all_parts_and_two_seeds(
    whole_plan: Plan, base: BaseChoice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(whole_plan, tmp_path / "out", base)
    _, done = reproduce(bench)
    assert done.complete
    assert capsys.readouterr().err == ""
    tables = report_of(bench, tmp_path / "report")["tables"]
    assert isinstance(tables, dict)
    assert {"table-3-echo-bpb", "figure-2-echo-bpb", "table-4"} <= set(tables)
    assert [row["row"] for row in tables["table-6-echo-bpb"]["rows"]][-1] == "in-full"
    assert tables["table-6-echo-bpb"]["rows"][-1]["average"] is not None
    rows = {row["row"]: row for row in tables["controls-echo-bpb"]["rows"]}
    assert list(rows["independent-steer"]["languages"]["es"]["by_seed"]) == ["1"]
    assert list(rows["steer"]["languages"]["es"]["by_seed"]) == ["1", "2"]
    starts = {
        (seed, vector.shelf, vector.name): record.training["init_seed"]
        for seed in whole_plan.seeds
        for vector in vectors_of(whole_plan, seed, 0)
        if (record := bench.shelves.find(seed, vector.shelf, vector.name)) is not None
    }
    assert starts.pop((1, "independent", "lm-es")) == 1
    assert set(starts.values()) == {0}
    assert tables["vectors"]["note"].startswith("the first Kronecker factor is")


class Deadly:
    """What no worker outlives."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


@pytest.mark.slow
def test_ray_comes_to_the_same_numbers(reproduced: Path, base: BaseChoice, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    from isogloss.lab.reproduction.crew import Workers

    plan = read_plan(reproduced / "plan.toml")
    alone = Bench(plan, reproduced / "out", base)
    expected, _ = look(alone)
    alone.close()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        spread = Bench(plan, tmp_path / "out", base)
        workers = Workers(spread, workers=2)
        results, done = reproduce(spread, workers)
        with pytest.raises(LabError, match=r"a worker died 3 times: .*the same command goes on"):
            workers.score(cast(list[Cell], [Deadly()]))
        workers.close()
        spread.close()
    finally:
        ray.shutdown()
    assert done.complete
    assert results.outcomes == expected.outcomes

"""Plans: what they say, what is skipped, what fails, and the same on a Ray cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from isogloss.hub import AdapterHub
from isogloss.lab import NoDataError, SettingsError
from isogloss.lab.data.source import shipped
from isogloss.lab.tiny import byte_tokenizer, tiny_llama
from isogloss.lab.training.plan import Outcome, read_plan, train_plan
from isogloss.lab.training.request import BaseChoice

PLAN = """
base = "base"
license = "mit"
[settings]
steps = 2
batch_size = 2
max_length = 64
[[task]]
task = "headlines"
languages = ["en", "es"]
data = "{language}.jsonl"
seeds = [0, 1]
name = "{task}-{language}-s{seed}"
steps = 1
[[lm]]
languages = ["en", "yo"]
data = "{language}.jsonl"
text_field = "text"
limit = 5
init_seeds = [7]
[[lm]]
languages = ["pt", "yo"]
data = ["{language}.jsonl", "more.txt"]
multilingual = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a plan, its data and its base."""
    tiny_llama().save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    for language in ("en", "es", "pt", "yo"):
        (tmp_path / f"{language}.jsonl").write_bytes(shipped(language).read_bytes())
    (tmp_path / "more.txt").write_text("one more line\n")
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[AdapterHub]:
    with AdapterHub.init(tmp_path / "home") as opened:
        yield opened


def states(outcomes: tuple[Outcome, ...]) -> dict[str, str | bool]:
    return {
        one.run.name: one.error or (one.trained is not None and one.trained.created)
        for one in outcomes
    }


def test_a_plan_says_its_runs(folder: Path) -> None:
    runs = read_plan(folder / "plan.toml")
    assert [run.name for run in runs] == [
        "headlines-en-s0",
        "headlines-en-s1",
        "headlines-es-s0",
        "headlines-es-s1",
        "lm-en",
        "lm-yo",
        "lm-pt-yo",
    ]
    first, _, spanish, _, lm, _, both = runs
    assert (first.kind, first.task, first.languages) == ("task", "headlines", ("en",))
    assert (first.settings.steps, first.settings.batch_size, first.settings.seed) == (1, 2, 0)
    assert runs[1].settings.seed == 1
    assert spanish.data == (str(folder / "es.jsonl"),)
    assert (lm.settings.steps, lm.settings.init_seed, lm.limit, lm.fields.text) == (2, 7, 5, "text")
    assert both.languages == ("pt", "yo")
    assert [Path(one).name for one in both.data] == ["pt.jsonl", "more.txt", "yo.jsonl", "more.txt"]
    assert {run.base.name for run in runs} == {str(folder / "base")}
    assert {run.license for run in runs} == {"mit"}
    assert len({run.digest for run in runs}) == len(runs)


def test_what_decides_a_result_decides_the_digest(folder: Path) -> None:
    plan = folder / "plan.toml"
    before = {run.name: run.digest for run in read_plan(plan)}
    assert {run.name: run.digest for run in read_plan(plan)} == before
    plan.write_text(PLAN.replace('license = "mit"', ""))
    assert {run.name: run.digest for run in read_plan(plan)} == before
    (folder / "es.jsonl").write_bytes((folder / "en.jsonl").read_bytes())
    after = {run.name: run.digest for run in read_plan(plan)}
    assert {name for name in before if before[name] != after[name]} == {
        "headlines-es-s0",
        "headlines-es-s1",
    }
    (folder / "es.txt").write_bytes((folder / "es.jsonl").read_bytes())
    plan.write_text(PLAN.replace("{language}.jsonl", "{language}.txt", 1))
    with pytest.raises(NoDataError, match=r"there is no file 'en\.txt'"):
        read_plan(plan)
    plan.write_text(PLAN.replace('["en", "es"]', '["es"]').replace("{language}.jsonl", "es.txt", 1))
    as_text = {run.name: run.digest for run in read_plan(plan)}
    assert as_text["headlines-es-s0"] != after["headlines-es-s0"]
    assert as_text["lm-en"] == after["lm-en"]
    plan.write_text(PLAN.replace("steps = 2", "steps = 3"))
    after = {run.name: run.digest for run in read_plan(plan)}
    assert {name for name in before if before[name] == after[name]} == {
        "headlines-en-s0",
        "headlines-en-s1",
    }


def test_finished_runs_are_skipped_and_failed_ones_stop_nobody(
    folder: Path, hub: AdapterHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (folder / "es.jsonl").open("a") as file:
        file.write('{"text": "x"}\n')
    loads = []
    load = BaseChoice.load

    def counted(self: BaseChoice) -> object:
        loads.append(self)
        return load(self)

    monkeypatch.setattr(BaseChoice, "load", counted)
    runs = read_plan(folder / "plan.toml")
    seen: list[Outcome] = []
    outcomes = train_plan(hub, runs, report=seen.append)
    assert list(outcomes) == seen
    missing = f"{folder}/es.jsonl, line 21: field 'summary' is missing; its fields are: text"
    assert states(outcomes) == {run.name: missing if "-es-" in run.name else True for run in runs}
    assert len(loads) == 1
    assert len(hub.find()) == 5
    assert hub.show("lm-pt-yo").languages == ("pt", "yo")
    (folder / "es.jsonl").write_bytes(shipped("es").read_bytes())
    again = train_plan(hub, read_plan(folder / "plan.toml"))
    assert states(again) == {run.name: "-es-" in run.name for run in runs}
    assert len(loads) == 2
    train_plan(hub, read_plan(folder / "plan.toml"))
    assert len(loads) == 2


def test_a_base_that_a_failure_left_half_adapted_is_not_used_again(
    folder: Path, hub: AdapterHub
) -> None:
    """peft adapts the query projections before it refuses the norm."""
    good = '[[lm]]\nlanguages = ["pt"]\ndata = "{language}.jsonl"\n'
    bad = good.replace("pt", "yo") + 'targets = ["q_proj", "input_layernorm"]\n'
    head = PLAN.partition("[[task]]")[0]
    (folder / "plan.toml").write_text(head + bad + good)
    first, second = train_plan(hub, read_plan(folder / "plan.toml"))
    assert "peft cannot put lora on LlamaForCausalLM" in str(first.error)
    assert second.trained is not None
    (folder / "plan.toml").write_text(head + good)
    with AdapterHub.init(folder / "alone") as alone:
        (expected,) = train_plan(alone, read_plan(folder / "plan.toml"))
    assert expected.trained is not None
    assert second.trained.version.digest == expected.trained.version.digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[settings]", "[setings]", r"the plan '.*' has 'setings'.*did you mean 'settings'\?"),
        ("steps = 2", "step = 2", r"\[settings\] of '.*' has 'step'.*did you mean 'steps'\?"),
        ("limit = 5", "limits = 5", r"\[\[lm\]\] number 1 of '.*' has 'limits'.*'limit'\?"),
        ("steps = 2", 'steps = "2"', "a setting is of the wrong kind"),
        ("steps = 2", "steps = 2.5", "steps is 2.5, it must be a whole number"),
        ("steps = 2", "peft = 3", "peft is 3, it must be a text"),
        ("steps = 2", 'peft_options = "x"', "peft_options is 'x', it must be a table"),
        ("steps = 2", "targets = 3", "targets in .* must be a text or a list of texts, not 3"),
        (
            "[settings]\nsteps = 2\nbatch_size = 2\nmax_length = 64\n",
            "settings = 3\n",
            r"\[settings\] of .* is 3, not a table",
        ),
        ('license = "mit"', 'dtype = "int3"', "there is no dtype 'int3'"),
        ('license = "mit"', "license = 3", "license in .* must be a text, not 3"),
        ('task = "headlines"', "task = 3", "task in .* must be a text, not 3"),
        ("seeds = [0, 1]", 'validation = ["a"]', r"validation in .* must be a text, not \['a'\]"),
        ("limit = 5", "limit = 0", "limit is 0: it must be a whole number, at least 1"),
        ("limit = 5", 'limit = "5"', "limit is '5': it must be a whole number"),
        ("multilingual = true", 'multilingual = "no"', "multilingual in .* must be true or false"),
        ("steps = 2", "steps = 0", "steps is 0: it must be at least 1"),
        ('task = "headlines"\n', "", r"\[\[task\]\] number 1 of '.*' has no task"),
        ('languages = ["en", "yo"]\n', "", r"\[\[lm\]\] number 1 of '.*' has no languages"),
        ("-s{seed}", "", "several runs called 'headlines-en', 'headlines-es': tell them apart"),
        ("-s{seed}", "-s{sead}", "has a place that is not known: there are {language}"),
        ('base = "base"\n', "", 'names no base model: write base = "MODEL"'),
        ("[[task]]", "[task]", r"write \[\[task\]\], with two brackets"),
        ("seeds = [0, 1]", "seeds = 1", "seeds in .* must be a list of whole numbers"),
        ("[settings]", "[settings", "is not TOML"),
    ],
)
def test_mistakes_in_a_plan_are_named(folder: Path, old: str, new: str, message: str) -> None:
    plan = folder / "plan.toml"
    assert old in PLAN
    plan.write_text(PLAN.replace(old, new))
    with pytest.raises(SettingsError, match=message):
        read_plan(plan)


def test_plans_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_plan(tmp_path / "absent.toml")
    (tmp_path / "plan.toml").write_text('base = "x/y"\n')
    with pytest.raises(SettingsError, match=r"holds no \[\[task\]\] and no \[\[lm\]\]"):
        read_plan(tmp_path / "plan.toml")


def strike_once(runs: Path, struck: list[str]) -> None:
    """Kill the first process that is seen training, by the lock it holds."""
    for _ in range(6000):
        for lock in runs.glob("*/.lock"):
            if list(lock.parent.glob("checkpoint-*")) and (pid := holder(lock)) is not None:
                os.kill(pid, signal.SIGKILL)
                struck.append(lock.parent.name)
                return
        time.sleep(0.02)


def holder(lock: Path) -> int | None:
    inode = lock.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning")
def test_two_workers_of_a_ray_cluster_train_a_plan(folder: Path, hub: AdapterHub) -> None:
    import ray
    from isogloss.lab.training.cluster import train_plan_on_ray

    (folder / "plan.toml").write_text(PLAN.replace("steps = 2", "steps = 60"))
    with (folder / "es.jsonl").open("a") as file:
        file.write('{"text": "x"}\n')
    runs = read_plan(folder / "plan.toml")
    done = next(run for run in runs if run.name == "headlines-en-s0")
    train_plan(hub, [done])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        struck: list[str] = []
        killer = threading.Thread(target=strike_once, args=(hub.home.path / "runs", struck))
        killer.start()
        seen: list[Outcome] = []
        outcomes = train_plan_on_ray(hub, runs, workers=2, report=seen.append)
        killer.join()
        assert struck
        assert {one.run.name for one in seen} == {run.name for run in runs}
        found = states(outcomes)
        assert found.pop("headlines-en-s0") is False
        for seed in (0, 1):
            assert "field 'summary' is missing" in str(found.pop(f"headlines-es-s{seed}"))
        assert set(found.values()) == {True}
        again = states(train_plan_on_ray(hub, [run for run in runs if "-es" not in run.name]))
        assert set(again.values()) == {False}
        unseen = AdapterHub.init(folder / "unseen")
        unseen.close()
        shutil.rmtree(folder / "unseen")
        (nowhere,) = train_plan_on_ray(unseen, runs[:1])
        assert str(nowhere.error).startswith(f"no catalogue at {folder}/unseen/")
    finally:
        ray.shutdown()
    alone = AdapterHub.init(folder / "alone")
    with alone:
        for outcome in train_plan(alone, [run for run in runs if "-es" not in run.name]):
            name = outcome.run.name
            assert hub.show(name).digest == alone.show(name).digest, json.dumps(name)

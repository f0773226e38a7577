"""Training on the tiny model: what it changes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from isogloss.hub import AdapterHub, NameTakenError, OutputError, SourceError
from isogloss.lab import DataError, ModelError, SettingsError, TrainingError
from isogloss.lab.data.source import fingerprint, shipped
from isogloss.lab.models.base import Base, load_base
from isogloss.lab.tiny import byte_tokenizer, tiny_llama
from isogloss.lab.training.adapter import start_adapter
from isogloss.lab.training.examples import examples_of
from isogloss.lab.training.request import choose_base, describe_run
from isogloss.lab.training.run import train_lm, train_task
from isogloss.lab.training.settings import Settings
from peft import PeftModel
from safetensors.torch import load_file

SETTINGS = Settings(steps=20, batch_size=4, learning_rate=1e-2, max_length=96)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("base")
    tiny_llama().save_pretrained(place)
    byte_tokenizer().save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return load_base(folder)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[AdapterHub]:
    with AdapterHub.init(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [("the river rose", "flood"), ("the train was late", "delay")]
    path.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in rows))
    return path


def factors(model: Any, kind: str) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if f"lora_{kind}" in n}


def started(settings: Settings, folder: Path, kind: str = "A") -> dict[str, torch.Tensor]:
    return factors(start_adapter(load_base(folder), settings), kind)


def test_every_adapter_of_a_base_starts_from_one_a(folder: Path) -> None:
    first = started(SETTINGS, folder)
    torch.rand(7)
    second = started(replace(SETTINGS, seed=5, data_seed=3, steps=7), folder)
    other = started(replace(SETTINGS, init_seed=1), folder)
    assert len(first) == 8
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    assert not any(value.any() for value in started(SETTINGS, folder, "B").values())


def test_a_set_of_many_languages_gives_a_run_its_own_alone(base: Base, tmp_path: Path) -> None:
    """The rows of TyDi QA say their language in their ids."""
    path = tmp_path / "tydiqa.jsonl"
    with path.open("w") as file:
        for number, language in enumerate(("english", "swahili", "thai") * 3):
            row = {"id": f"{language}-{number}", "context": language, "question": "?"}
            file.write(json.dumps(row | {"answers": {"text": [language]}}) + "\n")
    for languages, expected in ((("th",), {"thai"}), (("eng", "sw"), {"english", "swahili"})):
        run = describe_run(
            "task", base, path, languages, "qa", SETTINGS, None, None, None, None, None
        )
        examples = examples_of(run, base)
        written = (examples[number].written for number in range(12))
        decoded = {base.tokenizer.decode(one, skip_special_tokens=True) for one in written}
        assert decoded == expected


def test_a_fresh_adapter_leaves_the_callers_random_state_alone(folder: Path) -> None:
    loaded = load_base(folder)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    start_adapter(loaded, SETTINGS)
    assert torch.equal(torch.rand(4), expected)


def test_tiny_llama_follows_from_its_seed() -> None:
    one, again, other = tiny_llama(seed=1), tiny_llama(seed=1), tiny_llama(seed=2)
    weights = [model.state_dict() for model in (one, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["lm_head.weight"], weights[2]["lm_head.weight"])


def test_training_learns_and_leaves_the_base_as_it_was(
    hub: AdapterHub, base: Base, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    trained = train_lm(
        hub, base, shipped("pt"), language="pt", settings=SETTINGS, output=tmp_path / "out"
    )
    assert trained.created
    assert trained.last_loss < trained.first_loss
    after = base.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    (run,) = (tmp_path / "home" / "runs").iterdir()
    assert {path.name for path in run.iterdir()} == {".lock", "trainer_state.json"}
    inputs = torch.tensor([[1, 50, 60, 70]])
    with torch.no_grad():
        plain = base.model(inputs).logits
        adapted = PeftModel.from_pretrained(tiny_llama(), tmp_path / "out")(inputs).logits
    assert (adapted - plain).abs().max() > 1e-3


def test_the_output_is_written_once(hub: AdapterHub, base: Base, tmp_path: Path) -> None:
    def train(steps: int) -> bool:
        settings = replace(SETTINGS, steps=steps)
        output = tmp_path / "out"
        return train_lm(
            hub, base, shipped("pt"), language="pt", settings=settings, output=output
        ).created

    assert train(1)
    assert not train(1)
    with pytest.raises(OutputError, match="is not empty; name a new or an empty one"):
        train(2)
    assert [version.label for version in hub.find()] == ["lm-pt@v1"]


def test_a_run_is_catalogued_with_all_that_made_it(
    hub: AdapterHub, base: Base, pairs: Path
) -> None:
    settings = replace(SETTINGS, accumulation=2, seed=3, init_seed=4, data_seed=5)
    trained = train_task(
        hub, base, pairs, language="eng", task="headlines", settings=settings, license="mit"
    )
    record = hub.show("headlines-en")
    assert record == trained.version
    assert (record.kind, record.languages, record.task) == ("task", ("en",), "headlines")
    assert (record.dataset, record.objective) == ("pairs.jsonl", "labelled")
    assert record.base_model == base.name
    assert record.tokenizer_digest == base.tokenizer_digest is not None
    assert (record.rank, record.alpha, record.peft_type) == (4, 4.0, "LORA")
    assert {name.rpartition(".")[2] for name in record.target_modules} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    }
    assert (record.steps, record.batch_size, record.seed) == (20, 8, 3)
    assert (record.learning_rate, record.license) == (1e-2, "mit")
    assert {"torch", "transformers", "peft", "isogloss"} <= set(record.library_versions)
    said = record.training
    assert said["data"] == [{"source": str(pairs), "fingerprint": fingerprint(pairs)}]
    assert (said["init_seed"], said["data_seed"]) == (4, 5)
    assert said["losses"] == {"first": trained.first_loss, "last": trained.last_loss}
    assert said["base_digest"] == base.digest
    assert said["settings"] == settings.as_json()


def test_a_run_that_the_catalogue_has_is_not_trained_again(
    hub: AdapterHub, folder: Path, pairs: Path
) -> None:
    def train(**changes: Any) -> tuple[bool, str]:
        settings = replace(SETTINGS, steps=3, **changes)
        base = choose_base(folder)
        done = train_task(hub, base, pairs, language="en", task="short", settings=settings)
        return done.created, done.version.label

    assert train() == (True, "short-en@v1")
    assert train() == (False, "short-en@v1")
    assert train(init_seed=1) == (True, "short-en@v2")
    assert train() == (False, "short-en@v1")
    pairs.write_text(pairs.read_text() + '{"source": "one more", "target": "more"}\n')
    assert train() == (True, "short-en@v3")
    hub.withdraw("short-en@v3", "a mistake")
    assert train()[0]


def test_the_same_seeds_give_the_same_weights(hub: AdapterHub, base: Base, pairs: Path) -> None:
    def digest(name: str, **changes: Any) -> str:
        settings = replace(SETTINGS, steps=5, **changes)
        done = train_task(hub, base, pairs, language="en", task="t", settings=settings, name=name)
        return done.version.digest

    digests = [digest("a"), digest("b"), digest("c", init_seed=1), digest("d", data_seed=1)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_accumulated_batches_are_one_large_batch(
    hub: AdapterHub, base: Base, pairs: Path, tmp_path: Path
) -> None:
    def weights(name: str, size: int, accumulation: int) -> dict[str, torch.Tensor]:
        settings = replace(SETTINGS, steps=4, batch_size=size, accumulation=accumulation)
        output = tmp_path / name
        train_task(
            hub, base, pairs, language="en", task="t", settings=settings, name=name, output=output
        )
        return load_file(output / "adapter_model.safetensors")

    whole, parts = weights("whole", 4, 1), weights("parts", 2, 2)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=2e-4, rtol=1e-3)


def test_a_task_vector_learns_the_target_and_not_the_source(
    hub: AdapterHub, base: Base, pairs: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, steps=60)
    train_task(
        hub, base, pairs, language="en", task="t", settings=settings, output=tmp_path / "task"
    )
    adapted = PeftModel.from_pretrained(tiny_llama(), tmp_path / "task")

    def loss(of: Any, read: str, written: str) -> float:
        prefix = base.tokenizer(read)["input_ids"]
        row = base.tokenizer(written, add_special_tokens=False)["input_ids"]
        labels = [-100] * len(prefix) + row
        with torch.no_grad():
            result = of(torch.tensor([prefix + row]), labels=torch.tensor([labels]))
        return float(result.loss)

    gains = {
        part: loss(base.model, *part) - loss(adapted, *part)
        for part in [("the river rose\n", "flood"), ("t", "he river rose")]
    }
    assert gains["the river rose\n", "flood"] > 0.05
    assert gains["the river rose\n", "flood"] > gains["t", "he river rose"]


def test_one_vector_is_trained_on_several_languages(hub: AdapterHub, base: Base) -> None:
    settings = replace(SETTINGS, steps=3)
    data = [shipped("pt"), shipped("yo")]
    trained = train_lm(hub, base, data, language=["pt", "yo"], settings=settings)
    assert trained.version.label == "lm-pt-yo@v1"
    assert trained.version.languages == ("pt", "yo")
    assert trained.version.dataset == "pt.jsonl, yo.jsonl"
    assert len(trained.version.training["data"]) == 2


def test_a_failed_run_leaves_nothing_in_the_catalogue(
    hub: AdapterHub, base: Base, pairs: Path, tmp_path: Path
) -> None:
    with pairs.open("a") as file:
        file.write('{"source": "and then", "target": ""}\n')
    with pytest.raises(DataError, match=r"line 3: field 'target' is empty"):
        train_task(hub, base, pairs, language="en", task="t", settings=SETTINGS)
    hot = replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"the loss of step \d+ is nan: lower --learning-rate"):
        train_lm(hub, base, shipped("pt"), language="pt", settings=hot)
    assert hub.find() == []
    done = train_lm(hub, base, shipped("pt"), language="pt", settings=replace(SETTINGS, steps=2))
    assert done.created


def test_names_are_refused_before_training(hub: AdapterHub, base: Base, pairs: Path) -> None:
    short = replace(SETTINGS, steps=1)
    with pytest.raises(SourceError, match="'a b' cannot name an adapter"):
        train_lm(hub, base, pairs, language="en", settings=short, name="a b")
    with pytest.raises(SourceError, match="a task cannot be called 'lm'"):
        train_task(hub, base, pairs, language="en", task="lm", settings=short)
    train_lm(hub, base, shipped("en"), language="en", settings=short, name="taken")
    with pytest.raises(NameTakenError, match="already names an adapter of kind lm"):
        train_task(hub, base, pairs, language="en", task="t", settings=short, name="taken")
    other = replace(base, name="another")
    with pytest.raises(NameTakenError, match="this one is for another; give it a name"):
        train_lm(hub, other, shipped("en"), language="en", settings=short, name="taken")


def test_models_without_the_targets_are_refused_with_their_modules(
    hub: AdapterHub, base: Base
) -> None:
    settings = replace(SETTINGS, targets=("q_proj", "query", "wo"))
    with pytest.raises(
        ModelError, match=r"LlamaForCausalLM has no module called query, wo; .*q_proj.*: name"
    ):
        train_lm(hub, base, shipped("pt"), language="pt", settings=settings)
    assert hub.find() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0: it must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be above 0"),
        ({"max_target_length": 96}, "leaves nothing of max_length 96 for the source"),
        ({"prompt": "Summarize:"}, r"must hold \{source\} exactly once"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(SETTINGS, **changes)


def test_training_says_nothing(
    hub: AdapterHub, base: Base, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train_lm(hub, base, shipped("pt"), language="pt", settings=replace(SETTINGS, steps=2))
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == ""

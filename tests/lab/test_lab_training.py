"""Training on the tiny model: what it changes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from isogloss.lab import DataError, ModelError
from isogloss.lab.corpus import Pair
from isogloss.lab.tiny import byte_tokenizer, tiny_llama
from isogloss.lab.train_language import train_language
from isogloss.lab.train_task import train_task
from isogloss.lab.training import Settings, start
from peft import PeftModel
from safetensors.torch import load_file

SETTINGS = Settings(steps=20, batch_size=4, learning_rate=1e-2, use_cpu=True)
TEXTS = ("the river rose in the night", "the train was late", "honey was cheap this year")
PAIRS = (Pair("the river rose", "flood"), Pair("the train was late", "delay"))


def factors(model: Any, kind: str) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if f"lora_{kind}" in n}


def test_every_adapter_of_a_base_starts_from_one_a() -> None:
    first = start(tiny_llama(), SETTINGS)
    torch.rand(7)
    second = start(tiny_llama(), dataclasses.replace(SETTINGS, seed=5))
    other = start(tiny_llama(), dataclasses.replace(SETTINGS, initialisation_seed=1))
    left, right, different = (factors(model, "A") for model in (first, second, other))
    assert len(left) == 8
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert not any(torch.equal(left[name], different[name]) for name in left)
    assert not any(value.any() for value in factors(first, "B").values())


def test_a_fresh_adapter_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    start(tiny_llama(), SETTINGS)
    assert torch.equal(torch.rand(4), expected)


def test_tiny_llama_follows_from_its_seed() -> None:
    one, again, other = tiny_llama(seed=1), tiny_llama(seed=1), tiny_llama(seed=2)
    weights = one.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in again.state_dict().items())
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    assert (one.name_or_path, other.name_or_path) == ("tiny-llama-1", "tiny-llama-2")


def test_training_writes_a_peft_folder_and_gives_the_model_back(tmp_path: Path) -> None:
    model = tiny_llama()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tokenizer = byte_tokenizer()
    trained = train_language(model, tokenizer, TEXTS, tmp_path / "lm", SETTINGS)
    assert trained.last_loss < trained.first_loss
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    names = {path.name for path in trained.folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "trainer_state.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt"))]
    inputs = torch.tensor([[1, 50, 60, 70]])
    with torch.no_grad():
        base = model(inputs).logits
        adapted = PeftModel.from_pretrained(model, trained.folder)(inputs).logits
    assert (adapted - base).abs().max() > 1e-3


def test_the_same_seeds_give_the_same_weights(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()

    def weights(name: str, settings: Settings) -> dict[str, torch.Tensor]:
        trained = train_task(tiny_llama(), tokenizer, PAIRS, tmp_path / name, settings)
        return load_file(trained.folder / "adapter_model.safetensors")

    first, again = weights("a", SETTINGS), weights("b", SETTINGS)
    other = weights("c", dataclasses.replace(SETTINGS, initialisation_seed=1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_task_vector_learns_the_target_and_not_the_source(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    settings = dataclasses.replace(SETTINGS, steps=60)
    model = tiny_llama()
    trained = train_task(model, tokenizer, PAIRS, tmp_path / "task", settings)
    adapted = PeftModel.from_pretrained(tiny_llama(), trained.folder)

    def loss(of: Any, read: str, written: str) -> float:
        prefix, row = tokenizer(read)["input_ids"], tokenizer(written)["input_ids"]
        labels = [-100] * len(prefix) + row
        with torch.no_grad():
            result = of(torch.tensor([prefix + row]), labels=torch.tensor([labels]))
        return float(result.loss)

    gains = {
        part: loss(model, *part) - loss(adapted, *part)
        for part in [("the river rose\n", "flood"), ("t", "he river rose")]
    }
    assert gains["the river rose\n", "flood"] > 0.05
    assert gains["the river rose\n", "flood"] > gains["t", "he river rose"]


def test_models_without_the_targets_are_refused_with_their_modules(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, targets=("q_proj", "query", "wo"))
    with pytest.raises(
        ModelError, match=r"LlamaForCausalLM has no module named query, wo; .*q_proj.*: name them"
    ):
        train_language(tiny_llama(), byte_tokenizer(), TEXTS, tmp_path / "lm", settings)
    assert not (tmp_path / "lm").exists()


@pytest.mark.parametrize(
    ("token", "word"), [("pad_token", "padding"), ("eos_token", "end-of-text")]
)
def test_tokenizers_without_needed_tokens_are_refused(
    tmp_path: Path, token: str, word: str
) -> None:
    tokenizer = byte_tokenizer()
    setattr(tokenizer, token, None)
    with pytest.raises(ModelError, match=f"has no {word} token: set tokenizer"):
        train_task(tiny_llama(), tokenizer, PAIRS, tmp_path / "task", SETTINGS)


def test_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no texts"):
        train_language(tiny_llama(), byte_tokenizer(), (), tmp_path / "lm", SETTINGS)
    with pytest.raises(DataError, match="no pairs"):
        train_task(tiny_llama(), byte_tokenizer(), (), tmp_path / "task", SETTINGS)


def test_training_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train_language(tiny_llama(), byte_tokenizer(), TEXTS, tmp_path / "lm", SETTINGS)
    assert capfd.readouterr().out == ""

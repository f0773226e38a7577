"""Measurements, intervals, and bits per byte, each against something computed otherwise."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from isogloss.dsl.errors import IncompatibleError
from isogloss.lab import DataError, ScoringError, SettingsError
from isogloss.lab.data.records import Pair
from isogloss.lab.models.base import Base
from isogloss.lab.scoring.adapter import Adapter
from isogloss.lab.scoring.batches import explain_out_of_memory, group
from isogloss.lab.scoring.bits import bits_per_byte
from isogloss.lab.scoring.bootstrap import bootstrap, paired_bootstrap
from isogloss.lab.scoring.encoding import encode_pairs
from isogloss.lab.scoring.measurement import Measurement, mean_of
from isogloss.lab.scoring.session import Session
from isogloss.lab.scoring.settings import ScoringSettings
from isogloss.lab.tiny import byte_tokenizer, tiny_llama, tiny_t5
from peft import PeftModel
from safetensors.torch import load_file

IDS = tuple(str(number) for number in range(60))
SETTINGS = ScoringSettings(max_length=200, max_target_length=20)
PAIRS = (
    Pair("a", "the river rose", "flood", ("flood",)),
    Pair("b", "Odò kún ní òru", "odò kún", ("odò kún",)),
    Pair("c", "the train was late again", "a train came too late", ("a train came too late",)),
)


def llama_base() -> Base:
    return Base(tiny_llama(), byte_tokenizer(), "tiny-llama-0", None, False, None)


def t5_base() -> Base:
    return Base(tiny_t5(), byte_tokenizer(), "tiny-t5-0", None, True, None)


def drawn(seed: int, shift: float = 0.0, count: int = 60) -> tuple[float, ...]:
    return tuple(np.random.default_rng(seed).normal(shift, 1.0, count).tolist())


def test_a_ratio_is_that_of_the_sums() -> None:
    measurement = Measurement("bpb", ("a", "b"), (8.0, 2.0), (1.0, 4.0))
    assert measurement.value == 2.0
    assert measurement.examples == 2


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = drawn(1)
    interval = bootstrap(mean_of("f1", IDS, values))
    error = float(np.std(values)) / math.sqrt(60)
    assert interval.value == pytest.approx(float(np.mean(values)))
    assert interval.low == pytest.approx(interval.value - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(interval.value + 1.96 * error, abs=0.1 * error)


def test_resampling_equals_drawing_examples_one_by_one() -> None:
    numerators, denominators = drawn(2, 5), tuple(abs(value) + 1 for value in drawn(3))
    measurement = Measurement("bpb", IDS, numerators, denominators)
    random = np.random.default_rng(9)
    ratios = []
    for _ in range(4000):
        rows = random.integers(0, 60, 60)
        ratios.append(np.array(numerators)[rows].sum() / np.array(denominators)[rows].sum())
    interval = bootstrap(measurement)
    low, high = np.quantile(ratios, (0.025, 0.975))
    assert interval.low == pytest.approx(float(low), rel=0.01)
    assert interval.high == pytest.approx(float(high), rel=0.01)


def test_pairs_cancel_what_both_share() -> None:
    hard = drawn(4, 0.0)
    first = mean_of("f1", IDS, [10 * value for value in hard])
    second = mean_of("f1", IDS, [10 * value + 0.1 for value in hard])
    difference = paired_bootstrap(second, first)
    assert difference.value == pytest.approx(0.1)
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))
    assert difference.excludes_zero
    assert bootstrap(first).high - bootstrap(first).low > 1


def test_a_difference_without_effect_includes_zero_and_turns_around() -> None:
    first, second = mean_of("f1", IDS, drawn(5)), mean_of("f1", IDS, drawn(6))
    forth, back = paired_bootstrap(first, second), paired_bootstrap(second, first)
    assert not forth.excludes_zero
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


def test_the_same_seed_gives_the_same_interval_and_another_does_not() -> None:
    measurement = mean_of("f1", IDS, drawn(7))
    assert bootstrap(measurement) == bootstrap(measurement)
    assert bootstrap(measurement) != bootstrap(measurement, seed=1)
    narrow, wide = bootstrap(measurement, level=0.5), bootstrap(measurement, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_only_the_same_metric_on_the_same_examples_is_compared() -> None:
    first = mean_of("f1", ("a", "b"), (0.0, 1.0))
    with pytest.raises(DataError, match="not of the same examples"):
        paired_bootstrap(first, mean_of("f1", ("a", "c"), (0.0, 1.0)))
    with pytest.raises(DataError, match="f1 cannot be compared with em"):
        paired_bootstrap(first, mean_of("em", ("a", "b"), (0.0, 1.0)))
    with pytest.raises(DataError, match="nothing to measure"):
        Measurement("bpb", (), (), ())


@given(
    lengths=st.lists(st.integers(1, 40), max_size=60),
    tokens=st.integers(1, 120),
)
def test_batches_hold_every_example_once_and_stay_small(lengths: list[int], tokens: int) -> None:
    batches = group(lengths, tokens)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[number] for number in batch)
        assert padded <= tokens or len(batch) == 1
    flat: Sequence[int] = [lengths[number] for batch in batches for number in batch]
    assert list(flat) == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("rows", "error", "advice"),
    [
        (8, torch.OutOfMemoryError("CUDA out of memory"), "lower --batch-tokens (2048 now)"),
        (1, RuntimeError("DefaultCPUAllocator: can't allocate memory"), "lower --max-length"),
    ],
)
def test_out_of_memory_says_what_to_lower(rows: int, error: Exception, advice: str) -> None:
    with pytest.raises(ScoringError) as caught, explain_out_of_memory(rows, 99, 2048):
        raise error
    assert str(caught.value).startswith(f"out of memory in a batch of {rows} x 99 tokens")
    assert advice in str(caught.value)


def test_the_cpus_own_failure_is_known() -> None:
    said = "out of memory in a batch of 2 x 9 tokens"
    with pytest.raises(ScoringError, match=said), explain_out_of_memory(2, 9, 2048):
        torch.empty(1 << 50)


def test_other_failures_are_not_taken_for_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explain_out_of_memory(1, 1, 1):
        raise RuntimeError("shapes do not fit")


def by_hand(model: Any, read: Sequence[int], written: Sequence[int]) -> float:
    """Bits of what is written, one token after the other, without padding or batches."""
    total = 0.0
    with torch.no_grad():
        for done in range(len(written)):
            logits = model(torch.tensor([[*read, *written[:done]]])).logits[0, -1]
            total -= float(logits.log_softmax(-1)[written[done]]) / math.log(2)
    return total


def test_bits_per_byte_is_that_of_one_token_after_the_other() -> None:
    base, pairs = llama_base(), PAIRS
    encoded = encode_pairs(base, pairs, SETTINGS)
    for batch_tokens in (1, 90, 4096):
        measured = bits_per_byte(Session(base), pairs, encoded, batch_tokens=batch_tokens)
        assert measured.ids == ("a", "b", "c")
        assert measured.denominators == (5.0, 9.0, 21.0)
        for one, bits in zip(encoded, measured.numerators, strict=True):
            assert bits == pytest.approx(by_hand(base.model, one.read, one.written), rel=1e-5)


def test_an_encoder_decoder_is_charged_for_the_same_tokens() -> None:
    base = t5_base()
    encoded = encode_pairs(base, PAIRS, SETTINGS)
    measured = bits_per_byte(Session(base), PAIRS, encoded, batch_tokens=90)
    for one, bits in zip(encoded, measured.numerators, strict=True):
        assert base.tokenizer.decode(one.written).endswith("</s>")
        total = 0.0
        with torch.no_grad():
            for done in range(len(one.written)):
                logits = base.model(
                    input_ids=torch.tensor([one.read]),
                    decoder_input_ids=torch.tensor([[0, *one.written[:done]]]),
                ).logits[0, -1]
                total -= float(logits.log_softmax(-1)[one.written[done]]) / math.log(2)
        assert bits == pytest.approx(total, rel=1e-5)


def test_what_is_scored_is_the_prompt_then_the_reference_with_its_end() -> None:
    base = llama_base()
    short = replace(SETTINGS, prompt="{source}\nTL;DR: ")
    (one,) = encode_pairs(base, PAIRS[:1], short)
    assert base.tokenizer.decode(one.read).endswith("the river rose\nTL;DR: ")
    assert base.tokenizer.decode(one.written) == "flood</s>"
    (cut,) = encode_pairs(base, PAIRS[:1], replace(short, max_length=16, max_target_length=2))
    assert base.tokenizer.decode(cut.read) == "<s>the r\nTL;DR: "
    assert base.tokenizer.decode(cut.written) == "flood</s>"
    with pytest.raises(SettingsError, match="alone fills 8 tokens"):
        encode_pairs(base, PAIRS[:1], replace(short, max_length=10, max_target_length=2))
    with pytest.raises(SettingsError, match="513 is more than the 512 positions of tiny-llama-0"):
        encode_pairs(base, PAIRS[:1], replace(SETTINGS, max_length=513))
    long = Pair("a", "the river rose", "f" * 600, ())
    with pytest.raises(DataError, match=r"target of 'a' has 601 tokens.*512 positions"):
        encode_pairs(base, [long], SETTINGS)
    with pytest.raises(DataError, match="no pairs to score"):
        encode_pairs(base, (), SETTINGS)


def read(folder: Path) -> Adapter:
    config = json.loads((folder / "adapter_config.json").read_text())
    return Adapter(folder.name, config, load_file(folder / "adapter_model.safetensors"))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([[1, 50, 60, 70, 80]])).logits
    return found


@pytest.mark.filterwarnings("ignore:Unsupported layer type")
def test_adapters_take_turns_and_each_is_what_peft_loads(adapter_folders: dict[str, Path]) -> None:
    base = llama_base()
    bare = logits(base.model)
    session = Session(base)
    for name in [*adapter_folders, *reversed(adapter_folders)]:
        session.use(read(adapter_folders[name]))
        loaded = PeftModel.from_pretrained(tiny_llama(), adapter_folders[name])
        assert torch.equal(logits(session.model), logits(loaded)), name
        assert not torch.allclose(logits(session.model)[:, -5:], bare), name
    session.use(None)
    assert torch.equal(logits(base.model), bare)
    assert [*base.model.state_dict()] == [*tiny_llama().state_dict()]
    assert all(parameter.requires_grad for parameter in base.model.parameters())


def test_one_form_after_another_keeps_its_layers(adapter_folders: dict[str, Path]) -> None:
    session = Session(llama_base())
    first = read(adapter_folders["lora"])
    session.use(first)
    model = session.model
    doubled = {name: 2 * tensor for name, tensor in first.tensors.items()}
    session.use(Adapter("doubled", first.config, doubled))
    assert session.model is model
    session.use(read(adapter_folders["rank 3, rslora"]))
    assert session.model is not model


def test_what_does_not_fit_is_refused_and_leaves_the_bare_base(
    adapter_folders: dict[str, Path],
) -> None:
    base = llama_base()
    bare = logits(base.model)
    session = Session(base)
    good = read(adapter_folders["lora"])
    config = {**good.config, "base_model_name_or_path": "acme/other"}
    wider = {name: torch.cat([tensor, tensor], -1) for name, tensor in good.tensors.items()}
    missing = dict(list(good.tensors.items())[1:])
    unknown = {**good.tensors, "base_model.model.lm_head.lora_A.weight": torch.ones(2, 64)}
    elsewhere = {**config, "target_modules": ["c_attn"]}
    for bad, reason in (
        (Adapter("wide", config, wider), "size mismatch"),
        (Adapter("partial", config, missing), "it has no weights for"),
        (Adapter("more", config, unknown), "there is no place for .*lm_head"),
        (Adapter("elsewhere", elsewhere, good.tensors), "c_attn"),
        (Adapter("pissa", {**config, "init_lora_weights": "pissa"}, good.tensors), "subtracts"),
    ):
        session.use(good)
        with pytest.raises(IncompatibleError, match=reason):
            session.use(bad)
        assert session.adapter is None
        assert torch.equal(logits(base.model), bare)

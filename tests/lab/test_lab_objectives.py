"""The objectives: which tokens are read, which are written, and where the loss lies."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from isogloss.lab import DataError, SettingsError
from isogloss.lab.data.records import Pair, Text
from isogloss.lab.models.prompts import Prompt, encode, surrounding
from isogloss.lab.objectives.example import IGNORED, Example, collate
from isogloss.lab.objectives.labelled import labelled_example
from isogloss.lab.objectives.prefix_lm import prefix_lm_example, split_encoded, split_prefix
from isogloss.lab.tiny import byte_tokenizer, tiny_llama

tokens = st.lists(st.integers(3, 258), min_size=2, max_size=30)
starts = st.sampled_from([(), (1,)])
words = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and "\0" not in text)
TOKENIZER = byte_tokenizer()


@given(row=tokens, start=starts, length=st.integers(4, 40), seed=st.integers())
def test_prefix_lm_reads_a_prefix_and_writes_the_rest(
    row: list[int], start: tuple[int, ...], length: int, seed: int
) -> None:
    example = split_prefix(row, start=start, length=length, random=Random(seed))
    assert example.read[: len(start)] == start
    assert len(example.read) > len(start)
    assert example.written
    part = [*example.read[len(start) :], *example.written]
    assert len(part) == min(length - len(start), len(row))
    assert any(part == row[first : first + len(part)] for first in range(len(row)))


@given(row=tokens, length=st.integers(5, 40), seed=st.integers())
def test_an_encoder_reads_the_prefix_and_a_decoder_writes_the_rest(
    row: list[int], length: int, seed: int
) -> None:
    example = split_encoded(row, start=(), end=(2,), stop=2, length=length, random=Random(seed))
    assert example.read[-1] == example.written[-1] == 2
    part = [*example.read[:-1], *example.written[:-1]]
    assert len(part) == min(length - 2, len(row))
    assert any(part == row[first : first + len(part)] for first in range(len(row)))
    assert len(example.read) > 1
    assert len(example.written) > 1


def test_prefix_lm_reaches_every_split_and_every_part_about_equally_often() -> None:
    row = list(range(10, 20))
    drawn = [
        split_prefix(row, start=(), length=99, random=Random(f"0 {n}")).read for n in range(9000)
    ]
    counts = [sum(len(read) == split for read in drawn) for split in range(1, 10)]
    assert sum(counts) == 9000
    assert all(850 < count < 1150 for count in counts)
    firsts = [
        split_prefix(row, start=(), length=6, random=Random(f"0 {n}")).read[0] for n in range(5000)
    ]
    assert all(850 < firsts.count(first) < 1150 for first in range(10, 15))
    assert set(firsts) == set(range(10, 15))


@given(text=words, seed=st.integers(), encoder_decoder=st.booleans())
def test_prefix_lm_agrees_with_a_reimplementation(
    text: str, seed: int, encoder_decoder: bool
) -> None:
    example = prefix_lm_example(
        TOKENIZER, Text("1", text), length=500, encoder_decoder=encoder_decoder, random=Random(seed)
    )
    row = list(TOKENIZER(text)["input_ids"])
    assert row[0] == 1
    if encoder_decoder:
        split = Random(seed).randrange(1, max(len(row) - 1, 2))
        assert example == Example(tuple(row[: split + 1]), (*row[split + 1 :], 2))
    else:
        split = Random(seed).randrange(1, len(row))
        whole = [*row, 2]
        assert example == Example(tuple(whole[: split + 1]), tuple(whole[split + 1 :]))


@given(source=words, target=words, length=st.integers(20, 120), target_length=st.integers(2, 10))
def test_labelled_agrees_with_a_reimplementation(
    source: str, target: str, length: int, target_length: int
) -> None:
    example = labelled_example(
        TOKENIZER,
        Pair("1", source, target, (target,)),
        prompt=Prompt("{source}\nTL;DR:"),
        length=length,
        target_length=target_length,
    )
    after = list(b"\nTL;DR:")
    # The byte tokenizer's numbers are of its own alphabet, so bytes are compared decoded.
    room = length - target_length - 1 - len(after)
    kept = source.encode()[:room] + bytes(after)
    alphabet = {token: TOKENIZER.convert_ids_to_tokens(token) for token in example.read}
    expected = TOKENIZER.convert_ids_to_tokens(encode(TOKENIZER, source))[:room]
    assert example.read[0] == 1
    assert [alphabet[token] for token in example.read[1:]] == [
        *expected,
        *TOKENIZER.convert_ids_to_tokens(encode(TOKENIZER, "\nTL;DR:")),
    ]
    assert len(example.read) == 1 + len(kept)
    assert example.written == (*encode(TOKENIZER, target), 2)[:target_length]


def test_a_prompt_keeps_its_own_words_and_puts_the_tokenizers_around() -> None:
    prompt = Prompt("Text: {source}\nSummary:")
    row = prompt.encode(TOKENIZER, "x" * 500, 60)
    assert len(row) == 60
    text = TOKENIZER.decode(row[1:])
    assert text.startswith("Text: xxx")
    assert text.endswith("xxx\nSummary:")
    assert row == prompt.encode(TOKENIZER, "x" * 600, 60)
    assert prompt.encode(TOKENIZER, "ab", 60) == TOKENIZER("Text: ab\nSummary:")["input_ids"]
    with pytest.raises(SettingsError, match=r"alone fills 16 tokens: allow more"):
        prompt.encode(TOKENIZER, "x" * 500, 16)
    for template in ("no place", "{source}{source}"):
        with pytest.raises(SettingsError, match=r"must hold \{source\} exactly once"):
            Prompt(template)


def test_texts_and_targets_without_tokens_are_refused() -> None:
    with pytest.raises(DataError, match="text '7' has no tokens"):
        prefix_lm_example(
            TOKENIZER, Text("7", ""), length=20, encoder_decoder=False, random=Random(0)
        )
    with pytest.raises(DataError, match="target of '7' has no tokens"):
        labelled_example(
            TOKENIZER, Pair("7", "a", "", ("",)), prompt=Prompt(), length=20, target_length=5
        )


def test_loss_is_that_of_the_written_tokens_computed_by_hand() -> None:
    model = tiny_llama()
    examples = [Example((1, 50, 60, 70), (80, 90, 2)), Example((1, 55), (65, 2))]
    batch = collate(examples, padding=0, encoder_decoder=False)
    with torch.no_grad():
        loss = model(**batch).loss
        surprise = []
        for example in examples:
            whole = [*example.read, *example.written]
            logits = model(torch.tensor([whole])).logits[0].log_softmax(-1)
            places = range(len(example.read), len(whole))
            surprise += [-logits[i - 1, whole[i]] for i in places]
    torch.testing.assert_close(loss, torch.stack(surprise).mean())


def test_collate_pads_on_the_right() -> None:
    examples = [Example((5,), (6, 7)), Example((8,), (9,))]
    batch = collate(examples, padding=0, encoder_decoder=False)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED, 9, IGNORED]]
    batch = collate(examples, padding=0, encoder_decoder=True)
    assert batch["input_ids"].tolist() == [[5], [8]]
    assert batch["attention_mask"].tolist() == [[1], [1]]
    assert batch["labels"].tolist() == [[6, 7], [9, IGNORED]]


def test_byte_tokenizer_knows_every_script() -> None:
    for text in ("plain", "Odò kún ní òru", "नेपाली 中文 \n\t  two blanks", "<s> </s>"):
        row = encode(TOKENIZER, text)
        assert TOKENIZER.decode(row, clean_up_tokenization_spaces=False) == text
    assert len(encode(TOKENIZER, "ọ̀")) == len("ọ̀".encode())
    assert surrounding(TOKENIZER) == ([1], [])

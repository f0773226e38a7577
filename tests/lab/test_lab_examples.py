"""The objectives: which tokens are read, which are written, and where the loss lies."""

from __future__ import annotations

from random import Random

import torch
from hypothesis import given
from hypothesis import strategies as st
from isogloss.lab.examples import (
    IGNORED,
    Examples,
    begin,
    collate,
    continuation,
    encode,
    labelled,
    prefix_lm,
)
from isogloss.lab.tiny import byte_tokenizer, tiny_llama

tokens = st.lists(st.integers(3, 258), min_size=2, max_size=30)
starts = st.sampled_from([(), (1,)])


@given(row=tokens, start=starts, length=st.integers(3, 20), seed=st.integers())
def test_prefix_lm_reads_a_prefix_and_writes_the_rest(
    row: list[int], start: tuple[int, ...], length: int, seed: int
) -> None:
    example = prefix_lm(row, start=start, length=length, random=Random(seed))
    assert len(example.tokens) == min(length, len(start) + len(row))
    assert list(example.tokens) == [*start, *row][:length]
    read = example.labels.count(IGNORED)
    assert len(start) < read < len(example.labels)
    assert example.labels == (*[IGNORED] * read, *example.tokens[read:])


def test_prefix_lm_reaches_every_split_about_equally_often() -> None:
    row = list(range(10, 20))
    splits = [
        prefix_lm(row, start=(), length=99, random=Random(f"0 {n}")).labels.count(IGNORED)
        for n in range(9000)
    ]
    counts = [splits.count(split) for split in range(1, 10)]
    assert sum(counts) == 9000
    assert all(850 < count < 1150 for count in counts)


@given(source=tokens, target=tokens, start=starts, length=st.integers(5, 70))
def test_labelled_puts_the_loss_on_the_target_alone(
    source: list[int], target: list[int], start: tuple[int, ...], length: int
) -> None:
    example = labelled(source, target, start=start, length=length)
    read = example.labels.count(IGNORED)
    written = example.tokens[read:]
    assert example.tokens[:read] == (*start, *source[: read - len(start)])
    assert written == tuple(target[: len(written)]) == example.labels[read:]
    whole = len(start) + len(source) + len(target)
    assert len(example.tokens) == min(length, whole)
    if len(target) <= (length - len(start)) // 2:
        assert written == tuple(target)


def test_loss_is_that_of_the_written_tokens_computed_by_hand() -> None:
    model = tiny_llama()
    examples = [
        continuation([1, 50, 60, 70], [80, 90, 2]),
        continuation([1, 55], [65, 2]),
    ]
    batch = collate(examples, padding=0)
    with torch.no_grad():
        loss = model(**batch).loss
        surprise = []
        for example in examples:
            read = example.labels.count(IGNORED)
            logits = model(torch.tensor([example.tokens])).logits[0].log_softmax(-1)
            surprise += [
                -logits[i - 1, example.tokens[i]] for i in range(read, len(example.tokens))
            ]
    torch.testing.assert_close(loss, torch.stack(surprise).mean())


def test_collate_pads_on_the_right() -> None:
    batch = collate([continuation([5], [6, 7]), continuation([8], [9])], padding=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED, 9, IGNORED]]


def test_examples_are_made_by_their_number() -> None:
    examples = Examples(3, lambda number: continuation([number], [number + 1]))
    assert len(examples) == 3
    assert examples[2].tokens == (2, 3)


def test_byte_tokenizer_knows_every_script() -> None:
    tokenizer = byte_tokenizer()
    for text in ("plain", "Odò kún ní òru", "नेपाली 中文 \n\t  two blanks", "<s> </s>"):
        (row,) = encode(tokenizer, [text])
        assert tokenizer.decode(row, clean_up_tokenization_spaces=False) == text
    (row,) = encode(tokenizer, ["ọ̀"])
    assert len(row) == len("ọ̀".encode())
    assert begin(tokenizer) == (tokenizer.bos_token_id,)

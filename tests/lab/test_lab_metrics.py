"""ROUGE, F1, exact match and language identification against known values and other code."""

from __future__ import annotations

import io
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isogloss.dsl.errors import LanguageError
from isogloss.lab import ModelError, NoModelError, RemoteModelError, SettingsError
from isogloss.lab.data.records import read_pairs
from isogloss.lab.data.source import shipped
from isogloss.lab.scoring.answers import exact_match, f1, normalize_answer
from isogloss.lab.scoring.identification import identify, is_variety, label_of
from isogloss.lab.scoring.metrics import METRICS, find_metrics
from isogloss.lab.scoring.rouge import Rouge, load_tokenizer
from isogloss.lab.tiny import byte_tokenizer
from sentencepiece import SentencePieceTrainer

FOX = "The quick brown fox jumps over the lazy dog"
DOG = "The quick brown dog jumps on the log."


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model whose pieces are known: single characters, and the word кот."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["кот и пёс, кот кот", "cat dog the a"]),
        model_writer=model,
        model_type="char",
        vocab_size=24,
        user_defined_symbols=["кот"],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("pieces") / "pieces.model"
    path.write_bytes(model.getvalue())
    return path


def test_english_rouge_has_the_values_of_rouge_scores_own_example() -> None:
    rouge = Rouge()
    assert rouge.score("rouge1", DOG, [FOX]) == pytest.approx(2 * 0.75 * (6 / 9) / (0.75 + 6 / 9))
    assert rouge.score("rouge2", DOG, [FOX]) == pytest.approx(4 / 15)
    assert rouge.score("rougeL", DOG, [FOX]) == pytest.approx(10 / 17)
    assert rouge.score("rouge2", DOG, ["nothing", FOX]) == pytest.approx(4 / 15)
    assert rouge.score("rouge2", "", [FOX]) == 0


def test_rouge_over_pieces_has_the_value_computed_by_hand(pieces: Path) -> None:
    tokenizer = load_tokenizer(str(pieces))
    assert tokenizer.tokenize("кот и пёс") == ["▁", "кот", "▁", "и", "▁", "п", "ё", "с"]
    assert tokenizer.tokenize("кот и") == ["▁", "кот", "▁", "и"]
    rouge = Rouge(tokenizer)
    # Bigrams: 7 of the reference, 3 of the output, all 3 of them shared.
    assert rouge.score("rouge2", "кот и", ["кот и пёс"]) == pytest.approx(
        2 * 1 * (3 / 7) / (10 / 7)
    )
    # Pieces in order: 4 of 4 and of 8.
    assert rouge.score("rougeL", "кот и", ["кот и пёс"]) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert Rouge().score("rouge2", "кот и", ["кот и"]) == 0


def ngram_f(output: list[str], reference: list[str], n: int) -> float:
    """ROUGE-N as Lin (2004) defines it, written anew."""
    left = Counter(zip(*(output[i:] for i in range(n)), strict=False))
    right = Counter(zip(*(reference[i:] for i in range(n)), strict=False))
    shared = sum(min(left[one], right[one]) for one in left)
    total = sum(left.values()) + sum(right.values())
    return 2 * shared / total if shared else 0.0


def subsequence_f(output: list[str], reference: list[str]) -> float:
    @cache
    def longest(i: int, j: int) -> int:
        if i == len(output) or j == len(reference):
            return 0
        if output[i] == reference[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    shared = longest(0, 0)
    return 2 * shared / (len(output) + len(reference)) if shared else 0.0


words = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=9)


@given(output=words, reference=words)
def test_rouge_equals_its_definition(output: list[str], reference: list[str]) -> None:
    rouge, written, expected = Rouge(), " ".join(output), [" ".join(reference)]
    for kind, value in (
        ("rouge1", ngram_f(output, reference, 1)),
        ("rouge2", ngram_f(output, reference, 2)),
        ("rougeL", subsequence_f(output, reference)),
    ):
        assert rouge.score(kind, written, expected) == pytest.approx(value)


def test_tokenizers_come_from_files_and_folders_and_say_when_not(
    pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    byte_tokenizer().save_pretrained(tmp_path / "model")
    assert load_tokenizer(str(tmp_path / "model")).tokenize("ab") == ["a", "b"]
    with pytest.raises(NoModelError, match=r"no file 'absent\.model'"):
        load_tokenizer("absent.model")
    (tmp_path / "bad.model").write_text("not a model")
    with pytest.raises(ModelError, match="is no SentencePiece model"):
        load_tokenizer(str(tmp_path / "bad.model"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load_tokenizer(str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RemoteModelError, match="name another with --rouge-tokenizer"):
        load_tokenizer("acme/absent-tokenizer")


@pytest.mark.parametrize(
    ("answer", "references", "expected_f1", "expected_em"),
    [
        ("the Denver Broncos", ["Denver Broncos"], 1, 1),
        ("Denver Broncos!", ["The  denver broncos."], 1, 1),
        ("Broncos", ["Denver Broncos"], 2 / 3, 0),
        ("Carolina Panthers", ["Denver Broncos"], 0, 0),
        ("a cat and a cat", ["cat"], 2 * (1 / 3) / (1 / 3 + 1), 0),
        ("Santa Clara, California", ["Levi's Stadium", "Santa Clara"], 0.8, 0),
        ("", ["cat"], 0, 0),
        ("the", ["a"], 0, 1),
        ("٤٢ كيلومتر", ["٤٢"], 2 / 3, 0),
        ("東京都", ["東京"], 0, 0),
    ],
)
def test_answers_are_scored_as_squads_script_does(
    answer: str, references: list[str], expected_f1: float, expected_em: int
) -> None:
    assert f1(answer, references) == pytest.approx(expected_f1)
    assert exact_match(answer, references) == expected_em


def test_normal_answers_keep_what_the_script_keeps() -> None:
    assert normalize_answer("  The U.S.A.,\tan\u00a0Example ") == "usa example"
    assert normalize_answer("theatre and anthem") == "theatre and anthem"
    assert normalize_answer("¿Qué?") == "¿qué"


@pytest.mark.parametrize("language", ["en", "es", "sw"])
def test_shipped_summaries_are_in_their_language(language: str) -> None:
    found = identify([pair.target for pair in read_pairs(shipped(language))])
    assert sum(one.language == label_of(language) for one in found) >= 19
    assert all(0 < one.confidence <= 1 for one in found)


def test_what_has_no_letters_is_in_no_language() -> None:
    assert [one.language for one in identify(["", " 12 - 34 "])] == ["zxx", "zxx"]


def test_varieties_count_as_what_the_identifier_knows() -> None:
    labels = {
        code: label_of(code) for code in ("pt-BR", "arb", "nb", "nn", "swh", "zh-Hant", "fil")
    }
    assert labels == {
        "pt-BR": "pt",
        "arb": "ar",
        "nb": "no",
        "nn": "nn",
        "swh": "sw",
        "zh-Hant": "zh",
        "fil": "tl",
    }
    with pytest.raises(SettingsError, match="outputs in 'haw' cannot be told from others"):
        label_of("haw")
    with pytest.raises(LanguageError):
        label_of("nonsense")


def test_varieties_of_the_target_are_in_it_and_its_neighbours_are_not() -> None:
    within = [("zh", "zh"), ("wuu", "zh"), ("yue", "zh"), ("arz", "ar"), ("nn", "no")]
    outside = [("zh", "yue"), ("ar", "arz"), ("no", "da"), ("gl", "pt"), ("zxx", "zh")]
    assert all(is_variety(*pair) for pair in within)
    assert not any(is_variety(*pair) for pair in outside)


def test_metrics_are_found_by_name_and_language() -> None:
    def names(given: tuple[str, ...], language: str) -> list[str]:
        return [metric.name for metric in find_metrics(given, language)]

    assert names((), "en-GB") == ["rouge2", "bpb", "language"]
    assert names((), "yo") == ["rouge2-spm", "bpb", "language"]
    assert names(("em", "f1", "em"), "sw") == ["em", "f1"]
    assert names(("rouge2",), "es") == ["rouge2"]
    with pytest.raises(SettingsError, match="'rouge2-sp': did you mean 'rouge2-spm'"):
        find_metrics(("rouge2-sp",), "yo")
    with pytest.raises(SettingsError, match="the metrics are rouge2-spm, "):
        find_metrics(("zzz",), "yo")
    with pytest.raises(SettingsError, match="uk is not written in them: take rougeL-spm"):
        find_metrics(("rougeL",), "uk")


def test_lower_is_better_for_bits_alone() -> None:
    assert [metric.name for metric in METRICS if metric.better(1, 2)] == ["bpb"]

"""F1 and exact match of short answers, by the rules of SQuAD's official script (version 1.1).

Rajpurkar et al. 2016, https://rajpurkar.github.io/SQuAD-explorer/; TyDi QA's secondary task is
scored by the same script in all of its languages (Clark et al. 2020). Its rules are kept as they
are, so that numbers can be compared with published ones, and that means:

* Lower case, and out with ASCII punctuation and the English articles, in every language. Other
  punctuation (`「`, `؟`, `“`) stays a part of its word.
* Words are what stands between white space. In languages written without it (Chinese, Japanese,
  Thai) an answer is one word, and F1 is exact match: use ROUGE over SentencePiece tokens there.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """The words of an answer that count, between single blanks.

    >>> normalize_answer("The  Eiffel Tower!")
    'eiffel tower'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def f1(answer: str, references: Sequence[str]) -> float:
    """F1 of the words that answer and reference share; the best over all references, 0 to 1."""
    return _best(_f1, answer, references)


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 where the answer is one of the references after normalisation, else 0."""
    return _best(_exact, answer, references)


def _best(score: Callable[[str, str], float], answer: str, references: Sequence[str]) -> float:
    return max(score(answer, reference) for reference in references)


def _f1(answer: str, reference: str) -> float:
    words, expected = normalize_answer(answer).split(), normalize_answer(reference).split()
    shared = (Counter(words) & Counter(expected)).total()
    if not shared:
        return 0.0
    precision, recall = shared / len(words), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


def _exact(answer: str, reference: str) -> float:
    return float(normalize_answer(answer) == normalize_answer(reference))

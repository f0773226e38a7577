"""ROUGE by the package rouge-score, over English words or over SentencePiece tokens.

The package's own tokens are runs of a-z and 0-9, which leaves nothing of most languages. The paper
therefore counts the tokens of mT5's SentencePiece model outside English (section 3.1), and so does
`rouge2-spm`. Lin 2004, https://aclanthology.org/W04-1013/.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from ..errors import ModelError, NoModelError, RemoteModelError

MT5: Final = "google/mt5-small"
"""All sizes of mT5 share one tokenizer; this repository is the smallest."""


KINDS: Final = ("rouge1", "rouge2", "rougeL")


class Tokenizer(Protocol):
    """What rouge-score needs of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        ...


class SentencePieceFile:
    """The tokens of a SentencePiece model in a file."""

    def __init__(self, path: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        try:
            self._processor = SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise ModelError(f"'{path}' is no SentencePiece model: {error}") from error

    def tokenize(self, text: str) -> list[str]:
        """Return the pieces of a text."""
        pieces: list[str] = self._processor.encode(text, out_type=str)
        return pieces


@lru_cache(maxsize=4)
def load_tokenizer(name: str) -> Tokenizer:
    """Load the tokens that ROUGE counts.

    Args:
        name: a `.model` file of SentencePiece; else a model's folder or Hub id, whose tokenizer
            transformers loads.

    Raises:
        ModelError: it is none of these, or cannot be fetched.
    """
    path = Path(name).expanduser()
    if path.suffix == ".model":
        if not path.is_file():
            raise NoModelError(f"there is no file '{name}' to count the tokens of")
        return SentencePieceFile(path)
    from transformers import AutoTokenizer

    try:
        loaded: Tokenizer = AutoTokenizer.from_pretrained(str(path) if path.exists() else name)
    except (OSError, ValueError, KeyError, ImportError) as error:
        if path.exists():
            raise ModelError(f"'{name}' holds no tokenizer that transformers can load") from error
        raise RemoteModelError(
            f"the tokenizer of '{name}', whose tokens ROUGE is to count, cannot be fetched: name "
            "another with --rouge-tokenizer, for example the folder of the base model or the file "
            "of a SentencePiece model"
        ) from error
    return loaded


class Rouge:
    """ROUGE-1, -2 and -L over one kind of tokens.

    Args:
        tokenizer: None for rouge-score's own English words, without stemming.
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        from rouge_score.rouge_scorer import RougeScorer

        self._scorers: dict[str, Any] = {
            kind: RougeScorer([kind], tokenizer=tokenizer) for kind in KINDS
        }

    def score(self, kind: str, output: str, references: Sequence[str]) -> float:
        """The F-measure of an output, 0 to 1; by the best of several references.

        Args:
            kind: one of KINDS.
        """
        found = self._scorers[kind].score_multi(references, output)
        return float(found[kind].fmeasure)

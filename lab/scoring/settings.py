"""How adapters are scored; recorded with every score, since numbers mean nothing without."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import SettingsError
from ..models.prompts import DEFAULT_PROMPT, Prompt
from .bootstrap import LEVEL, RESAMPLES
from .rouge import MT5


@dataclass(frozen=True, slots=True)
class ScoringSettings:
    """How to score; the first three as in training.

    Attributes:
        prompt: what is read, with the source in the place of `{source}`.
        max_length: most tokens of an example, both sides together.
        max_target_length: most tokens that are generated, and that the prompt leaves free. A
            reference is never cut, even if it is longer.
        beams: 1 takes the likeliest token each time; nothing is ever drawn at random.
        batch_tokens: most tokens of a padded batch; changes the last digits of results.
        rouge_tokenizer: whose tokens ROUGE counts: a model, or a `.model` file of SentencePiece.
        resamples, seed, level: of the bootstrap.
    """

    prompt: str = DEFAULT_PROMPT
    max_length: int = 512
    max_target_length: int = 128
    beams: int = 1
    batch_tokens: int = 2048
    rouge_tokenizer: str = MT5
    resamples: int = RESAMPLES
    seed: int = 0
    level: float = LEVEL

    def __post_init__(self) -> None:
        Prompt(self.prompt)
        for name in ("max_target_length", "beams", "batch_tokens", "resamples"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.max_target_length >= self.max_length:
            raise SettingsError(
                f"max_target_length {self.max_target_length} leaves nothing of max_length "
                f"{self.max_length} for the source: lower it"
            )
        if not 0 < self.level < 1:
            raise SettingsError(f"level is {self.level}: it lies between 0 and 1, such as 0.95")

    @property
    def reading(self) -> dict[str, Any]:
        """What every metric depends on, as plain JSON."""
        return {
            "prompt": self.prompt,
            "max_length": self.max_length,
            "max_target_length": self.max_target_length,
        }

    @property
    def decoding(self) -> dict[str, Any]:
        """What metrics of generated text depend on besides, as plain JSON."""
        return {"do_sample": False, "num_beams": self.beams}

    def as_json(self) -> dict[str, Any]:
        """All settings as plain JSON."""
        return asdict(self)

"""How adapters are scored; recorded with every score, since numbers mean nothing without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError
from ..models.prompts import DEFAULT_PROMPT, Prompt
from ..training.settings import TARGET_LENGTH
from .bootstrap import LEVEL, RESAMPLES
from .rouge import MT5


@dataclass(frozen=True, slots=True)
class ScoringSettings:
    """How to score; the first three as in training.

    Attributes:
        prompt: what is read, with the source in the place of `{source}`.
        max_length: most tokens of an example, both sides together.
        max_target_length: most tokens that are generated, and that the prompt leaves free; default
            128, or half of max_length. A reference is never cut, even if it is longer.
        beams: 1 takes the likeliest token each time; nothing is ever drawn at random.
        batch_tokens: most tokens of a padded batch; changes the last digits of results.
        rouge_tokenizer: whose tokens ROUGE counts: a model, or a `.model` file of SentencePiece.
        resamples, seed, level: of the bootstrap.
    """

    prompt: str = DEFAULT_PROMPT
    max_length: int = 512
    max_target_length: int | None = None
    beams: int = 1
    batch_tokens: int = 2048
    rouge_tokenizer: str = MT5
    resamples: int = RESAMPLES
    seed: int = 0
    level: float = LEVEL

    def __post_init__(self) -> None:
        Prompt(self.prompt)
        least = {"max_length": 8, "beams": 1, "batch_tokens": 1, "resamples": 1}
        for name, low in (least | {"max_target_length": 1}).items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise SettingsError(f"{name} is {value}: it must be at least {low}")
        if self.target_length >= self.max_length:
            raise SettingsError(
                f"max_target_length {self.target_length} leaves nothing of max_length "
                f"{self.max_length} for the source: lower it"
            )
        if not 0 < self.level < 1:
            raise SettingsError(f"level is {self.level}: it lies between 0 and 1, such as 0.95")

    @property
    def target_length(self) -> int:
        """How many tokens are kept free for the target."""
        if self.max_target_length is not None:
            return self.max_target_length
        return min(TARGET_LENGTH, self.max_length // 2)

    @property
    def reading(self) -> dict[str, Any]:
        """What every metric depends on, as plain JSON."""
        return {
            "prompt": self.prompt,
            "max_length": self.max_length,
            "max_target_length": self.target_length,
        }

    @property
    def decoding(self) -> dict[str, Any]:
        """What metrics of generated text depend on besides, as plain JSON."""
        return {"do_sample": False, "num_beams": self.beams}

    @property
    def bootstrap(self) -> dict[str, Any]:
        """How intervals are made, as the bootstrap's arguments."""
        return {"resamples": self.resamples, "seed": self.seed, "level": self.level}

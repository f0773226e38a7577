"""The prompt: what a model reads before it writes, the same in training, scoring and generating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import SettingsError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PLACE = "{source}"
DEFAULT_PROMPT = "{source}\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    r"""A template with one `{source}`: by default the source and a line break.

    >>> Prompt("{source}\nTL;DR: ").text("A long story.")
    'A long story.\nTL;DR: '
    """

    template: str = DEFAULT_PROMPT

    def __post_init__(self) -> None:
        if self.template.count(PLACE) != 1:
            raise SettingsError(
                f"the prompt {self.template!r} must hold {PLACE} exactly once, as in "
                f"{DEFAULT_PROMPT!r}"
            )

    def text(self, source: str) -> str:
        """Return the prompt of a source."""
        before, _, after = self.template.partition(PLACE)
        return f"{before}{source}{after}"

    def encode(self, tokenizer: PreTrainedTokenizerBase, source: str, length: int) -> list[int]:
        """Return the tokens of the prompt, with those that the tokenizer puts around every text.

        Args:
            length: at most so many tokens; a source that is too long loses its end, and the
                template keeps all of its own.

        Raises:
            SettingsError: the template alone is longer.
        """
        start, end = surrounding(tokenizer)
        room = length - len(start) - len(end)
        tokens = encode(tokenizer, self.text(source))
        if len(tokens) > room:
            before, _, after = self.template.partition(PLACE)
            last = encode(tokenizer, after)
            first = encode(tokenizer, before + source)[: room - len(last)]
            if room - len(last) <= len(encode(tokenizer, before)):
                raise SettingsError(
                    f"the prompt {self.template!r} alone fills {length} tokens: allow more with "
                    "--max-length"
                )
            tokens = first + last
        return [*start, *tokens, *end]


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the tokens of a text, without those that the tokenizer puts around it."""
    return [int(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]


def surrounding(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the tokens that a tokenizer puts before and after every text.

    A Llama's puts its begin-of-text before, T5's its end-of-text after, GPT-2's nothing at all.
    """
    bare = encode(tokenizer, "a")
    whole = [int(token) for token in tokenizer("a")["input_ids"]]
    place = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[:place], whole[place + len(bare) :]

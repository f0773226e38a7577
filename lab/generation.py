"""Generated text: what a model with an adapter writes after a prompt, in batches, the same always.

Nothing is drawn at random, and the settings are these alone: what a model brings along as its own
way to generate (a temperature, a repetition penalty) is left out, since scores must not depend on
a file beside the weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch

from ..hub.composition import Request
from .scoring.adapter import Adapter
from .scoring.ancestry import resolve, settings_for
from .scoring.batches import in_batches
from .scoring.encoding import encode_prompts
from .scoring.session import Session
from .scoring.settings import ScoringSettings

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from ..hub import AdapterHub
    from .models.base import Base

_TOKENS: Final = ("bos_token_id", "decoder_start_token_id", "forced_bos_token_id")


def generate(
    session: Session,
    sources: Sequence[str],
    settings: ScoringSettings,
    *,
    progress: str | None = None,
) -> list[str]:
    """Write what follows each source, with the session's present adapter.

    Args:
        sources: put into the settings' prompt.
        progress: title of a bar on a terminal; None shows none.

    Returns:
        The texts, without special tokens and without white space around them.

    Raises:
        SettingsError: lengths that do not fit. ScoringError: memory does not hold a batch.
    """
    prompts = encode_prompts(session.base, sources, settings)
    room = settings.target_length
    with _plain_generation(session, settings):
        return in_batches(
            [(len(prompt) + room) * settings.beams for prompt in prompts],
            settings.batch_tokens,
            lambda numbers: _generate(session, [prompts[number] for number in numbers]),
            progress,
        )


def write(
    hub: AdapterHub,
    adapter: str | Adapter | None,
    base: Base,
    sources: Sequence[str],
    *,
    settings: ScoringSettings | Mapping[str, Any] | None = None,
    request: Request | None = None,
    progress: bool = False,
) -> list[str]:
    """Write what follows each source with an adapter or an expression on a base model.

    Args:
        adapter: a name, an expression, or an adapter in memory; None or `base` is the bare base.
        base: the base model, loaded.
        settings: how; or some of them by name: prompt and lengths are then by default those of the
            adapter's training.
        request: parameters, semantics and context of an expression.
        progress: show a bar on a terminal.

    Raises:
        LabError: settings, memory. OtherBaseError: an adapter of another model. DslError: an
            expression.
    """
    chosen, versions = resolve(hub, adapter, base, request)
    how = settings_for(versions, settings)
    with Session(base) as session:
        session.use(chosen)
        return generate(session, sources, how, progress="writing" if progress else None)


def _generate(session: Session, prompts: Sequence[Sequence[int]]) -> list[str]:
    """Write what follows the prompts of a batch.

    What puts tokens of its own before the input cannot have padding after them, for peft counts
    positions without regard to it: such prompts go together only with others of their length.
    """
    if not session.puts_tokens_first:
        return _generate_padded(session, prompts)
    written: dict[int, str] = {}
    for length in {len(prompt) for prompt in prompts}:
        numbers = [number for number, one in enumerate(prompts) if len(one) == length]
        texts = _generate_padded(session, [prompts[number] for number in numbers])
        written.update(zip(numbers, texts, strict=True))
    return [written[number] for number in range(len(prompts))]


@torch.inference_mode()
def _generate_padded(session: Session, prompts: Sequence[Sequence[int]]) -> list[str]:
    base = session.base
    length = max(len(prompt) for prompt in prompts)
    filler = int(base.tokenizer.pad_token_id or 0)
    rows, masks = [], []
    for prompt in prompts:
        missing = length - len(prompt)
        # A decoder goes on after the last token, so that its padding has to come first.
        before, after = (0, missing) if base.encoder_decoder else (missing, 0)
        rows.append([*[filler] * before, *prompt, *[filler] * after])
        masks.append([*[0] * before, *[1] * len(prompt), *[0] * after])
    with warnings.catch_warnings():
        # peft ignores the positions of what puts tokens first, and says so each time.
        warnings.filterwarnings("ignore", message="Position ids are not supported")
        written = session.model.generate(
            input_ids=torch.tensor(rows, device=base.device),
            attention_mask=torch.tensor(masks, device=base.device),
        )
    if not base.encoder_decoder:
        written = written[:, length:]
    texts = base.tokenizer.batch_decode(written, skip_special_tokens=True)
    return [text.strip() for text in texts]


@contextmanager
def _plain_generation(session: Session, settings: ScoringSettings) -> Iterator[None]:
    """Let the model generate by our settings alone, and give it its own back."""
    model: Any = session.base.model
    own = model.generation_config
    model.generation_config = _plain(own, session, settings)
    try:
        yield
    finally:
        model.generation_config = own


def _plain(own: GenerationConfig, session: Session, settings: ScoringSettings) -> GenerationConfig:
    from transformers import GenerationConfig

    tokenizer = session.base.tokenizer
    ends = own.eos_token_id
    listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
    return GenerationConfig(
        do_sample=False,
        num_beams=settings.beams,
        max_new_tokens=settings.target_length,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=sorted({*listed, tokenizer.eos_token_id}),
        **{name: getattr(own, name, None) for name in _TOKENS},
    )

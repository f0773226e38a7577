"""Bits per byte of the references: how well a model predicts the right answer.

The model reads the prompt and is charged -log2 p for each token of the reference and for the end
token after it, as in training. Divided by the reference's UTF-8 bytes, the number does not depend
on the tokenizer; lower is better. It moves with every change of the weights, where ROUGE of a few
hundred outputs is mostly noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from inspect import signature
from math import log
from typing import Any, Final

import torch
from torch.nn.functional import cross_entropy

from ..data.records import Pair
from .batches import group, in_order, pad
from .encoding import Encoded
from .measurement import Measurement
from .memory import explain_out_of_memory
from .session import Session

IGNORED: Final = -100


def bits_per_byte(
    session: Session, pairs: Sequence[Pair], encoded: Sequence[Encoded], *, batch_tokens: int
) -> Measurement:
    """Score the references of all pairs with the session's present adapter.

    Args:
        pairs: with their references: `target` is the one that is scored.
        encoded: the same pairs as tokens.
        batch_tokens: most tokens of a padded batch; results differ in the last digits with it.

    Raises:
        ScoringError: the machine's memory does not hold a batch.
    """
    lengths = [len(one.read) + len(one.written) for one in encoded]
    batches = group(lengths, batch_tokens)

    def scored() -> Iterator[Sequence[float]]:
        for numbers in batches:
            with explain_out_of_memory(len(numbers), lengths[numbers[0]], batch_tokens):
                yield _bits(session, [encoded[number] for number in numbers])

    bits = in_order(batches, scored())
    sizes = [float(len(pair.target.encode())) for pair in pairs]
    return Measurement("bpb", tuple(pair.id for pair in pairs), tuple(bits), tuple(sizes))


@torch.inference_mode()
def _bits(session: Session, batch: Sequence[Encoded]) -> list[float]:
    """Bits of each reference of a batch."""
    if session.base.encoder_decoder:
        labels, logits = _encoder_decoder(session, batch)
    else:
        labels, logits = _decoder_only(session, batch)
    charged = labels != IGNORED
    losses = torch.zeros(labels.shape, dtype=torch.float64, device=labels.device)
    nats = cross_entropy(logits[charged].float(), labels[charged], reduction="none")
    losses[charged] = nats.double()
    return [value / log(2) for value in losses.sum(dim=1).tolist()]


def _decoder_only(session: Session, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and the logits that predict them, over the last positions of the batch only.

    Rows are filled up on the right, as in training: padding then comes after everything that is
    scored, and positions need no correction. Logits are made from the first reference token on,
    since over a vocabulary of a quarter million they would cost more than the rest of the model.
    """
    rows = [(*one.read, *one.written) for one in batch]
    filler = session.base.tokenizer.pad_token_id or 0
    tokens = pad(rows, filler, device=session.base.device)
    mask = pad([(1,) * len(row) for row in rows], 0, device=session.base.device)
    labels = pad(
        [(*[IGNORED] * len(one.read), *one.written) for one in batch],
        IGNORED,
        device=session.base.device,
    )
    kept = tokens.shape[1] - min(len(one.read) for one in batch)
    more: dict[str, Any] = {}
    if "logits_to_keep" in signature(session.base.model.forward).parameters:
        more["logits_to_keep"] = kept + 1
    logits = session.model(input_ids=tokens, attention_mask=mask, use_cache=False, **more).logits
    return labels[:, -kept:], logits[:, -kept - 1 : -1]


def _encoder_decoder(
    session: Session, batch: Sequence[Encoded]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and the decoder's logits; the model itself shifts labels into the decoder's input."""
    rows = [one.read for one in batch]
    filler = session.base.tokenizer.pad_token_id or 0
    tokens = pad(rows, filler, device=session.base.device)
    mask = pad([(1,) * len(row) for row in rows], 0, device=session.base.device)
    labels = pad([one.written for one in batch], IGNORED, device=session.base.device)
    output = session.model(input_ids=tokens, attention_mask=mask, labels=labels, use_cache=False)
    return labels, output.logits

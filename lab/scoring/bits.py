"""Bits per byte of the references: how well a model predicts the right answer.

The model reads the prompt and is charged -log2 p for each token of the reference and for the end
token after it, as in training. Divided by the reference's UTF-8 bytes, the number does not depend
on the tokenizer; lower is better. It moves with every change of the weights, where ROUGE of a few
hundred outputs is mostly noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from math import log
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from ..data.records import Pair
from ..objectives.example import IGNORED, Example, collate
from .batches import in_batches
from .measurement import Measurement
from .session import Session


def bits_per_byte(
    session: Session,
    pairs: Sequence[Pair],
    encoded: Sequence[Example],
    *,
    batch_tokens: int,
    progress: str | None = None,
) -> Measurement:
    """Score the references of all pairs with the session's present adapter.

    Args:
        pairs: with their references: `target` is the one that is scored.
        encoded: the same pairs as tokens.
        batch_tokens: most tokens of a padded batch.
        progress: title of a bar on a terminal; None shows none.

    Raises:
        ScoringError: memory does not hold a batch.
    """
    bits = in_batches(
        [len(one.read) + len(one.written) for one in encoded],
        batch_tokens,
        lambda numbers: _bits(session, [encoded[number] for number in numbers]),
        progress,
    )
    sizes = [float(len(pair.target.encode())) for pair in pairs]
    return Measurement("bpb", tuple(pair.id for pair in pairs), tuple(bits), tuple(sizes))


@torch.inference_mode()
def _bits(session: Session, examples: Sequence[Example]) -> list[float]:
    """Bits of each reference of a batch.

    Logits are made from the first reference token on where the model can: over a vocabulary of a
    quarter million they would cost more than the rest of it.
    """
    base = session.base
    batch = collate(
        examples,
        padding=int(base.tokenizer.pad_token_id or 0),
        encoder_decoder=base.encoder_decoder,
    )
    labels = batch.pop("labels").to(base.device)
    inputs: dict[str, Any] = {name: tensor.to(base.device) for name, tensor in batch.items()}
    if base.encoder_decoder:
        logits = session.model(**inputs, labels=labels, use_cache=False).logits
    else:
        kept = labels.shape[1] - min(len(one.read) for one in examples)
        if "logits_to_keep" in signature(base.model.forward).parameters:
            inputs["logits_to_keep"] = kept + 1
        # Counted from the end, since prompt tuning puts positions of its own before the first.
        logits = session.model(**inputs, use_cache=False).logits[:, -kept - 1 : -1]
        labels = labels[:, -kept:]
    charged = labels != IGNORED
    losses = cross_entropy(logits[charged].float(), labels[charged], reduction="none")
    # Not every accelerator has numbers of 64 bits.
    nats = torch.zeros(labels.shape, dtype=torch.float64)
    nats[charged.cpu()] = losses.cpu().double()
    return [value / log(2) for value in nats.sum(dim=1).tolist()]

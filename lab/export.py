"""Export: an adapter added back to the base's own weights, a model that needs no peft.

The paper's section 5.2: the update is added once, and the result is as fast as the base. What is
checked is what is on disk: the folder is loaded again, and must give the logits that the base gives
with the adapter on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
import yaml

from ..dsl.errors import IncompatibleError
from ..hub.cards.markdown import code, fenced
from ..hub.composition import Request
from ..hub.errors import IntegrityError
from ..hub.output_folder import new_folder
from ..hub.peft_folder import CARD_NAME
from .errors import ModelError, SettingsError
from .models.base import bars_on_a_terminal, load_base
from .scoring.adapter import Adapter
from .scoring.ancestry import resolve
from .scoring.session import Session

if TYPE_CHECKING:
    from ..hub import AdapterHub
    from .models.base import Base

PROBES: Final = (4, 24)
"""Rows and tokens of the random input that logits are compared on."""
TOLERANCES: Final = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How far merged logits may lie from unmerged ones, relative to their own size.

Merging rounds the sum of weight and update to the base's number format.
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """A merged model on disk.

    Attributes:
        folder: where it is.
        adapter: what was merged.
        base: into which model.
        size_bytes: of its weights' files.
        apart: the root mean square of the differences between its logits and those of the base
            with the adapter on it, relative to that of the latter.
        untied: whether input and output embeddings, one matrix in the base, had to become two.
    """

    folder: Path
    adapter: str
    base: str
    size_bytes: int
    apart: float
    untied: bool


def export(
    hub: AdapterHub,
    adapter: str | Adapter,
    base: Base,
    output: str | Path,
    *,
    request: Request | None = None,
) -> Exported:
    """Merge an adapter into its base model and write the model with its tokenizer.

    Args:
        adapter: a name, an expression, or an adapter in memory, of any type that peft can merge.
        base: the base model; it is given up: its weights are changed, then let go.
        output: a new or empty folder; it is written whole or not at all.
        request: parameters, semantics and context of an expression.

    Raises:
        OtherBaseError: an adapter of another model. IncompatibleError: a type that has nothing to
            merge. ModelError: a base whose weights are quantized. OutputError: the folder.
        IntegrityError: what was written does not compute what it should.
    """
    chosen, _ = resolve(hub, adapter, base, request)
    if chosen is None:
        raise SettingsError("the bare base has nothing to merge: name an adapter or an expression")
    _refuse_quantized(base)
    with new_folder(output) as folder:
        session = Session(base)
        session.use(chosen)
        expected = _logits(base, session.model)
        untied = _untie(session, chosen)
        with bars_on_a_terminal():
            _merge(session, chosen).save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)
        (folder / CARD_NAME).write_text(_card(chosen, base), encoding="utf-8")
        base.model.to("meta")
        apart = _check(folder, base, chosen, expected)
        size_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return Exported(
        folder=Path(output),
        adapter=chosen.label,
        base=base.name,
        size_bytes=size_bytes,
        apart=apart,
        untied=untied,
    )


def _refuse_quantized(base: Base) -> None:
    stored = {str(value.dtype).removeprefix("torch.") for value in base.model.parameters()}
    whole = {str(dtype).removeprefix("torch.") for dtype in TOLERANCES}
    if stored - whole - {"float64"}:
        raise ModelError(
            f"the weights of {base.name} are quantized ({', '.join(sorted(stored - whole))}): an "
            "update added to them would be lost in rounding. Give the model's plain weights"
        )


def _untie(session: Session, adapter: Adapter) -> bool:
    """Part input and output embeddings where an adapter changes one of them and not the other.

    Adapters that train rows of the embeddings change both alike, and leave them tied.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    model: Any = session.base.model
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if not any(isinstance(one, BaseTunerLayer) for one in ends):
        return False
    session.use(None)
    before, after = model.get_input_embeddings(), model.get_output_embeddings()
    tied = after is not None and before.weight is after.weight
    if tied and str(adapter.config.get("peft_type")) != "TRAINABLE_TOKENS":
        after.weight = torch.nn.Parameter(after.weight.detach().clone())
        model.config.tie_word_embeddings = False
    session.use(adapter)
    return bool(tied)


def _merge(session: Session, adapter: Adapter) -> Any:
    kind = adapter.config.get("peft_type")
    if session.puts_tokens_first:
        raise IncompatibleError(
            f"{adapter.label} is of PEFT type {kind}: it puts something before the input and "
            "changes no weights, so that there is nothing to merge",
            hint="load it with peft",
        )
    try:
        return session.model.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise IncompatibleError(
            f"{adapter.label} is of PEFT type {kind}, which peft cannot merge here: {error}"
        ) from error


def _card(adapter: Adapter, base: Base) -> str:
    """What the model is, for people and for a hub."""
    metadata = {"base_model": base.name, "library_name": "transformers", "tags": ["isogloss"]}
    parents = "\n".join(f"- {code(one.label)}, sha256 `{one.digest}`" for one in adapter.sources)
    return (
        f"---\n{yaml.safe_dump(metadata, allow_unicode=True, width=1000)}---\n\n"
        f"# Merged model\n\n{code(base.name)} with this adapter added to its weights:\n\n"
        f"{fenced(adapter.label)}\n" + (f"\nmade of\n\n{parents}\n" if parents else "")
    )


def _check(folder: Path, base: Base, adapter: Adapter, expected: torch.Tensor) -> float:
    """How far the written model's logits lie from what they should be."""
    dtype = str(base.model.dtype).removeprefix("torch.")
    written = load_base(folder, dtype=dtype, device=str(expected.device))
    found = _logits(written, written.model)
    apart = float((found - expected).norm() / expected.norm())
    if not apart <= TOLERANCES[written.model.dtype]:
        raise IntegrityError(
            f"the merged model's logits lie {apart:.1e} of their size from those of "
            f"{adapter.label} on {base.name}: nothing was written"
        )
    return apart


@torch.inference_mode()
def _logits(base: Base, model: Any) -> torch.Tensor:
    """Logits of random tokens that are the same each time, (rows, tokens, vocabulary).

    Without their mean at each position, which no probability depends on.
    """
    vocabulary = int(base.model.get_input_embeddings().weight.shape[0])
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, vocabulary, PROBES, generator=generator).to(base.device)
    more = {"decoder_input_ids": tokens} if base.encoder_decoder else {}
    found: torch.Tensor = model(input_ids=tokens, use_cache=False, **more).logits.float()
    return found - found.mean(dim=-1, keepdim=True)

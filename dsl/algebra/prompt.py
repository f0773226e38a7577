"""The algebra of prompt tuning, prefix tuning and p-tuning: embeddings before the text.

PEFT saves the embeddings as they are used, those that an encoder makes included, so that a sum of
them is a sum of what the adapters put there: `exact` and `elementwise` are the same. They replace
nothing, so that no coefficients are wrong; those that sum to 1 keep the embeddings' usual size.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import IncompatibleError, quoted
from ..tensors.tensorfile import Header, TensorEntry
from .fields import COMMON_FIELDS, positive, require_semantics, require_understood
from .generic import counted
from .interface import Composition, Inspection, ModuleUpdates, Operand, Summand
from .lora_result import shared_fields
from .modules import Member, added, parts_at, require_equal_shapes, require_floats, require_kept
from .scaling import float32

_TENSOR: Final = "prompt_embeddings"
_SHAPING: Final = (
    "num_attention_heads",
    "num_layers",
    "num_transformer_submodules",
    "num_virtual_tokens",
    "token_dim",
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The arithmetic of a PEFT type that trains embeddings before the text.

    Args:
        kind: how messages name the type.
        peft_type: how configurations name it.
        is_prefix: whether the embeddings are keys and values of all layers.
        beginning: fields that say how training began or went.
        result: what a composed adapter has in some of these instead.
    """

    kind: str
    peft_type: str
    is_prefix: bool
    beginning: frozenset[str]
    result: Mapping[str, Any]

    def inspect(self, config: Mapping[str, Any], header: Header) -> Inspection:
        """Check that the embeddings have the configured shape, and say what they are.

        Raises:
            IncompatibleError: they have not, or there are other tensors.
        """
        general = counted(config, header)
        self._embeddings(config, header)
        return Inspection(
            peft_type=general.peft_type,
            rank=None,
            alpha=None,
            modules=(_TENSOR,),
            parameters=general.parameters,
            dtype=general.dtype,
        )

    def refuse(self, operand: Operand) -> None:
        """Refuse a trained head, and a configuration with anything that is not understood.

        Raises:
            IncompatibleError: naming the field.
        """
        if saved := operand.config.get("modules_to_save"):
            raise IncompatibleError(
                f"{operand.quoted} has modules trained as a whole beside its prompt "
                f"(modules_to_save={reprlib.repr(saved)}), which is not understood here",
                hint="train without modules_to_save",
            )
        require_understood(operand, COMMON_FIELDS | self.beginning | {*_SHAPING})

    def updates(self, operand: Operand, header: Header) -> ModuleUpdates:
        """Refuse: no weights are changed.

        Raises:
            IncompatibleError: always.
        """
        raise IncompatibleError(
            f"{operand.quoted} is an adapter of {self.kind}, which changes no weights"
        )

    def compose(self, semantics: str, summands: Sequence[Summand]) -> Composition:
        """Describe the sum of the embeddings.

        Raises:
            IncompatibleError: the adapters cannot be summed, with what to do.
            UnsupportedError: the semantics is not one of this type.
        """
        require_semantics(self.kind, semantics, ("elementwise", "exact"))
        parts, _ = parts_at(_TENSOR, [self._member(summand) for summand in summands])
        if not parts:
            raise IncompatibleError("the coefficients cancel out: nothing is left")
        require_equal_shapes(_TENSOR, parts)
        self._require_equal_fields([summand.operand for summand in summands])
        configs = [summand.operand.config for summand in summands]
        tensor = added(
            [part.tensors[_TENSOR] for part in parts],
            [part.source for part in parts],
            [float32(part.coefficient) for part in parts],
        )
        config = {
            "peft_type": self.peft_type,
            "inference_mode": True,
            **{field: configs[0].get(field) for field in _SHAPING},
            **self.result,
            **shared_fields(configs),
        }
        return Composition((tensor,), dict(sorted(config.items())), rank=None)

    def _member(self, summand: Summand) -> Member:
        operand = summand.operand
        try:
            embeddings = self._embeddings(operand.config, summand.header)
        except IncompatibleError as error:
            raise IncompatibleError(
                f"{operand.quoted}: {error.message}", hint=error.hint
            ) from error
        require_floats(operand, [embeddings])
        require_kept(summand, [_TENSOR])
        return Member(summand, {_TENSOR: {_TENSOR: embeddings}})

    def _embeddings(self, config: Mapping[str, Any], header: Header) -> TensorEntry:
        found = {entry.name: entry for entry in header.entries}
        if set(found) != {_TENSOR}:
            others = sorted(set(found) - {_TENSOR})
            raise IncompatibleError(
                f"expected the tensor {_TENSOR!r} and no other, but there "
                + (f"is {quoted(others[0], 120)}" if others else "is none")
            )
        count, size = (_positive(config, field) for field in ("num_virtual_tokens", "token_dim"))
        per_token = _positive(config, "num_transformer_submodules", 1)
        layers = _positive(config, "num_layers", 1)
        shape = (count, layers * 2 * size) if self.is_prefix else (count * per_token, size)
        if found[_TENSOR].shape != shape:
            raise IncompatibleError(
                f"adapter_config.json gives the embeddings the shape {list(shape)}, but it is "
                f"{list(found[_TENSOR].shape)}"
            )
        return found[_TENSOR]

    def _require_equal_fields(self, operands: Sequence[Operand]) -> None:
        first = operands[0]
        for other in operands[1:]:
            for field in _SHAPING:
                ours, theirs = first.config.get(field), other.config.get(field)
                if ours != theirs:
                    raise IncompatibleError(
                        f"the values of {field} differ: {first.quoted} has {ours!r} and "
                        f"{other.quoted} has {theirs!r}, expected the same",
                        hint="only prompts of one length for one base model can be summed",
                    )


def _positive(config: Mapping[str, Any], field: str, default: int | None = None) -> int:
    value = config.get(field)
    return positive(field, value if value or default is None else default)


PROMPT_TUNING: Final = Prompt(
    "prompt tuning",
    "PROMPT_TUNING",
    is_prefix=False,
    beginning=frozenset({"prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_kwargs"})
    | {"tokenizer_name_or_path"},
    result={"prompt_tuning_init": "RANDOM"},
)
"""The algebra of prompt tuning (Lester et al. 2021, arXiv:2104.08691)."""

PREFIX_TUNING: Final = Prompt(
    "prefix tuning",
    "PREFIX_TUNING",
    is_prefix=True,
    beginning=frozenset({"encoder_hidden_size", "prefix_projection"}),
    result={"prefix_projection": False},
)
"""The algebra of prefix tuning (Li and Liang 2021, arXiv:2101.00190)."""

P_TUNING: Final = Prompt(
    "p-tuning",
    "P_TUNING",
    is_prefix=False,
    beginning=frozenset({"encoder_dropout", "encoder_hidden_size", "encoder_num_layers"})
    | {"encoder_reparameterization_type"},
    result={"encoder_reparameterization_type": "MLP"},
)
"""The algebra of p-tuning (Liu et al. 2021, arXiv:2103.10385)."""

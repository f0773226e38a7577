"""The algebra of types that replace values of the base and add nothing: LN tuning, tokens.

All is affine around the base model's own values, which no adapter holds: the coefficients must sum
to 1 at every module (see `replaced`). `exact` and `elementwise` are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import IncompatibleError
from ..tensors.tensorfile import Header, TensorEntry
from .fields import COMMON_FIELDS, require_semantics, require_understood
from .generic import counted
from .interface import Composition, Inspection, ModuleUpdates, Operand, Summand
from .lora_layout import check_targets
from .lora_result import shared_fields, target_fields
from .modules import PREFIX, Member, Tensors, all_modules, require_floats, require_kept
from .replaced import Replaced, affine, compose_replaced, replaced_alone


@dataclass(frozen=True, slots=True)
class Replacing:
    """The arithmetic of a PEFT type that only replaces values.

    Args:
        kind: how messages name the type.
        peft_type: how configurations name it.
        part: the part of the names of its tensors that comes after the module's name.
        fields: fields of its own, which must be equal.
    """

    kind: str
    peft_type: str
    part: str
    fields: tuple[str, ...] = ()

    def inspect(self, config: Mapping[str, Any], header: Header) -> Inspection:
        """Check that tensors and configuration belong together, and say what they are.

        Raises:
            IncompatibleError: they do not.
        """
        general = counted(config, header)
        modules, _ = self._modules(config, header)
        return Inspection(
            peft_type=general.peft_type,
            rank=None,
            alpha=None,
            modules=tuple(sorted(modules)),
            parameters=general.parameters,
            dtype=general.dtype,
        )

    def refuse(self, operand: Operand) -> None:
        """Refuse a configuration with anything that is not understood.

        Raises:
            IncompatibleError: naming the field.
        """
        require_understood(operand, COMMON_FIELDS | {"modules_to_save", *self.fields})

    def updates(self, operand: Operand, header: Header) -> ModuleUpdates:
        """Refuse: there is no update.

        Raises:
            IncompatibleError: always.
        """
        raise IncompatibleError(
            f"{operand.quoted} is an adapter of {self.kind}, which replaces values of the base "
            "model: what it adds to them is not known without that"
        )

    def compose(self, semantics: str, summands: Sequence[Summand]) -> Composition:
        """Describe the sum of the values, at modules where the coefficients sum to 1.

        Raises:
            IncompatibleError: the adapters cannot be summed, with what to do.
            UnsupportedError: the semantics is not one of this type.
        """
        require_semantics(self.kind, semantics, ("elementwise", "exact"))
        found = [self._member(summand) for summand in summands]
        members = [member for member, _ in found]
        sums = {module: affine(self.kind, module, members) for module in all_modules(members)}
        composed = {module: tensors for module, tensors in sums.items() if tensors}
        if not composed:
            raise IncompatibleError("the coefficients cancel out at every module: nothing is left")
        beside, fields = compose_replaced(summands, [replaced for _, replaced in found])
        tensors = [*beside, *(tensor for both in composed.values() for tensor in both)]
        configs = [summand.operand.config for summand in summands]
        config = {
            "peft_type": self.peft_type,
            "inference_mode": True,
            **{field: configs[0][field] for field in self.fields},
            **target_fields(
                configs, [frozenset(member.modules) for member in members], frozenset(composed)
            ),
            **shared_fields(configs),
            **{field: value for field, value in fields.items() if value is not None},
        }
        return Composition(
            tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
            config=dict(sorted(config.items())),
            rank=None,
        )

    def _member(self, summand: Summand) -> tuple[Member, Replaced]:
        operand = summand.operand
        try:
            modules, beside = self._modules(operand.config, summand.header)
        except IncompatibleError as error:
            raise IncompatibleError(
                f"{operand.quoted}: {error.message}", hint=error.hint
            ) from error
        require_floats(operand, summand.header.entries)
        require_kept(summand, modules.keys() | beside.modules)
        return Member(summand, modules), beside

    def _modules(
        self, config: Mapping[str, Any], header: Header
    ) -> tuple[Mapping[str, Tensors], Replaced]:
        modules: dict[str, dict[str, TensorEntry]] = {}
        others: list[TensorEntry] = []
        for entry in header.entries:
            module, found, rest = entry.name.removeprefix(PREFIX).partition(f".{self.part}")
            if entry.name.startswith(PREFIX) and found and rest[:1] in ("", "."):
                modules.setdefault(module, {})[self.part + rest] = entry
            else:
                others.append(entry)
        if not modules:
            raise IncompatibleError(
                f"there are no values of {self.kind} among the {len(header.entries)} tensors",
                hint=f"their names have {self.part!r} after the name of their module",
            )
        for field in self.fields:
            if not config.get(field):
                raise IncompatibleError(f"adapter_config.json does not say its {field}")
        check_targets(config, tuple(modules))
        return modules, replaced_alone(self.kind, config, others)


LN_TUNING: Final = Replacing("LN tuning", "LN_TUNING", "ln_tuning_layers")
"""The algebra of trained layer norms (Zhao et al. 2023, arXiv:2312.11420)."""

TRAINABLE_TOKENS: Final = Replacing(
    "trainable tokens", "TRAINABLE_TOKENS", "trainable_tokens_delta", ("token_indices",)
)
"""The algebra of trained rows of an embedding."""

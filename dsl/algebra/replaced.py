"""Values that replace the base model's own: heads, biases, norms and tokens trained as a whole.

Their sum is affine, p0 + sum c_i (p_i - p0) with the base model's value p0, which no adapter holds.
It drops out where the coefficients sum to 1; elsewhere the sum is refused. Where all of them are
zero, or filters leave a module out, the base model's own value stays.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeAlias

from ..errors import IncompatibleError, quoted
from ..meaning.plan import readable
from ..tensors.tensorfile import TensorEntry
from . import dora
from .interface import ComposedTensor, Summand
from .modules import PREFIX, Member, Part, Tensors, added, parts_at, require_equal_shapes
from .scaling import float32

REPLACING_FIELDS: Final = frozenset({"bias", "modules_to_save", "trainable_token_indices"})
"""Fields that say which values of the base model were trained beside the adapter's own."""

_TOKENS: Final = ".token_adapter.trainable_tokens_delta"
_WITH_HEADS: Final = frozenset({"QUESTION_ANS", "SEQ_CLS", "TOKEN_CLS"})

Values: TypeAlias = Mapping[str, Mapping[str, Tensors]]
"""The replacing tensors by the field that explains them, then by module, then by their rest."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What an adapter replaces, and its tensors that no field explains."""

    values: Values
    rest: tuple[TensorEntry, ...]

    @property
    def modules(self) -> frozenset[str]:
        """The modules in which a value is replaced, named as in the base model."""
        return frozenset(module for modules in self.values.values() for module in modules)

    @property
    def entries(self) -> Iterable[TensorEntry]:
        """All replacing tensors."""
        return (
            entry
            for modules in self.values.values()
            for tensors in modules.values()
            for entry in tensors.values()
        )


def replaced(config: Mapping[str, Any], others: Iterable[TensorEntry]) -> Replaced:
    """Sort tensors that are none of a PEFT type's own by what explains them.

    Raises:
        IncompatibleError: a field says that there are such tensors, and there are none.
    """
    values: dict[str, dict[str, dict[str, TensorEntry]]] = {}
    rest: list[TensorEntry] = []
    for entry in others:
        found = _explanation(config, entry.name)
        if found is None:
            rest.append(entry)
        else:
            field, module, inner = found
            values.setdefault(field, {}).setdefault(module, {})[inner] = entry
    for field in ("modules_to_save", "trainable_token_indices", dora.FIELD):
        if config.get(field) and field not in values:
            raise IncompatibleError(
                f"{field} is {reprlib.repr(config[field])}, but there are no tensors of it",
                hint="the weights are incomplete: save the adapter again",
            )
    return Replaced(values, tuple(rest))


def replaced_alone(kind: str, config: Mapping[str, Any], others: Iterable[TensorEntry]) -> Replaced:
    """The same, where nothing else may be beside a PEFT type's own tensors.

    Raises:
        IncompatibleError: there is a tensor that no field explains, too.
    """
    found = replaced(config, others)
    for entry in found.rest:
        raise IncompatibleError(
            f"the tensor {quoted(entry.name, 120)} is none of {kind}, and nothing in "
            "adapter_config.json explains it"
        )
    return found


def _explanation(config: Mapping[str, Any], name: str) -> tuple[str, str, str] | None:
    inner = name.removeprefix(PREFIX)
    if inner == name:
        return None
    if inner.endswith(_TOKENS) and config.get("trainable_token_indices"):
        return "trainable_token_indices", inner.removesuffix(_TOKENS), _TOKENS
    if dora.MAGNITUDE in inner and config.get(dora.FIELD):
        module, _, rest = inner.partition(dora.MAGNITUDE)
        return dora.FIELD, module, dora.MAGNITUDE + rest
    saved = config.get("modules_to_save") or ()
    if not isinstance(saved, list | tuple) or not all(isinstance(name, str) for name in saved):
        raise IncompatibleError(
            f"modules_to_save is {reprlib.repr(saved)}, expected a list of names of modules"
        )
    parts = inner.split(".")
    for count in range(1, len(parts)):
        module = ".".join(parts[:count])
        if module.endswith(tuple(saved)):
            return "modules_to_save", module, ".".join(parts[count:])
    if inner.endswith(".bias") and (config.get("bias") or "none") != "none":
        module = inner.removesuffix(".bias").removesuffix(".base_layer")
        return ("bias", module, "bias") if ".lora_" not in inner else None
    return None


def compose_replaced(
    summands: Sequence[Summand], found: Sequence[Replaced]
) -> tuple[list[ComposedTensor], dict[str, Any]]:
    """Sum the replacing values, and configure PEFT to use them.

    Args:
        summands: all adapters that take part.
        found: what each of them replaces.

    Raises:
        IncompatibleError: the coefficients at a module do not sum to 1, or an adapter that takes
            part there has no values for it.
    """
    tensors: list[ComposedTensor] = []
    kept: dict[str, list[str]] = {}
    for field in sorted({field for one in found for field in one.values}):
        members = [
            Member(summand, one.values.get(field, {}))
            for summand, one in zip(summands, found, strict=True)
        ]
        for module in sorted(set().union(*(member.modules for member in members))):
            composed = affine(field, module, members)
            if composed:
                kept.setdefault(field, []).append(module)
                tensors.extend(composed)
    return tensors, _fields([summand.operand.config for summand in summands], found, kept)


def affine(what: str, module: str, members: Sequence[Member]) -> list[ComposedTensor]:
    """The sum of what replaces one module's values; nothing where all coefficients are zero.

    Args:
        what: the field or type that trained the values, for messages.
        module: named as in the base model.
        members: all adapters, with what they replace.

    Raises:
        IncompatibleError: the coefficients do not sum to 1, or an adapter has no such values.
    """
    parts, absent = parts_at(module, members)
    if not parts:
        return []
    first = parts[0].operand
    hint = (
        "the base model's own value is in no adapter, so that their coefficients must sum to 1 "
        "(as in mean(...)) over adapters that all have such values; or "
    )
    trained = f"{first.quoted} has values of {quoted(module, 120)} trained as a whole ({what})"
    if what == dora.FIELD:
        trained, hint = dora.trained(first, module), dora.SUM_HINT
    elif what == "bias":
        # To leave such a module out would drop its factors as well.
        hint += "train with bias='none'"
    else:
        last = re.escape(module.rpartition(".")[2])
        hint += f'leave it out with only(..., modules="^(?!.*{last}$)")'
    if absent:
        raise IncompatibleError(
            f"{trained}, which {absent[0].summand.operand.quoted} has not", hint=hint
        )
    total = sum((part.coefficient for part in parts), Fraction(0))
    if total != 1:
        raise IncompatibleError(
            f"{trained}, and the coefficients sum to {readable(total)} there, expected 1", hint=hint
        )
    require_equal_shapes(module, parts)
    _require_equal_tokens(module, parts)
    return [
        added(
            [part.tensors[name] for part in parts],
            [part.source for part in parts],
            [float32(part.coefficient) for part in parts],
        )
        for name in sorted(parts[0].tensors)
    ]


def _require_equal_tokens(module: str, parts: Sequence[Part]) -> None:
    first = parts[0].operand
    for part in parts[1:]:
        for field in ("trainable_token_indices", "token_indices"):
            ours, theirs = first.config.get(field), part.operand.config.get(field)
            if ours != theirs and "tokens_delta" in "".join(part.tensors):
                raise IncompatibleError(
                    f"{first.quoted} and {part.operand.quoted} trained other tokens of "
                    f"{quoted(module, 120)}: {field} is {reprlib.repr(ours)} and "
                    f"{reprlib.repr(theirs)}",
                    hint="train them with the same tokens, in the same order",
                )


def _fields(
    configs: Sequence[Mapping[str, Any]], found: Sequence[Replaced], kept: Mapping[str, list[str]]
) -> dict[str, Any]:
    fields: dict[str, Any] = {"modules_to_save": None}
    if saved := kept.get("modules_to_save"):
        fields["modules_to_save"] = _saved(configs, found, saved)
    elif any("modules_to_save" in one.values for one in found):
        _require_no_head(configs[0])
    if kept.get("bias"):
        # Where they say different things, "all" comes first, which the others are parts of.
        fields["bias"] = min({str(config.get("bias") or "none") for config in configs} - {"none"})
    if kept.get(dora.FIELD):
        fields[dora.FIELD] = True
    if modules := kept.get("trainable_token_indices"):
        indices = next(c["trainable_token_indices"] for c in configs if _has_tokens(c))
        if isinstance(indices, Mapping):
            indices = {
                name: indices[name]
                for name in sorted(indices)
                if any(module.endswith(name) for module in modules)
            }
        fields["trainable_token_indices"] = indices
    return fields


def _has_tokens(config: Mapping[str, Any]) -> bool:
    return bool(config.get("trainable_token_indices"))


def _saved(
    configs: Sequence[Mapping[str, Any]], found: Sequence[Replaced], kept: Sequence[str]
) -> list[str]:
    """The parents' names where they agree and nothing fell away, else the modules' full names."""
    # PEFT repeats names that it adds itself each time a head is loaded and saved again.
    stated = [sorted(set(config.get("modules_to_save") or ())) for config in configs]
    whole = all(sorted(one.values.get("modules_to_save", ())) == list(kept) for one in found)
    return stated[0] if whole and all(names == stated[0] for names in stated) else list(kept)


def _require_no_head(config: Mapping[str, Any]) -> None:
    if config.get("task_type") in _WITH_HEADS:
        raise IncompatibleError(
            f"nothing is left of the trained head, which task_type={config['task_type']} needs",
            hint="keep the head's module with coefficients that sum to 1",
        )

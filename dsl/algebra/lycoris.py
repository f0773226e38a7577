"""The algebra that LoKr and LoHa share: updates that are products of two halves.

A half is one whole matrix, or a product of two factors, or of three (Tucker) for a convolution.
PEFT names them w1 and w2, w1_a and w1_b, and t1 or t2, and multiplies the update with alpha / rank
whatever a half is made of, also where no half has a rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import IncompatibleError, quoted
from ..tensors.tensorfile import Header
from .fields import COMMON_FIELDS, require_semantics, require_understood
from .generic import counted
from .interface import (
    Composition,
    Inspection,
    ModuleUpdates,
    Operand,
    Summand,
    TensorSum,
    UpdateLayout,
)
from .lora_fields import settings
from .lora_layout import check_targets
from .lora_result import rank_fields, shared_fields, target_fields
from .modules import (
    Member,
    Part,
    Tensors,
    added,
    all_modules,
    find,
    parts_at,
    require_all,
    require_equal_shapes,
    require_floats,
    require_kept,
)
from .replaced import Replaced, compose_replaced, replaced_alone
from .scaling import Scaling, float32, number

_SEMANTICS: Final = ("elementwise", "exact")


@dataclass(frozen=True, slots=True)
class Lycoris:
    """The arithmetic of a PEFT type whose update is a product of two halves.

    Args:
        kind: how messages name the type.
        letters: what the names of its tensors begin with, for example `lokr_`.
        has_whole: whether a half may be one matrix that is not factored.
        shaping: fields and their defaults that decide which factors there are, beside the rank.
        product: what its update is, for messages: "Kronecker product".
        remedy: what to do with a sum of such products.
    """

    kind: str
    letters: str
    has_whole: bool
    shaping: Mapping[str, Any]
    product: str
    remedy: str

    def inspect(self, config: Mapping[str, Any], header: Header) -> Inspection:
        """Check that factors and configuration belong together, and say what they are.

        Raises:
            IncompatibleError: they do not.
        """
        general = counted(config, header)
        modules, _ = self._modules(config, header)
        ranks = settings(config, "alpha")
        scalings = [ranks.scaling(module) for module in modules]
        alphas = {scaling.alpha for scaling in scalings}
        return Inspection(
            peft_type=general.peft_type,
            rank=max(scaling.rank for scaling in scalings),
            alpha=float(number(alphas.pop())) if len(alphas) == 1 else None,
            modules=tuple(sorted(modules)),
            parameters=general.parameters,
            dtype=general.dtype,
        )

    def refuse(self, operand: Operand) -> None:
        """Refuse a configuration with anything that is not understood.

        Raises:
            IncompatibleError: naming the field.
        """
        more = {"alpha", "alpha_pattern", "r", "rank_pattern", *self.shaping}
        require_understood(operand, COMMON_FIELDS | {"modules_to_save"} | more)

    def updates(self, operand: Operand, header: Header) -> ModuleUpdates:
        """The update of every module as the product of its halves.

        Raises:
            IncompatibleError: PEFT makes another update of the halves than their product.
        """
        member, beside = self._member(Summand(operand, header, 0, ()))
        layouts = {}
        for module, tensors in sorted(member.modules.items()):
            layouts[module] = self._layout(operand.config, module, tensors)
            if len(layouts[module].kernel) == 1:
                raise IncompatibleError(
                    f"{operand.quoted} changes the convolution {quoted(module, 120)} over one "
                    f"dimension, where PEFT's {self.product} comes out in another order"
                )
        return ModuleUpdates(layouts, beside)

    def compose(self, semantics: str, summands: Sequence[Summand]) -> Composition:
        """Describe a sum: of each factor on its own, or exactly where one adapter is alone.

        Raises:
            IncompatibleError: the adapters cannot be summed, with what to do.
            UnsupportedError: the semantics is not one of this type.
        """
        require_semantics(self.kind, semantics, _SEMANTICS)
        found = [self._member(summand) for summand in summands]
        members = [member for member, _ in found]
        composed = {
            module: self._exact(module, parts)
            if semantics == "exact"
            else self._elementwise(module, parts, absent)
            for module in all_modules(members)
            for parts, absent in (parts_at(module, members),)
            if parts
        }
        if not composed:
            raise IncompatibleError("the coefficients cancel out at every module: nothing is left")
        self._require_equal_shaping(summands)
        tensors, fields = compose_replaced(summands, [beside for _, beside in found])
        tensors += [tensor for of_module, _ in composed.values() for tensor in of_module]
        scalings = {module: scaling for module, (_, scaling) in composed.items()}
        configs = [summand.operand.config for summand in summands]
        config = {
            "peft_type": self.kind.upper(),
            "inference_mode": True,
            "init_weights": True,
            **{f: configs[0].get(f, default) for f, default in self.shaping.items()},
            **rank_fields(scalings, rslora=False, alpha_field="alpha"),
            **target_fields(
                configs, [frozenset(member.modules) for member in members], frozenset(scalings)
            ),
            **shared_fields(configs),
            **fields,
        }
        mixed = [self._mixed(m, parts_at(m, members)[0]) for m in composed]
        return Composition(
            tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
            config=dict(sorted(config.items())),
            rank=max(scaling.rank for scaling in scalings.values()),
            sums=tuple(one for one in mixed if one) if semantics == "elementwise" else (),
        )

    def _member(self, summand: Summand) -> tuple[Member, Replaced]:
        operand = summand.operand
        try:
            modules, beside = self._modules(operand.config, summand.header)
        except IncompatibleError as error:
            raise IncompatibleError(
                f"{operand.quoted}: {error.message}", hint=error.hint
            ) from error
        require_floats(operand, (e for tensors in modules.values() for e in tensors.values()))
        require_floats(operand, beside.entries)
        require_kept(summand, modules.keys() | beside.modules)
        return Member(summand, modules), beside

    def _modules(
        self, config: Mapping[str, Any], header: Header
    ) -> tuple[Mapping[str, Tensors], Replaced]:
        endings = ("w1", "w1_a", "w1_b", "t1", "w2", "w2_a", "w2_b", "t2")
        names = frozenset(self.letters + ending for ending in endings)
        modules, others = find(self.kind, header, names)
        ranks = settings(config, "alpha")
        for module, tensors in modules.items():
            for half in "12":
                self._check_half(half, module, tensors, ranks.scaling(module).rank)
        check_targets(config, tuple(modules))
        return modules, replaced_alone(self.kind, config, others)

    def _check_half(self, half: str, module: str, tensors: Tensors, rank: int) -> None:
        names = [f"{self.letters}{ending.format(half)}" for ending in ("w{}", "w{}_a", "w{}_b")]
        whole, a, b = (tensors.get(name) for name in names)
        core = tensors.get(f"{self.letters}t{half}")
        if whole is not None and self.has_whole and (a, b, core) == (None, None, None):
            return
        if whole is not None or a is None or b is None:
            raise IncompatibleError(
                f"the factors of {quoted(module, 120)} are incomplete: {', '.join(sorted(tensors))}"
            )
        inner = [a.shape[:1], b.shape[:1], core.shape[:1], core.shape[1:2]] if core else []
        if any(size != (rank,) for size in inner or [a.shape[1:2], b.shape[:1]]):
            raise IncompatibleError(
                f"adapter_config.json gives {quoted(module, 120)} rank {rank}, but {a.name} is of "
                f"shape {list(a.shape)} and {b.name} of {list(b.shape)}"
            )

    def _elementwise(
        self, module: str, parts: Sequence[Part], absent: Sequence[Member]
    ) -> tuple[list[Any], Scaling]:
        require_all(module, parts, absent)
        require_equal_shapes(module, parts)
        scaling = _scaling(parts[0], module)
        for part in parts[1:]:
            if _scaling(part, module).value != scaling.value:
                raise IncompatibleError(
                    f"elementwise sums need equal scalings, but at {quoted(module, 120)} "
                    f"{parts[0].operand.quoted} has {scaling} and {part.operand.quoted} has "
                    f"{_scaling(part, module)}",
                    hint="train them with one alpha and one rank",
                )
        sources = [part.source for part in parts]
        weights = [float32(part.coefficient) for part in parts]
        return [
            added([part.tensors[name] for part in parts], sources, weights)
            for name in sorted(parts[0].tensors)
        ], scaling

    def _mixed(self, module: str, parts: Sequence[Part]) -> TensorSum | None:
        layouts = [self._layout(part.operand.config, module, part.tensors) for part in parts]
        if any(len(layout.kernel) == 1 for layout in layouts):
            return None
        return TensorSum(
            module,
            tuple((part.source, layout) for part, layout in zip(parts, layouts, strict=True)),
            tuple(float32(part.coefficient) for part in parts),
        )

    def _layout(self, config: Mapping[str, Any], module: str, tensors: Tensors) -> UpdateLayout:
        kernel = max((entry.shape[2:] for entry in tensors.values()), key=len)
        scaling = settings(config, "alpha").scaling(module).rounded
        return UpdateLayout(self.kind.lower(), tensors, scaling, kernel=kernel)

    def _exact(self, module: str, parts: Sequence[Part]) -> tuple[list[Any], Scaling]:
        if len(parts) > 1:
            names = f"{parts[0].operand.quoted} and {parts[1].operand.quoted}"
            raise IncompatibleError(
                f"{names} both change {quoted(module, 120)}, and a sum of {len(parts)} "
                f"{self.product}s is no {self.kind} adapter, so that it has no exact form",
                hint=f"{self.remedy}, or leave exact(...) out to sum their factors element by "
                "element",
            )
        (part,) = parts
        # One factor carries the coefficient, since the update is linear in each of them.
        whole = self.letters + "w1"
        carrier = whole if whole in part.tensors else whole + "_a"
        weight = float32(part.coefficient)
        return [
            added([entry], [part.source], [weight if name == carrier else 1.0])
            for name, entry in sorted(part.tensors.items())
        ], _scaling(part, module)

    def _require_equal_shaping(self, summands: Sequence[Summand]) -> None:
        """Refuse adapters whose factors PEFT would not lay out under one configuration."""
        first = summands[0].operand
        for summand in summands[1:]:
            other = summand.operand
            for field, default in self.shaping.items():
                ours, theirs = first.config.get(field, default), other.config.get(field, default)
                if ours != theirs:
                    raise IncompatibleError(
                        f"the settings of {field} differ: {first.quoted} has {ours!r} and "
                        f"{other.quoted} has {theirs!r}, expected the same",
                        hint="they decide which factors there are; train with one setting",
                    )


def _scaling(part: Part, module: str) -> Scaling:
    return settings(part.operand.config, "alpha").scaling(module)

"""How LoRA lies in a file: which tensors are the factors of which module, checked both ways."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import IncompatibleError, quoted
from ..patterns import fullmatch, match
from ..tensors.tensorfile import Header, TensorEntry
from .interface import FactorPair
from .lora_fields import LoraSettings, settings
from .modules import PREFIX
from .replaced import Replaced, replaced
from .scaling import Scaling

SUFFIXES: Final[Mapping[str, tuple[str, str]]] = {
    "linear": (".lora_A.weight", ".lora_B.weight"),
    "embedding": (".lora_embedding_A", ".lora_embedding_B"),
}
"""Endings of the names of the factors A and B, by the kind of module."""

EMBEDDINGS: Final = frozenset(
    {"embed_in", "embed_out", "embed_tokens", "embeddings", "lm_head", "output_embeddings"}
    | {"shared", "tok_embeddings", "word_embeddings", "wte"}
)
"""Last parts of the names that modules with one row a token commonly have."""


@dataclass(frozen=True, slots=True)
class Factors:
    """The two factors of one module's update and their scaling.

    `kind` is "linear" (also convolutions: A of shape (rank, in, kernel), B of (out, rank, 1)) or
    "embedding" (A of shape (rank, vocabulary), B of (dimension, rank)). A convolution in groups
    has B of shape (out, rank / groups, 1).
    """

    kind: str
    a: TensorEntry
    b: TensorEntry
    scaling: Scaling
    groups: int

    def pair(self, source: int) -> FactorPair:
        """The factors without what is special about LoRA, in the file of a number."""
        return FactorPair(source, self.a, self.b, self.scaling.rounded, self.groups)


@dataclass(frozen=True, slots=True)
class Layout:
    """The factors by module (named as in the base model), and the tensors beside them."""

    factors: Mapping[str, Factors]
    beside: Replaced


def layout(config: Mapping[str, Any], header: Header) -> Layout:
    """Pair the factors of a plain LoRA adapter and check them against its configuration.

    Raises:
        IncompatibleError: a factor is missing, has another rank than the configuration says, or
            belongs to no target module; a target has no tensors; a tensor is unexplained.
    """
    pairs, others = pair(header)
    ranks = settings(config)
    factors = {
        module: _factors(module, kind, a, b, ranks) for module, (kind, a, b) in pairs.items()
    }
    check_targets(config, tuple(factors))
    beside = replaced(config, others)
    unknown = next((entry for entry in beside.rest if not _explained(entry.name, config)), None)
    if unknown is not None:
        raise IncompatibleError(
            f"the tensor {quoted(unknown.name, 120)} is no LoRA factor, and nothing in "
            "adapter_config.json explains it"
        )
    return Layout(factors, beside)


def pair(
    header: Header,
) -> tuple[dict[str, tuple[str, TensorEntry, TensorEntry]], tuple[TensorEntry, ...]]:
    """Find the two factors of every module, by their names alone, and all other tensors.

    Raises:
        IncompatibleError: one factor is there without the other, or there are none.
    """
    found: dict[tuple[str, str], dict[int, TensorEntry]] = {}
    others: list[TensorEntry] = []
    for entry in header.entries:
        place = _place(entry.name)
        if place is None:
            others.append(entry)
        else:
            module, kind, factor = place
            found.setdefault((module, kind), {})[factor] = entry
    pairs: dict[str, tuple[str, TensorEntry, TensorEntry]] = {}
    for (module, kind), both in found.items():
        if len(both) < 2:
            missing = PREFIX + module + SUFFIXES[kind][0 if 1 in both else 1]
            raise IncompatibleError(
                f"the tensor {quoted(missing, 120)} is missing beside its other factor"
            )
        if module in pairs:
            raise IncompatibleError(f"{quoted(module, 120)} has factors of two kinds")
        pairs[module] = (kind, both[0], both[1])
    if not pairs:
        raise IncompatibleError(
            f"there are no LoRA factors among the {len(header.entries)} tensors",
            hint=f"they are named like {PREFIX}model.layers.0.self_attn.q_proj.lora_A.weight",
        )
    return pairs, tuple(others)


def _place(name: str) -> tuple[str, str, int] | None:
    if not name.startswith(PREFIX):
        return None
    for kind, suffixes in SUFFIXES.items():
        for factor, suffix in enumerate(suffixes):
            if name.endswith(suffix):
                return name[len(PREFIX) : -len(suffix)], kind, factor
    return None


def _factors(
    module: str, kind: str, a: TensorEntry, b: TensorEntry, ranks: LoraSettings
) -> Factors:
    shapes = f"A {list(a.shape)}, B {list(b.shape)}"
    if min(len(a.shape), len(b.shape)) < 2 or 0 in a.shape or 0 in b.shape:
        raise IncompatibleError(
            f"the factors of {quoted(module, 120)} are no whole matrices: {shapes}",
            hint="a model that was sharded (DeepSpeed ZeRO-3, FSDP) must be gathered when saving",
        )
    scaling = ranks.scaling(module)
    groups, odd = divmod(scaling.rank, b.shape[1])
    if a.shape[0] != scaling.rank or odd or (groups > 1 and len(b.shape) == 2):
        raise IncompatibleError(
            f"adapter_config.json gives {quoted(module, 120)} rank {scaling.rank}, "
            f"but its factors have other shapes: {shapes}"
        )
    if any(size != 1 for size in b.shape[2:]) or len(a.shape) != len(b.shape):
        raise IncompatibleError(
            f"the factors of {quoted(module, 120)} do not fit together: {shapes}"
        )
    return Factors(kind, a, b, scaling, groups)


def check_targets(config: Mapping[str, Any], modules: Sequence[str]) -> None:
    """Check that the modules that have tensors are those that a configuration targets.

    Raises:
        IncompatibleError: one is not targeted, or a target has no tensors.
    """
    targets = config.get("target_modules")
    if targets is None or (isinstance(targets, str) and targets.lower() == "all-linear"):
        return
    # A wrapped module within a wrapped one belongs to the outer one's target.
    named = {module: module.split(".base_layer.")[0] for module in modules}
    for module, name in named.items():
        if not is_target(config, name):
            raise IncompatibleError(
                f"the module {quoted(module, 120)} has factors, but adapter_config.json "
                f"does not target it (target_modules {reprlib.repr(targets)})"
            )
    if isinstance(targets, str):
        return
    for target in sorted(targets):
        if not any(_ends_with(name, target) for name in named.values()):
            raise IncompatibleError(
                f"adapter_config.json targets {quoted(target, 120)}, but there are no tensors "
                "of such a module",
                hint="remove it from target_modules if the base model has no such module; "
                "else the weights are incomplete",
            )


def is_target(config: Mapping[str, Any], module: str) -> bool:
    """Whether PEFT would adapt a module (its check_target_module_exists).

    Raises:
        IncompatibleError: the targets are neither names nor a regular expression.
    """
    targets, excluded = config.get("target_modules"), config.get("exclude_modules")
    if excluded and _selects("exclude_modules", excluded, module):
        return False
    if not _selects("target_modules", targets, module):
        return False
    layers = config.get("layers_to_transform")
    if isinstance(targets, str) or module in (targets or ()) or layers is None or layers == []:
        return True
    index = _layer(module, config.get("layers_pattern"))
    return index in ([layers] if isinstance(layers, int) else layers)


def _selects(field: str, names: Any, module: str) -> bool:
    if isinstance(names, str):
        try:
            return fullmatch(names, module)
        except re.error as error:
            raise IncompatibleError(
                f"{field} is {quoted(names)}, which is no regular expression: {error}"
            ) from error
    if not isinstance(names, list | tuple | set) or not all(isinstance(n, str) for n in names):
        raise IncompatibleError(f"{field} is {reprlib.repr(names)}, expected names of modules")
    return any(_ends_with(module, name) for name in names)


def _ends_with(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _layer(module: str, patterns: Any) -> int | None:
    if not patterns:
        expressions = [r".*?\.[^.]*\.(\d+)\."]
    else:
        names = [patterns] if isinstance(patterns, str) else patterns
        expressions = [rf"(?:^|.*?\.){name}\.(\d+)\." for name in names]
    try:
        for expression in expressions:
            if found := match(expression, module):
                return int(found[1])
    except (re.error, ValueError) as error:
        raise IncompatibleError(
            f"layers_pattern is {reprlib.repr(patterns)}, which does not lead to the number of a "
            f"layer: {error}"
        ) from error
    return None


def _explained(name: str, config: Mapping[str, Any]) -> bool:
    """Whether the configuration, or PEFT's habit of saving embeddings, explains a tensor."""
    inner = name.removeprefix(PREFIX)
    if inner.endswith(".lora_B.bias"):
        return bool(config.get("lora_bias"))
    return is_saved_embedding(name)


def is_saved_embedding(name: str) -> bool:
    """Whether a tensor is a whole embedding or output layer, as PEFT saves after resizing it."""
    parts = name.removesuffix(".weight").removesuffix(".bias").removesuffix(".base_layer")
    return parts.rpartition(".")[2] in EMBEDDINGS

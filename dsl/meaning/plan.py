"""The canonical form: everything linear collected into one exact sum over digests.

Two programs that mean the same have the same plan, the same canonical text and the same digest,
however they were written: `mean(a, b)` and `0.5*a + 0.5*b` differ only before this stage. The
canonical text is itself an expression of the language, whose references are content digests. What a
function that is not linear makes of such sums is one summand among others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from ..functions import FUNCTION_BY_NAME
from ..patterns import search
from ..text.print import quote
from .semantics import DEFAULT_SEMANTICS, function_name

Option: TypeAlias = Fraction | str
"""The value of a function's option: a number, or a word."""

Name: TypeAlias = "Callable[[AdapterKey], str]"
"""What an adapter is called in a text."""


@dataclass(frozen=True, slots=True, order=True)
class AdapterKey:
    """What an adapter is, by content: sha256 of its canonical weights and of its configuration."""

    weights: str
    config: str

    def __str__(self) -> str:
        return f"sha256:{self.weights}:{self.config}"


@dataclass(frozen=True, slots=True)
class ModuleFilter:
    """The modules that `only` (a regular expression, searched) or `layers` (a range) keeps."""

    modules: str | None = None
    first: int | None = None
    last: int | None = None

    @property
    def sort_key(self) -> tuple[str, int, int]:
        """A total order that does not depend on how the expression was written."""
        first = -1 if self.first is None else self.first
        last = -1 if self.last is None else self.last
        return (self.modules or "", first, last)

    def keeps(self, module: str) -> bool:
        """Whether a module, named as in the base model (`model.layers.0.mlp.up_proj`), stays.

        >>> ModuleFilter(first=0, last=3).keeps("model.layers.4.mlp.up_proj")
        False
        """
        if self.modules is not None and not search(self.modules, module):
            return False
        if self.first is None and self.last is None:
            return True
        layer = layer_index(module)
        if layer is None:
            return False
        return (self.first is None or layer >= self.first) and (
            self.last is None or layer <= self.last
        )

    def around(self, text: str) -> str:
        """The canonical text of this filter applied to an expression."""
        if self.modules is not None:
            return f"only({text}, modules={quote(self.modules)})"
        bounds = [
            f"{name}={value}"
            for name, value in (("first", self.first), ("last", self.last))
            if value is not None
        ]
        return f"layers({', '.join([text, *bounds])})"

    def as_json(self) -> dict[str, str | int]:
        """The filter as plain data, absent bounds left out."""
        pairs = (("modules", self.modules), ("first", self.first), ("last", self.last))
        return {name: value for name, value in pairs if value is not None}


def layer_index(module: str) -> int | None:
    """The index of the layer a module belongs to: the first part of its name that is a number."""
    return next((int(part) for part in module.split(".") if part.isdecimal()), None)


def by_layer(modules: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Modules by the layer they belong to, both in the order of the model.

    A layer is named as in the model, so that those of an encoder and a decoder are told apart; a
    module that is in none stands for itself.

    >>> by_layer(["model.layers.10.mlp.up", "lm_head", "model.layers.9.q", "model.layers.9.k"])
    {'lm_head': ('lm_head',), 'model.layers.9': ('model.layers.9.k', 'model.layers.9.q'), \
'model.layers.10': ('model.layers.10.mlp.up',)}
    """
    found: dict[str, list[str]] = {}
    for module in sorted(modules, key=_natural):
        parts = module.split(".")
        number = next((n for n, part in enumerate(parts) if part.isdecimal()), len(parts))
        found.setdefault(".".join(parts[: number + 1]), []).append(module)
    return {layer: tuple(members) for layer, members in found.items()}


def _natural(module: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in module.split(".")]


@dataclass(frozen=True)
class Derived:
    """What a function that is not linear makes of sums: an adapter that has to be made first.

    Attributes:
        function: its name in the language.
        options: all its options by name, sorted; defaults are filled in.
        operands: the sums that it is given; sorted where their order means nothing.
    """

    function: str
    options: tuple[tuple[str, Option], ...]
    operands: tuple[Plan, ...]

    @cached_property
    def text(self) -> str:
        """The call as an expression over digests."""
        return self.spelled(_by_content)

    def spelled(self, name: Name, within: str | None = None) -> str:
        """The call with adapters named as one likes; `within` are the semantics around it."""
        parts = [operand.spelled(name, within) for operand in self.operands]
        parts += [f"{option}={value}" for option, value in self.options]
        return f"{self.function}({', '.join(parts)})"

    @cached_property
    def digest(self) -> str:
        """sha256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def words(self, name: Name, within: str | None = None) -> str:
        """The call for people: numbers in short, and options only where they were chosen."""
        parts = [operand.words(name, within) for operand in self.operands]
        return f"{self.function}({', '.join([*parts, *self._chosen()])})"

    @property
    def head(self) -> str:
        """The call for people, without its operands: `ties(..., density=0.2)`."""
        return f"{self.function}({', '.join(['...', *self._chosen()])})"

    def _chosen(self) -> list[str]:
        function = FUNCTION_BY_NAME[self.function]
        shown = []
        for option, value in self.options:
            parameter = function.parameter(option)
            text = value if isinstance(value, str) else readable(value)
            if parameter is None or text != parameter.default:
                shown.append(f"{option}={text}")
        return shown

    @cached_property
    def inner(self) -> tuple[Derived, ...]:
        """Everything that must be made before it, each once, the innermost first."""
        found = [one for operand in self.operands for one in operand.derived]
        return tuple(dict.fromkeys(found))


Atom: TypeAlias = AdapterKey | Derived
"""What a sum is made of: catalogued adapters, and what functions make."""


def atom_order(atom: Atom) -> tuple[int, str, str]:
    """A total order: adapters by their digests, then what is derived by its text."""
    if isinstance(atom, AdapterKey):
        return (0, atom.weights, atom.config)
    return (1, atom.text, "")


@dataclass(frozen=True, slots=True)
class Term:
    """One summand: an exact coefficient times an adapter, restricted to the kept modules."""

    coefficient: Fraction
    adapter: Atom
    filters: tuple[ModuleFilter, ...] = ()

    def spelled(self, name: Name, within: str | None = None) -> str:
        """The summand without its coefficient, as an expression; adapters named as one likes."""
        atom = self.adapter
        return self._kept(
            name(atom) if isinstance(atom, AdapterKey) else atom.spelled(name, within)
        )

    def words(self, name: Name, within: str | None = None) -> str:
        """The summand without its coefficient, for people."""
        atom = self.adapter
        if isinstance(atom, AdapterKey):
            return self._kept(name(atom))
        return self._kept(atom.words(name, within))

    def _kept(self, text: str) -> str:
        for kept in self.filters:
            text = kept.around(text)
        return text

    @property
    def order(self) -> tuple[object, ...]:
        """Where the summand stands in a sum."""
        return (atom_order(self.adapter), [kept.sort_key for kept in self.filters])


@dataclass(frozen=True, slots=True)
class Leaf:
    """A catalogued adapter that takes part in a composition.

    Attributes:
        coefficient: the product of the coefficients on the way to it.
        filters: of all that it goes through, the outermost first.
        within: the functions that it goes through, the outermost first.
    """

    coefficient: Fraction
    adapter: AdapterKey
    filters: tuple[ModuleFilter, ...] = ()
    within: tuple[Derived, ...] = ()

    @property
    def restrictions(self) -> list[dict[str, str | int]]:
        """What is kept of it and what is made of it on its way, as plain data."""
        kept = [one.as_json() for one in self.filters]
        kept += [{"within": one.head} for one in self.within]
        return kept


@dataclass(frozen=True)
class Plan:
    """A composition in canonical form: semantics, and terms sorted by atom and filters."""

    semantics: str
    terms: tuple[Term, ...]

    @cached_property
    def canonical(self) -> str:
        """The plan as an expression over digests; equal plans have equal text."""
        return self.spelled(_by_content)

    def spelled(self, name: Name, within: str | None = None) -> str:
        """The plan as an expression, with adapters named as one likes.

        `within` are the semantics of what it stands in, which need not be said again.
        """
        texts = [term.spelled(name, self.semantics) for term in self.terms]
        factors = [str(abs(term.coefficient)) for term in self.terms]
        return self._written(factors, texts, within)

    def words(self, name: Name, within: str | None = None) -> str:
        """The plan for people: numbers in short, and options only where they were chosen."""
        texts = [term.words(name, self.semantics) for term in self.terms]
        factors = [readable(abs(term.coefficient)) for term in self.terms]
        return self._written(factors, texts, within)

    def _written(self, factors: list[str], texts: list[str], within: str | None) -> str:
        parts: list[str] = []
        for term, factor, text in zip(self.terms, factors, texts, strict=True):
            product = text if factor == "1" else f"{factor}*{text}"
            sign = "-" if term.coefficient < 0 else "+"
            parts.append(
                f"{sign} {product}" if parts else product if sign == "+" else f"-{product}"
            )
        written = " ".join(parts)
        if self.semantics in (DEFAULT_SEMANTICS, within):
            return written
        return f"{function_name(self.semantics)}({written})"

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical text."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """What is summed, each once, sorted."""
        return tuple(sorted({term.adapter for term in self.terms}, key=atom_order))

    @property
    def adapters(self) -> tuple[AdapterKey, ...]:
        """The adapters that take part, also within functions, each once, sorted."""
        return tuple(sorted({leaf.adapter for leaf in self.leaves()}))

    @cached_property
    def derived(self) -> tuple[Derived, ...]:
        """All that functions make in it, each once, the innermost first."""
        found = [term.adapter for term in self.terms if isinstance(term.adapter, Derived)]
        return tuple(dict.fromkeys(one for atom in found for one in (*atom.inner, atom)))

    def leaves(self) -> Iterator[Leaf]:
        """Every occurrence of an adapter, in the order of the text."""
        for term in self.terms:
            if isinstance(term.adapter, AdapterKey):
                yield Leaf(term.coefficient, term.adapter, term.filters)
                continue
            for operand in term.adapter.operands:
                for leaf in operand.leaves():
                    yield Leaf(
                        term.coefficient * leaf.coefficient,
                        leaf.adapter,
                        (*term.filters, *leaf.filters),
                        (term.adapter, *leaf.within),
                    )


def _by_content(key: AdapterKey) -> str:
    return quote(str(key))


def readable(coefficient: Fraction) -> str:
    """A coefficient for people: exact where that is short, else its float value.

    >>> readable(Fraction(3, 5)), readable(Fraction(1, 3)), readable(Fraction(-2))
    ('0.6', '1/3', '-2')
    """
    if coefficient.denominator == 1 and abs(coefficient) < 10**12:
        return str(coefficient.numerator)
    try:
        number = float(coefficient)
    except OverflowError:
        digits = len(str(abs(coefficient.numerator))) - len(str(coefficient.denominator))
        return f"about 1e+{digits}"
    if len(repr(number)) <= 8 and Fraction(repr(number)) == coefficient:
        return repr(number)
    if coefficient.denominator <= 1000:
        return str(coefficient)
    return f"{number:.6g}"

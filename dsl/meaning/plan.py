"""The canonical form: everything linear collected into one exact sum over digests.

Two programs that mean the same have the same plan, the same canonical text and the same digest,
however they were written: `mean(a, b)` and `0.5*a + 0.5*b` differ only before this stage. The
canonical text is itself an expression of the language, whose references are content digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from ..errors import CheckError, LimitError
from ..patterns import search
from ..text.print import quote
from .semantics import DEFAULT_SEMANTICS, function_name

# Beyond these a coefficient is no longer a normal float32 number, in which all sums are done.
LARGEST_COEFFICIENT = Fraction(10) ** 30
SMALLEST_COEFFICIENT = Fraction(1, 10**30)


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


@dataclass(frozen=True, slots=True)
class Term:
    """One summand: an exact coefficient times an adapter, restricted to the kept modules."""

    coefficient: Fraction
    adapter: AdapterKey
    filters: tuple[ModuleFilter, ...] = ()

    @property
    def text(self) -> str:
        """The summand without its coefficient, as an expression."""
        text = quote(str(self.adapter))
        for kept in self.filters:
            text = kept.around(text)
        return text


@dataclass(frozen=True)
class Plan:
    """A composition in canonical form: semantics, and terms sorted by adapter and filters."""

    semantics: str
    terms: tuple[Term, ...] = field()

    @cached_property
    def canonical(self) -> str:
        """The plan as an expression over digests; equal plans have equal text."""
        parts: list[str] = []
        for term in self.terms:
            magnitude = abs(term.coefficient)
            scaled = term.text if magnitude == 1 else f"{magnitude}*{term.text}"
            sign = "-" if term.coefficient < 0 else "+"
            parts.append(f"{sign} {scaled}" if parts else scaled if sign == "+" else f"-{scaled}")
        text = " ".join(parts)
        if self.semantics == DEFAULT_SEMANTICS:
            return text
        return f"{function_name(self.semantics)}({text})"

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical text."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def adapters(self) -> tuple[AdapterKey, ...]:
        """The adapters that take part, each once, sorted."""
        return tuple(sorted({term.adapter for term in self.terms}))


class LinearForm:
    """A mutable sum while it is being collected: coefficient by (adapter, filters)."""

    __slots__ = ("coefficients", "semantics")

    def __init__(
        self,
        coefficients: Mapping[tuple[AdapterKey, tuple[ModuleFilter, ...]], Fraction],
        semantics: str | None = None,
    ) -> None:
        self.coefficients = dict(coefficients)
        self.semantics = semantics

    @classmethod
    def of(cls, adapter: AdapterKey) -> LinearForm:
        """One times the adapter."""
        return cls({(adapter, ()): Fraction(1)})

    def scaled(self, factor: Fraction) -> LinearForm:
        """Every coefficient times the factor."""
        return LinearForm(
            {key: value * factor for key, value in self.coefficients.items()}, self.semantics
        )

    def filtered(self, kept: ModuleFilter) -> LinearForm:
        """The sum restricted to the modules that the filter keeps."""
        collected: dict[tuple[AdapterKey, tuple[ModuleFilter, ...]], Fraction] = {}
        for (adapter, filters), value in self.coefficients.items():
            both = tuple(sorted({*filters, kept}, key=lambda item: item.sort_key))
            collected[adapter, both] = collected.get((adapter, both), Fraction(0)) + value
        return LinearForm(collected, self.semantics)

    def add(self, other: LinearForm, factor: Fraction) -> None:
        """Add factor times the other sum to this one, in place."""
        for key, value in other.coefficients.items():
            self.coefficients[key] = self.coefficients.get(key, Fraction(0)) + value * factor


def collect(form: LinearForm, semantics: str) -> Plan:
    """The plan of a collected sum.

    Raises:
        CheckError: everything cancelled out.
        LimitError: a coefficient that float32 cannot hold as a normal number.
    """
    terms = [
        Term(value, adapter, filters)
        for (adapter, filters), value in form.coefficients.items()
        if value
    ]
    if not terms:
        raise CheckError(
            "this comes to nothing: every coefficient is zero",
            hint="an adapter that changes nothing is the base model itself; use that instead",
        )
    _refuse_extreme_coefficients(terms)
    terms.sort(key=lambda term: (term.adapter, [kept.sort_key for kept in term.filters]))
    return Plan(semantics, tuple(terms))


def _refuse_extreme_coefficients(terms: Iterable[Term]) -> None:
    for term in terms:
        if not SMALLEST_COEFFICIENT <= abs(term.coefficient) <= LARGEST_COEFFICIENT:
            raise LimitError(
                f"a coefficient of {readable(term.coefficient)} is beyond what float32 can hold",
                hint="keep the absolute value of every coefficient between 1e-30 and 1e+30",
            )


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

"""Sums while they are being collected, and calls of functions whose semantics is not known yet.

What `+` means within a function is decided by the place that the function stands in, and that may
be wrapped in `exact(...)` only later. So calls are kept open until the whole sum is collected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from ..errors import CheckError, DslError, LimitError, Span
from ..functions import FUNCTION_BY_NAME, Function
from ..number import bounded
from .plan import AdapterKey, Derived, ModuleFilter, Option, Plan, Term, readable

# Beyond these a coefficient is no longer a normal float32 number, in which all sums are done.
LARGEST_COEFFICIENT = Fraction(10) ** 30
SMALLEST_COEFFICIENT = Fraction(1, 10**30)


@dataclass(frozen=True, slots=True)
class OpenSum:
    """A sum as an operand of an open call; it takes on the semantics of the place, if None."""

    terms: frozenset[tuple[tuple[OpenAtom, tuple[ModuleFilter, ...]], Fraction]]
    semantics: str | None


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call of a function that is not linear, before it is known what `+` means in it.

    Attributes:
        function: its name.
        options: by name, sorted, with all defaults filled in.
        operands: the sums that it is given, in their order.
        leaves: adapters in it, however often each occurs.
        span, source: its place, for messages.
    """

    function: str
    options: tuple[tuple[str, Option], ...]
    operands: tuple[OpenSum, ...]
    leaves: int = field(compare=False)
    span: Span = field(compare=False)
    source: str = field(compare=False)


OpenAtom: TypeAlias = AdapterKey | OpenCall


class LinearForm:
    """A mutable sum while it is being collected: coefficient by (atom, filters)."""

    __slots__ = ("coefficients", "semantics")

    def __init__(
        self,
        coefficients: Mapping[tuple[OpenAtom, tuple[ModuleFilter, ...]], Fraction],
        semantics: str | None = None,
    ) -> None:
        self.coefficients = dict(coefficients)
        self.semantics = semantics

    @classmethod
    def of(cls, atom: OpenAtom, semantics: str | None = None) -> LinearForm:
        """One times an adapter, or what a function gives."""
        return cls({(atom, ()): Fraction(1)}, semantics)

    @property
    def leaves(self) -> int:
        """Adapters in it, however often each occurs."""
        return sum(
            atom.leaves if isinstance(atom, OpenCall) else 1 for atom, _ in self.coefficients
        )

    def frozen(self) -> OpenSum:
        """The sum as an operand."""
        terms = frozenset((key, value) for key, value in self.coefficients.items() if value)
        return OpenSum(terms, self.semantics)

    def scaled(self, factor: Fraction) -> LinearForm:
        """Every coefficient times the factor."""
        return LinearForm(
            {key: value * factor for key, value in self.coefficients.items()}, self.semantics
        )

    def filtered(self, kept: ModuleFilter) -> LinearForm:
        """The sum restricted to the modules that the filter keeps."""
        collected: dict[tuple[OpenAtom, tuple[ModuleFilter, ...]], Fraction] = {}
        for (atom, filters), value in self.coefficients.items():
            both = tuple(sorted({*filters, kept}, key=lambda item: item.sort_key))
            collected[atom, both] = collected.get((atom, both), Fraction(0)) + value
        return LinearForm(collected, self.semantics)

    def add(self, other: LinearForm, factor: Fraction) -> None:
        """Add factor times the other sum to this one, in place."""
        for key, value in other.coefficients.items():
            self.coefficients[key] = self.coefficients.get(key, Fraction(0)) + value * factor


def collect(form: LinearForm, semantics: str) -> Plan:
    """The plan of a collected sum.

    Raises:
        CheckError: everything cancelled out, or a function has no meaning under the semantics.
        LimitError: a coefficient that float32 cannot hold as a normal number.
    """
    return _closed(form.coefficients.items(), semantics, {})


def _closed(
    terms: Iterable[tuple[tuple[OpenAtom, tuple[ModuleFilter, ...]], Fraction]],
    semantics: str,
    known: dict[tuple[OpenCall, str], Derived],
) -> Plan:
    coefficients: dict[tuple[AdapterKey | Derived, tuple[ModuleFilter, ...]], Fraction] = {}
    for (atom, filters), value in terms:
        if not value:
            continue
        # Calls that differ in the order of their operands alone may become one.
        closed = _derived(atom, semantics, known) if isinstance(atom, OpenCall) else atom
        key = closed, filters
        coefficients[key] = coefficients.get(key, Fraction(0)) + value
    collected = [Term(value, atom, kept) for (atom, kept), value in coefficients.items() if value]
    if not collected:
        raise CheckError(
            "this comes to nothing: every coefficient is zero",
            hint="an adapter that changes nothing is the base model itself; use that instead",
        )
    _refuse_extreme_coefficients(collected)
    return Plan(semantics, tuple(sorted(collected, key=lambda term: term.order)))


def _derived(call: OpenCall, semantics: str, known: dict[tuple[OpenCall, str], Derived]) -> Derived:
    if (call, semantics) not in known:
        try:
            function = FUNCTION_BY_NAME[call.function]
            _require_meaning(function, call, semantics)
            operands = [
                _closed(operand.terms, operand.semantics or semantics, known)
                for operand in call.operands
            ]
        except DslError as error:
            error.span = error.span or call.span
            raise error.located(call.source) from error.__cause__
        if function.is_symmetric:
            operands.sort(key=lambda operand: operand.canonical)
        known[call, semantics] = Derived(call.function, call.options, tuple(operands))
    return known[call, semantics]


def _require_meaning(function: Function, call: OpenCall, semantics: str) -> None:
    if function.works_on != "values":
        return
    ranked = any(name == "rank" for name, _ in call.options)
    if semantics == "exact" and not ranked:
        raise CheckError(
            f"under exact {function.name} works on the true updates, whose result has to be "
            "brought to a rank, and none is given",
            hint=f"give it a rank: {function.name}(..., rank=16)",
        )
    if semantics != "exact" and ranked:
        raise CheckError(
            f"'rank' is for {function.name} under exact; under {semantics} it works on the "
            "factors, which keep their rank",
            hint="leave rank= out, or write exact(...) around the whole expression",
        )


def _refuse_extreme_coefficients(terms: Iterable[Term]) -> None:
    for term in terms:
        if not SMALLEST_COEFFICIENT <= abs(term.coefficient) <= LARGEST_COEFFICIENT:
            raise LimitError(
                f"a coefficient of {readable(term.coefficient)} is beyond what float32 can hold",
                hint="keep the absolute value of every coefficient between 1e-30 and 1e+30",
            )
        bounded(term.coefficient)

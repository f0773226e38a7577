"""What the parts of a program come to: numbers, sums of adapters, sets of such sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from ..errors import CheckError, LimitError, Span
from ..functions import Function
from ..limits import DEFAULT
from ..number import bounded
from .linear import LinearForm, OpenCall
from .plan import Option, readable
from .semantics import COEFFICIENTS_INSIDE, function_name


@dataclass(frozen=True, slots=True)
class AdapterSet:
    """Several sums, one an adapter of a set, with the language of each."""

    members: tuple[LinearForm, ...]
    languages: tuple[str, ...]


Value: TypeAlias = Fraction | LinearForm | AdapterSet


def scaled(value: Value, factor: Fraction, span: Span) -> Value:
    """A value times a number.

    Raises:
        CheckError: the semantics of a sum allow no factor outside.
        LimitError: a coefficient grew beyond all bounds.
    """
    if isinstance(value, Fraction):
        return value * factor
    if isinstance(value, AdapterSet):
        members = tuple(_scaled_form(member, factor, span) for member in value.members)
        return AdapterSet(members, value.languages)
    return _scaled_form(value, factor, span)


def _scaled_form(form: LinearForm, factor: Fraction, span: Span) -> LinearForm:
    """Scale, and refuse coefficients that bindings of bindings let grow without bound."""
    if form.semantics in COEFFICIENTS_INSIDE and factor != 1:
        name = function_name(form.semantics)
        inside = "-(...)" if factor == -1 else f"{readable(factor)}*(...)"
        raise CheckError(
            f"{name}(...) cannot be scaled from outside: its rule is about the coefficients in it",
            span=span,
            hint=f"put the coefficient inside: {name}({inside})",
        )
    product = form.scaled(factor)
    for coefficient in product.coefficients.values():
        bounded(coefficient, span)
    return product


def added(terms: Sequence[tuple[LinearForm, Fraction, Span]], inside: str) -> LinearForm:
    """The sum of forms times factors, which must all have the same semantics.

    Args:
        terms: at least one; each with its place in the program.
        inside: what a person would write within the function of the semantics, for the hint.

    Raises:
        CheckError: the semantics differ, or allow no sum outside of their function.
    """
    semantics = terms[0][0].semantics
    total = LinearForm({}, semantics)
    for number, (form, factor, span) in enumerate(terms):
        if form.semantics != semantics:
            name = function_name(form.semantics or semantics or "")
            raise CheckError(
                f"{name}(...) cannot be added to an adapter outside of it: "
                "the two sides would give '+' different meanings",
                span=span,
                hint=f"put the whole sum inside: {name}({inside})",
            )
        if semantics in COEFFICIENTS_INSIDE and number:
            name = function_name(semantics)
            raise CheckError(
                f"{name}(...) cannot be added to another one: its rule is about the whole sum",
                span=span,
                hint=f"put the whole sum inside: {name}({inside})",
            )
        total.add(form, factor)
    return total


def derived(
    function: Function,
    forms: Sequence[LinearForm],
    options: Mapping[str, Option],
    span: Span,
    source: str,
) -> LinearForm:
    """What a function that is not linear makes of sums.

    Args:
        function: one that works on values or on updates.
        forms: the sums that it is given, sets taken apart.
        options: all its options.
        span, source: the place of the call.

    Raises:
        CheckError: too few adapters, or sums of several semantics where there can be only one.
        LimitError: so many functions within each other that nobody could read them.
    """
    if len(forms) < function.fewest:
        raise CheckError(
            f"{function.name} takes at least {function.fewest} adapters, and this is "
            f"{len(forms) or 'none'}",
            span=span,
            hint=f"it is written {function.signature}",
        )
    leaves = sum(form.leaves for form in forms)
    if leaves > DEFAULT.operands:
        raise LimitError(
            f"written out, this has {leaves} adapters: at most {DEFAULT.operands} are allowed",
            span=span,
            hint="each use of a name repeats all that is in it",
        )
    semantics = None
    if function.works_on == "values":
        semantics = forms[0].semantics
        for form in forms[1:]:
            if form.semantics != semantics:
                name = function_name(form.semantics or semantics or "")
                raise CheckError(
                    f"{name}(...) is only around some of the adapters of {function.name}(...), "
                    "which would give '+' different meanings",
                    span=span,
                    hint=f"put the whole inside: {name}({function.name}(...))",
                )
    operands = tuple(form.frozen() for form in forms)
    return LinearForm.of(
        OpenCall(function.name, tuple(sorted(options.items())), operands, leaves, span, source),
        semantics,
    )


def with_semantics(form: LinearForm, semantics: str, span: Span) -> LinearForm:
    """The sum with a meaning.

    Raises:
        CheckError: it has another meaning already.
    """
    if form.semantics not in (None, semantics):
        raise CheckError(
            f"{function_name(form.semantics)}(...) inside of {function_name(semantics)}(...)",
            span=span,
            hint="a sum has one meaning: leave one of the two out",
        )
    return LinearForm(form.coefficients, semantics)

"""From syntax tree to text, in one spacing and with the fewest parentheses.

`parse(print_program(tree)) == tree` for every tree that `parse` can make.
"""

import re
from fractions import Fraction

from ..number import decimal_text
from ..syntax import (
    AllLanguages,
    Call,
    Expression,
    Filter,
    LanguageExpression,
    LanguageSet,
    Name,
    Negative,
    Number,
    Parameter,
    Pin,
    Product,
    Program,
    Selector,
    Sum,
    Tag,
    Text,
)

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./+:-]+")
_TIGHTNESS = {Sum: 1, Product: 2}
_ATOM = 3


def print_program(program: Program) -> str:
    """Return the program as text: a binding a line, then the expression."""
    lines = [f"{one.name} = {print_expression(one.expression)};\n" for one in program.bindings]
    return "".join(lines) + print_expression(program.expression)


def print_expression(expression: Expression) -> str:
    """Return an expression as text.

    >>> from .parse import parse
    >>> print_expression(parse("0.6 * task[ en ]+(lm[pt])").expression)
    '0.6*task[en] + lm[pt]'
    """
    match expression:
        case Number():
            return expression.text
        case Name():
            return expression.name
        case Parameter():
            return f"${expression.name}"
        case Text():
            return quote(expression.value)
        case Tag():
            return expression.text
        case Selector():
            return _selector(expression)
        case Sum():
            return _sum(expression)
        case Product():
            return _product(expression)
        case Negative():
            return f"-{_within(expression.operand, _ATOM)}"
        case Call():
            return _call(expression)


def print_languages(languages: LanguageExpression) -> str:
    """Return what stands in a selector's brackets before the filters."""
    match languages:
        case AllLanguages():
            return "*"
        case LanguageSet():
            return _language_set(languages)
        case _:
            return print_expression(languages)


def quote(text: str) -> str:
    r"""Return a text in quotes as the grammar reads it.

    >>> print(quote('a "b" \\ c'))
    "a \"b\" \\ c"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _within(expression: Expression, tightness: int) -> str:
    """Return an operand, in parentheses when it binds less tightly than its surroundings."""
    text = print_expression(expression)
    return text if _TIGHTNESS.get(type(expression), _ATOM) >= tightness else f"({text})"


def _sum(expression: Sum) -> str:
    first, *rest = (
        (" - " if term.negative else " + ", _within(term.expression, 2))
        for term in expression.terms
    )
    return first[1] + "".join(operator + term for operator, term in rest)


def _product(expression: Product) -> str:
    first, *rest = expression.factors
    text = [_within(first.expression, _ATOM)]
    for factor in rest:
        text += ["/" if factor.divide else "*", _within(factor.expression, _ATOM)]
    return "".join(text)


def _call(call: Call) -> str:
    arguments = (
        print_expression(one.value)
        if one.name is None
        else f"{one.name}={print_expression(one.value)}"
        for one in call.arguments
    )
    return f"{call.function}({', '.join(arguments)})"


def _selector(selector: Selector) -> str:
    inside = [print_languages(selector.languages), *map(_filter, selector.filters)]
    return f"{selector.head}[{', '.join(inside)}]{_pin(selector.pin)}"


def _pin(pin: Pin | None) -> str:
    if pin is None:
        return ""
    prefix = {"version": "v", "latest": "", "digest": "sha256:"}[pin.kind]
    return f"@{prefix}{pin.value}"


def _filter(item: Filter) -> str:
    if isinstance(item.value, Fraction):
        return f"{item.field}{item.operator}{decimal_text(item.value)}"
    plain = _PLAIN_VALUE.fullmatch(item.value)
    return f"{item.field}{item.operator}{item.value if plain else quote(item.value)}"


def _language_set(languages: LanguageSet) -> str:
    first, *rest = languages.operands
    return f" {languages.operator} ".join(
        [_language_operand(first, languages.operator, leading=True)]
        + [_language_operand(one, languages.operator, leading=False) for one in rest]
    )


def _language_operand(operand: LanguageExpression, operator: str, *, leading: bool) -> str:
    """Return an operand of a set, in parentheses where it would else join its surroundings.

    `&` binds tighter than the others; those are of one level, and run from the left.
    """
    text = print_languages(operand)
    if not isinstance(operand, LanguageSet):
        return text
    joins = operand.operator == operator
    looser = operand.operator != "&" and (operator == "&" or not leading)
    return f"({text})" if joins or looser else text

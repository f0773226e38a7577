"""The syntax tree's builder: one method for each rule of the grammar, called while parsing."""

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from ..errors import DslError, LimitError, ParseError, Span
from ..fields import FIELDS
from ..functions import FUNCTION_BY_NAME
from ..languages import normalize
from ..limits import LANGUAGE_TURNS
from ..number import exact
from ..syntax import (
    AllLanguages,
    Argument,
    Binding,
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
    ProductFactor,
    Program,
    Selector,
    SetOperator,
    Sum,
    SumTerm,
    Tag,
    Text,
)
from .filters import build_filter

if TYPE_CHECKING:
    from lark import Token


def unquoted(text: str) -> str:
    """Return the value of a text in quotes.

    >>> unquoted('"a \\\\"b\\\\""')
    'a "b"'
    """
    return re.sub(r"\\(.)", r"\1", text[1:-1])


class TreeBuilder:
    """The methods that lark calls with the children of a rule, in the order of the text."""

    def program(self, children: list[Any]) -> Program:
        """Bindings and the expression."""
        *bindings, expression = children
        start = bindings[0].span.start if bindings else expression.span.start
        return Program(tuple(bindings), expression, "", Span(start, expression.span.end))

    def binding(self, children: list[Any]) -> Binding:
        """`NAME = expression;`."""
        name, value = children
        return Binding(str(name), value, Span(name.start_pos, value.span.end))

    def sum(self, children: list[Any]) -> Sum:
        """Terms and the operators between them."""
        terms = [SumTerm(False, children[0], children[0].span)]
        for operator, term in zip(children[1::2], children[2::2], strict=True):
            span = Span(operator.start_pos, term.span.end)
            terms.append(SumTerm(operator == "-", term, span))
        return Sum(tuple(terms), _covering(children))

    def product(self, children: list[Any]) -> Product:
        """Factors and the operators between them."""
        factors = [ProductFactor(False, children[0], children[0].span)]
        for operator, factor in zip(children[1::2], children[2::2], strict=True):
            span = Span(operator.start_pos, factor.span.end)
            factors.append(ProductFactor(operator == "/", factor, span))
        return Product(tuple(factors), _covering(children))

    def negative(self, children: list[Any]) -> Negative:
        """`-operand`."""
        minus, operand = children
        return Negative(operand, Span(minus.start_pos, operand.span.end))

    def number(self, children: list["Token"]) -> Number:
        """A decimal number."""
        span = token_span(children[0])
        return Number(exact(children[0], span), str(children[0]), span)

    def name(self, children: list["Token"]) -> Name:
        """A bare word."""
        return Name(str(children[0]), token_span(children[0]))

    def parameter(self, children: list["Token"]) -> Parameter:
        """`$T`."""
        return Parameter(str(children[0][1:]), token_span(children[0]))

    def text(self, children: list["Token"]) -> Text:
        """`"..."`."""
        return Text(unquoted(children[0]), token_span(children[0]))

    def group(self, children: list[Any]) -> Expression | LanguageExpression:
        """Widen what stands in parentheses by them, so that a caret marks them too."""
        opening, inner, closing = children
        span = Span(opening.start_pos, closing.end_pos)
        return cast(Expression, dataclasses.replace(inner, span=span))

    def selector(self, children: list[Any]) -> Selector:
        """`HEAD[languages, filters]@pin`."""
        head, languages, *rest = children
        filters = tuple(child for child in rest if isinstance(child, Filter))
        pin = _pin(rest[-1]) if rest[-1].type == "PIN" else None
        span = Span(head.start_pos, rest[-1].end_pos)
        return Selector(str(head), languages, filters, pin, span)

    def filter(self, children: list["Token"]) -> Filter:
        """`FIELD operator value`."""
        name, operator, value = children
        return build_filter(plain(name), plain(operator), plain(value), FIELDS)

    def call(self, children: list[Any]) -> Call:
        """`NAME(arguments)`."""
        name, _, *arguments, closing = children
        return Call(str(name), tuple(arguments), Span(name.start_pos, closing.end_pos))

    def argument(self, children: list[Any]) -> Argument:
        """`value` or `NAME=value`."""
        *names, value = children
        if not names:
            return Argument(None, value, value.span)
        return Argument(str(names[0]), value, Span(names[0].start_pos, value.span.end))

    def tag(self, children: list["Token"]) -> Tag:
        """A language code."""
        return _tag(children[0])

    def all_languages(self, children: list["Token"]) -> AllLanguages:
        """`*` in brackets."""
        return AllLanguages(token_span(children[0]))

    def intersection(self, children: list[Any]) -> LanguageSet:
        """Languages joined by `&`."""
        return LanguageSet("&", tuple(children), _covering(children))

    def languages(self, children: list[Any]) -> LanguageSet:
        """Join from the left; a run of one operator is one flat node."""
        operator, operands, turns = "", [children[0]], 0
        for token, operand in zip(children[1::2], children[2::2], strict=True):
            if operator and token != operator:
                operands = [_language_set(operator, operands)]
                turns += 1
                if turns > LANGUAGE_TURNS:
                    message = f"| and - alternate more than {LANGUAGE_TURNS} times: use parentheses"
                    raise LimitError(message, span=token_span(token))
            operator = str(token)
            operands.append(operand)
        return _language_set(operator, operands)

    def language_word(self, children: list["Token"]) -> "Token":
        """A bare word whose meaning depends on the function that takes it."""
        return children[0]

    def language_argument(self, children: list[Any]) -> list[Any]:
        """`value` or `NAME=value` in a language function."""
        return children

    def language_call(self, children: list[Any]) -> Call:
        """`NAME(arguments)` in brackets; bare words are languages where the function takes one."""
        name, _, *pairs, closing = children
        function = FUNCTION_BY_NAME.get(str(name))
        arguments = []
        for position, (*names, value) in enumerate(pairs):
            key = str(names[0]) if names else None
            if not hasattr(value, "span"):
                declared = (
                    function.parameter(position if key is None else key) if function else None
                )
                is_language = declared is not None and declared.type == "language"
                value = _tag(value) if is_language else Name(str(value), token_span(value))
            start = names[0].start_pos if names else value.span.start
            arguments.append(Argument(key, value, Span(start, value.span.end)))
        return Call(str(name), tuple(arguments), Span(name.start_pos, closing.end_pos))


def plain(token: "Token") -> tuple[str, Span]:
    """Return what a part of a condition says, without quotes, and its place."""
    text = unquoted(token) if token.type == "TEXT" else str(token)
    return text, token_span(token)


def token_span(token: "Token") -> Span:
    """Return the place of a token."""
    return Span(cast(int, token.start_pos), cast(int, token.end_pos))


def _covering(nodes: Sequence[Any]) -> Span:
    return Span(nodes[0].span.start, nodes[-1].span.end)


def _language_set(operator: str, operands: list[LanguageExpression]) -> LanguageSet:
    return LanguageSet(cast(SetOperator, operator), tuple(operands), _covering(operands))


def _tag(token: "Token") -> Tag:
    try:
        return Tag(str(token), normalize(token), token_span(token))
    except DslError as error:
        error.span = token_span(token)
        if token in FUNCTION_BY_NAME:
            error.hint = f"did you mean {FUNCTION_BY_NAME[token].signature}?"
        raise


def _pin(token: "Token") -> Pin:
    if token == "latest":
        return Pin("latest", "latest", token_span(token))
    if token.startswith("v"):
        if int(token[1:]) == 0:
            raise ParseError(
                "versions count from 1", span=token_span(token), hint="did you mean @v1?"
            )
        return Pin("version", str(int(token[1:])), token_span(token))
    return Pin("digest", token.removeprefix("sha256:").lower(), token_span(token))

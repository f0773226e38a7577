"""The checks of a call's arguments, outside of square brackets."""

import re
from collections.abc import Callable
from fractions import Fraction

from ..errors import CheckError, LanguageError, LimitError, Span, did_you_mean, quoted
from ..functions import Function, FunctionParameter
from ..languages import normalize
from ..number import fraction_text
from ..patterns import compiled
from ..signatures import Range
from ..syntax import Call, Expression, Name, Parameter, Text
from .arguments import bind_arguments
from .parameters import Parameters
from .values import IN_WORDS, Value, snippet

_NATURAL = Range(Fraction(0))
_LONGEST_PATTERN = 1000
_MOST_GROUPS = 100


def check_arguments(
    call: Call,
    function: Function,
    source: str,
    parameters: Parameters,
    value_of: Callable[[Expression], Value],
) -> None:
    """Check that a function of adapters is given what it takes.

    Args:
        call: the call.
        function: the function that it calls.
        source: the text of the program, for hints.
        parameters: the values given for language parameters.
        value_of: checks an expression and returns what it is.

    Raises:
        CheckError: an argument is missing, unknown or of the wrong kind.
        LanguageError: no language code where a language is taken.
    """
    if function.result == "languages":
        raise CheckError(
            f"{quoted(function.name)} gives languages: it stands in square brackets",
            span=call.span,
            hint=f"for example mean(task[{snippet(source, call)}])",
        )
    integers: dict[str, Fraction] = {}
    for name, values in bind_arguments(call, function).items():
        parameter = function.parameter(name)
        for value in values:
            match parameter.type if parameter else None:
                case "text":
                    _check_pattern(name, value)
                case "integer":
                    integers[name] = _integer(parameter, value, value_of(value))
                case "items":
                    _check_items(function, value, value_of(value))
                case "set":
                    _check_set(function, value, value_of(value))
                case "language":
                    language_argument(value, parameters)
                case "scalar":
                    _check_scalar(parameter, value, value_of(value))
                case "word":
                    _check_word(parameter, value)
                case _:
                    _check_adapter(function, value, value_of(value), source)
    first, last = integers.get("first"), integers.get("last")
    if first is not None and last is not None and first > last:
        message = f"'first' is {fraction_text(first)} and 'last' is {fraction_text(last)}"
        hint = "layers are counted upwards: the first one comes first"
        raise CheckError(message, span=call.span, hint=hint)


def _check_items(function: Function, expression: Expression, value: Value) -> None:
    if value.type == "scalar":
        raise CheckError(
            f"{function.name} takes adapters, and this is a number",
            span=expression.span,
            hint=f"it is written {function.signature}",
        )


def language_argument(expression: Expression, parameters: Parameters) -> str:
    """Return the normal form of a language that is an argument outside of square brackets.

    Raises:
        CheckError: it is not written as a language. LanguageError: it is no language code.
    """
    match expression:
        case Parameter():
            return parameters.language(expression.name, expression.span)
        case Name(name=code) | Text(value=code):
            try:
                return normalize(code)
            except LanguageError as error:
                raise LanguageError(error.message, span=expression.span, hint=error.hint) from error
    raise CheckError(
        "a language is taken here",
        span=expression.span,
        hint='it is written yo or $T; a tag with a hyphen stands in quotes here: "pt-BR"',
    )


def _check_set(function: Function, expression: Expression, value: Value) -> None:
    if value.type != "adapters":
        raise CheckError(
            f"{function.name} takes a set of adapters, and this is {IN_WORDS[value.type]}",
            span=expression.span,
            hint="a set is written task[*] or task[en|ar]",
        )


def _check_scalar(
    parameter: FunctionParameter | None, expression: Expression, value: Value
) -> None:
    name = quoted(parameter.name if parameter else "")
    if value.type != "scalar":
        message = f"{name} takes a number, and this is {IN_WORDS[value.type]}"
        raise CheckError(message, span=expression.span)
    within = parameter.range if parameter else None
    if within is not None and not within.holds(value.scalar):
        message = f"{name} takes a number {within.words}, and this is {fraction_text(value.scalar)}"
        raise CheckError(message, span=expression.span)


def _check_word(parameter: FunctionParameter | None, expression: Expression) -> None:
    choices = parameter.choices if parameter else ()
    if not isinstance(expression, Name) or expression.name not in choices:
        word = expression.name if isinstance(expression, Name) else ""
        message = f"{quoted(parameter.name if parameter else '')} takes one of {', '.join(choices)}"
        hint = did_you_mean(word, choices)
        if isinstance(expression, Text) and expression.value in choices:
            hint = "it is written without quotes"
        raise CheckError(message, span=expression.span, hint=hint)


def _check_adapter(function: Function, expression: Expression, value: Value, source: str) -> None:
    if value.type == "adapters":
        inside = snippet(source, expression)
        forms = [f"{collect}({inside})" for collect in ("mean", "sum")]
        if len(function.parameters) == 1:
            forms = [f"{function.name}({form})" for form in forms]
        raise CheckError(
            f"{function.name} takes one adapter, and this is a set of adapters",
            span=expression.span,
            hint=f"write {' or '.join(forms)}",
        )
    if value.type == "scalar":
        raise CheckError(
            f"{function.name} takes an adapter, and this is a number",
            span=expression.span,
            hint=f"it is written {function.signature}",
        )


def _integer(parameter: FunctionParameter | None, expression: Expression, value: Value) -> Fraction:
    within = (parameter.range if parameter else None) or _NATURAL
    whole = value.type == "scalar" and value.scalar.denominator == 1
    if whole and within.holds(value.scalar):
        return value.scalar
    got = fraction_text(value.scalar) if value.type == "scalar" else IN_WORDS[value.type]
    name = quoted(parameter.name if parameter else "")
    message = f"{name} takes a whole number {within.words}, and this is {got}"
    raise CheckError(message, span=expression.span)


def _check_pattern(name: str, expression: Expression) -> None:
    """Refuse what is not a regular expression in quotes."""
    if not isinstance(expression, Text):
        hint = f'write {name}="{expression.name}"' if isinstance(expression, Name) else None
        message = f"{quoted(name)} takes a regular expression in quotes"
        raise CheckError(message, span=expression.span, hint=hint)
    if len(expression.value) > _LONGEST_PATTERN:
        message = f"a regular expression of more than {_LONGEST_PATTERN} characters"
        raise CheckError(message, span=expression.span)
    if expression.value.count("(") > _MOST_GROUPS:
        message = f"a regular expression with more than {_MOST_GROUPS} groups"
        raise CheckError(message, span=expression.span)
    try:
        compiled(expression.value)
    except LimitError as error:
        raise LimitError(error.message, span=expression.span, hint=error.hint) from error
    except re.error as error:
        message = f"not a regular expression: {error.msg}"
        raise CheckError(message, span=_inside(expression, error.pos or 0)) from error


def _inside(expression: Text, position: int) -> Span:
    """Return the place of a character of a text's value; escapes take two characters."""
    before = expression.value[:position]
    start = expression.span.start + 1 + position + before.count("\\") + before.count('"')
    start = min(start, expression.span.end - 1)
    return Span(start, start + 1)

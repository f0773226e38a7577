"""The checks of what stands in a selector's square brackets."""

from ..errors import CheckError, did_you_mean, quoted
from ..functions import FUNCTION_BY_NAME, FUNCTIONS, Function, FunctionParameter
from ..syntax import (
    Call,
    Expression,
    LanguageExpression,
    LanguageSet,
    Name,
    Number,
    Parameter,
    Selector,
    Tag,
    Text,
)
from .arguments import bind_arguments
from .parameters import Parameters


def is_single(selector: Selector) -> bool:
    """Return whether a selector means one adapter: its languages are one tag or parameter."""
    return isinstance(selector.languages, (Tag, Parameter))


def check_languages(languages: LanguageExpression, parameters: Parameters) -> None:
    """Check the languages of a selector.

    Raises:
        CheckError: an unknown function, or arguments that it does not take.
        LanguageError: a parameter whose value is no language code.
    """
    match languages:
        case Parameter():
            parameters.language(languages.name, languages.span)
        case LanguageSet():
            for operand in languages.operands:
                check_languages(operand, parameters)
        case Call():
            _check_call(languages, parameters)
        case _:
            pass


def _check_call(call: Call, parameters: Parameters) -> None:
    function = FUNCTION_BY_NAME.get(call.function)
    name = quoted(call.function)
    if function is None:
        known = [one.name for one in FUNCTIONS if one.result == "languages"]
        raise CheckError(
            f"unknown language function {name}",
            span=call.span,
            hint=did_you_mean(call.function, known) or f"there are {', '.join(known)}",
        )
    if function.result != "languages":
        raise CheckError(
            f"{name} is a function of adapters: it cannot stand in square brackets",
            span=call.span,
            hint=f"write it around the selector: {call.function}(task[...])",
        )
    for parameter_name, values in bind_arguments(call, function).items():
        parameter = function.parameter(parameter_name)
        if parameter is not None:
            _check_argument(function, parameter, values[0], parameters)


def _check_argument(
    function: Function, parameter: FunctionParameter, value: Expression, parameters: Parameters
) -> None:
    choices = ", ".join(parameter.choices)
    what = {
        "language": "a language",
        "scalar": "a number",
        "integer": "a whole number from 1 on",
        "word": f"one of {choices}" if len(parameter.choices) > 1 else f"only {choices}",
        "head": "task, lm, any or a task of the catalogue",
    }[parameter.type]
    hint = f"it is written {function.signature}"
    match parameter.type, value:
        case "language", Tag():
            return
        case "language", Parameter():
            parameters.language(value.name, value.span)
            return
        case "language", _:
            hint = "a language is written without quotes: yo, pt-BR or $T"
        case "scalar", Number():
            return
        case "integer", Number() if value.value.denominator == 1 and value.value >= 1:
            return
        case "head", Name():
            return
        case "word", Name():
            if value.name in parameter.choices:
                return
            hint = did_you_mean(value.name, parameter.choices) or hint
        case "word", Text():
            hint = "it is written without quotes"
        case _:
            pass
    raise CheckError(f"{quoted(parameter.name)} takes {what}", span=value.span, hint=hint)

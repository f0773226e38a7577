"""Which argument of a call is which parameter of its function."""

from ..errors import CheckError, Span, did_you_mean, quoted
from ..functions import Function
from ..syntax import Argument, Call, Expression


def bind_arguments(call: Call, function: Function) -> dict[str, tuple[Expression, ...]]:
    """Return the values that a call gives, by the name of the parameter.

    A variadic parameter has as many values as are given, any other has one; parameters that are
    not given are absent.

    Raises:
        CheckError: an argument too many, missing, given twice or under an unknown name.
    """
    bound: dict[str, tuple[Expression, ...]] = {}
    for position, argument in enumerate(call.arguments):
        name = _parameter_name(position, argument, call, function)
        parameter = function.parameter(name)
        if name in bound and not (parameter and parameter.variadic):
            raise _error(f"{quoted(name)} is given twice", argument.span, function)
        bound[name] = (*bound.get(name, ()), argument.value)
    for parameter in function.parameters:
        if parameter.required and parameter.name not in bound:
            if parameter.variadic:
                raise _error(f"{function.name} is given nothing", call.span, function)
            message = f"{function.name} lacks its argument {quoted(parameter.name)}"
            raise _error(message, call.span, function)
    if function.one_of and not any(name in bound for name in function.one_of):
        wanted = " nor ".join(quoted(name) for name in function.one_of)
        raise _error(f"{function.name} is given neither {wanted}", call.span, function)
    given = [name for name in function.at_most_one if name in bound]
    if len(given) > 1:
        shown = " and ".join(map(quoted, given))
        message = f"{function.name} is given both {shown}: one of them decides"
        raise _error(message, call.span, function)
    return bound


def _parameter_name(position: int, argument: Argument, call: Call, function: Function) -> str:
    if argument.name is None:
        if position and call.arguments[position - 1].name is not None:
            message = "an argument without a name cannot follow one with a name"
            raise _error(message, argument.span, function)
        parameter = function.parameter(position)
        if parameter is None:
            count = len(function.parameters)
            message = f"{function.name} takes at most {count} argument{'s' if count > 1 else ''}"
            raise _error(message, argument.span, function)
        return parameter.name
    parameter = function.parameter(argument.name)
    span = Span(argument.span.start, argument.span.start + len(argument.name))
    if parameter is None:
        names = [one.name for one in function.parameters if not one.variadic]
        message = f"{function.name} has no argument {quoted(argument.name)}"
        hint = did_you_mean(argument.name, names)
        raise CheckError(message, span=span, hint=hint or f"it is written {function.signature}")
    if parameter.variadic:
        raise _error(f"{function.name} takes its arguments without names", span, function)
    return parameter.name


def _error(message: str, span: Span, function: Function) -> CheckError:
    return CheckError(message, span=span, hint=f"it is written {function.signature}")

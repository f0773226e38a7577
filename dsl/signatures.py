"""What a function of the language takes and gives, as data."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from .number import fraction_text

ParameterType: TypeAlias = Literal[
    "adapter", "items", "set", "scalar", "integer", "language", "head", "word", "text"
]
ResultType: TypeAlias = Literal["adapter", "languages"]
Domain: TypeAlias = Literal["values", "updates"]


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a parameter takes; an end that is open is none of them."""

    low: Fraction
    high: Fraction | None = None
    low_is_open: bool = False

    def holds(self, value: Fraction) -> bool:
        """Return whether a number is in the range."""
        above = value > self.low or (value == self.low and not self.low_is_open)
        return above and (self.high is None or value <= self.high)

    @property
    def words(self) -> str:
        """The range for messages: `above 0 and at most 1`, `from 1 on`."""
        low = fraction_text(self.low)
        if self.high is None:
            return f"above {low}" if self.low_is_open else f"from {low} on"
        high = fraction_text(self.high)
        return f"above {low} and at most {high}" if self.low_is_open else f"from {low} to {high}"


@dataclass(frozen=True, slots=True)
class FunctionParameter:
    """A parameter of a function.

    Attributes:
        name: how it is given by name.
        type: what it takes; "items" is any number of adapters and sets of adapters, "set" one
            set of adapters, "head" what stands before a selector's bracket, "word" one of
            `choices`.
        required: whether a call must give it.
        default: what it is when a call does not give it, as text; None where there is none.
        variadic: whether it takes all positional arguments that are left.
        choices: the words that a parameter of type "word" takes.
        range: the numbers that a parameter of type "scalar" or "integer" takes.
    """

    name: str
    type: ParameterType
    required: bool = True
    default: str | None = None
    variadic: bool = False
    choices: tuple[str, ...] = ()
    range: Range | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language.

    Attributes:
        name: how it is called.
        parameters: in the order in which they are given.
        result: "adapter", or "languages" for a function that stands in square brackets.
        formula: what it computes.
        citation: where it comes from.
        summary: one sentence for people.
        one_of: names of parameters of which a call must give at least one.
        at_most_one: names of parameters of which a call may give only one.
        works_on: None for a linear function. "values": under `elementwise` it works on each tensor
            of the adapters, under `exact` on the true update of each module. "updates": it always
            works on true updates.
        elementwise, exact: what a function of "values" does under these.
        is_symmetric: whether the order of its adapters means nothing.
        fewest: adapters that it must be given, sets counted by their members.
    """

    name: str
    parameters: tuple[FunctionParameter, ...]
    result: ResultType
    formula: str
    citation: str
    summary: str
    one_of: tuple[str, ...] = ()
    at_most_one: tuple[str, ...] = ()
    works_on: Domain | None = None
    elementwise: str = ""
    exact: str = ""
    is_symmetric: bool = False
    fewest: int = 1

    def parameter(self, key: int | str) -> FunctionParameter | None:
        """Return the parameter of a name, or that of the positional argument number `key`."""
        if isinstance(key, str):
            return next((one for one in self.parameters if one.name == key), None)
        if self.parameters and self.parameters[0].variadic:
            return self.parameters[0]
        return self.parameters[key] if key < len(self.parameters) else None

    @property
    def signature(self) -> str:
        """How the function is called, in one line.

        >>> parameters = FunctionParameter("x", "adapter"), FunctionParameter("by", "word")
        >>> Function("near", parameters, "adapter", "", "", "").signature
        'near(x, by=...)'
        """
        return f"{self.name}({', '.join(_parameter_text(one) for one in self.parameters)})"


def _parameter_text(parameter: FunctionParameter) -> str:
    if parameter.variadic:
        return f"{parameter.name}, ..."
    if parameter.default is not None:
        return f"{parameter.name}={parameter.default}"
    if parameter.type in ("text", "word") or parameter.range or not parameter.required:
        return f"{parameter.name}=..."
    return parameter.name

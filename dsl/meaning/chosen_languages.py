"""The languages that stand in a selector's brackets, answered for the languages that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from ..checks.arguments import bind_arguments
from ..errors import CheckError, DslError
from ..functions import FUNCTION_BY_NAME
from ..syntax import (
    AllLanguages,
    Call,
    Expression,
    LanguageExpression,
    LanguageSet,
    Name,
    Number,
    Parameter,
    Tag,
)

if TYPE_CHECKING:
    from ..relatedness import Selection


@dataclass(slots=True)
class Bracket:
    """One selector's brackets.

    Attributes:
        available: languages for which the selector has an adapter, sorted.
        parameters: normal tag of each language parameter.
        distances: where distances come from; None for URIEL.
        has: the languages for which another head has an adapter.
        selections: evidence of the language functions answered so far.
    """

    available: tuple[str, ...]
    parameters: Mapping[str, str]
    distances: str | None
    has: Callable[[str], set[str]]
    selections: list[Selection] = field(default_factory=list)

    def languages(self, expression: LanguageExpression) -> set[str]:
        """The languages that an expression comes to.

        Raises:
            NotFoundError: a language function that chooses none.
            UnsupportedError: there are no distances for its language.
        """
        match expression:
            case Tag(normal=normal):
                return {normal}
            case Parameter(name=name):
                return {self.parameters[name]}
            case AllLanguages():
                return set(self.available)
            case LanguageSet(operator=operator, operands=operands):
                first, *rest = (self.languages(operand) for operand in operands)
                for other in rest:
                    first = _joined(operator, first, other)
                return first
            case Call():
                return self._chosen(expression)
        raise CheckError("this is no set of languages", span=expression.span)

    def _chosen(self, call: Call) -> set[str]:
        # Distances are a table of some weight: only programs that ask for them load it.
        from .. import relatedness

        bound = bind_arguments(call, FUNCTION_BY_NAME[call.function])
        given = {name: self._argument(values[0]) for name, values in bound.items()}
        candidates = set(self.available)
        also = given.pop("also", None)
        if also is not None:
            candidates &= self.has(str(also))
        target = str(given.pop("T"))
        source = relatedness.backend(self.distances or "uriel")
        choose = {
            "related": relatedness.related,
            "nearest": relatedness.nearest,
            "family": relatedness.family,
        }[call.function]
        try:
            selection: Selection = choose(target, sorted(candidates), source=source, **given)  # type: ignore[operator]
        except DslError as error:
            error.span = error.span or call.span
            raise
        self.selections.append(selection)
        return set(selection.languages)

    def _argument(self, expression: Expression | LanguageExpression) -> str | int | Fraction:
        match expression:
            case Tag(normal=normal):
                return normal
            case Parameter(name=name):
                return self.parameters[name]
            case Number(value=value):
                return int(value) if value.denominator == 1 else value
            case Name(name=name):
                return name
        raise CheckError("this is no argument of a language function", span=expression.span)


def _joined(operator: str, one: set[str], other: set[str]) -> set[str]:
    if operator == "|":
        return one | other
    return one & other if operator == "&" else one - other

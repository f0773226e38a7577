"""Recipes: named expressions with parameters, the paper's among them.

A recipe is called like a function, `add(en, yo, 0.6)`, and means its expression with the
parameters put in. What a parameter takes is read off the expression: `$T` is a language, a bare
name that is not bound is a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from ..errors import CheckError, did_you_mean, quoted
from ..functions import FUNCTION_BY_NAME, Function, FunctionParameter
from ..syntax import (
    Argument,
    Call,
    Expression,
    LanguageExpression,
    LanguageSet,
    Name,
    Negative,
    Parameter,
    Product,
    Program,
    Selector,
    Sum,
)
from ..text.parse import parse

RecipeParameterType: TypeAlias = Literal["language", "scalar"]
DEEPEST_RECIPES = 16
"""How deeply recipes may call recipes."""


@dataclass(frozen=True, slots=True)
class RecipeParameter:
    """A parameter of a recipe; `default` is text as `--set` takes it, None where it is required."""

    name: str
    type: RecipeParameterType
    default: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A named expression.

    Attributes:
        name: how it is called.
        parameters: in the order in which a call gives them.
        text: the program that it means.
        summary: one sentence for people.
        citation: where it comes from.
        version: its number in the catalogue; None for a built-in one.
    """

    name: str
    parameters: tuple[RecipeParameter, ...]
    text: str
    summary: str = ""
    citation: str = ""
    version: int | None = None

    @cached_property
    def program(self) -> Program:
        """The parsed text."""
        return parse(self.text)

    @cached_property
    def function(self) -> Function:
        """The recipe as a function, for checks and help."""
        return Function(
            name=self.name,
            parameters=tuple(
                FunctionParameter(one.name, one.type, one.default is None, one.default)
                for one in self.parameters
            ),
            result="adapter",
            formula=self.text,
            citation=self.citation,
            summary=self.summary,
        )

    @property
    def label(self) -> str:
        """The recipe as people write it: `add`, or `mine@v2`."""
        return self.name if self.version is None else f"{self.name}@v{self.version}"


def make_recipe(
    name: str, text: str, given: Sequence[tuple[str, str | None]] = (), summary: str = ""
) -> Recipe:
    """A recipe of a person's own.

    Args:
        name: a word of the language that is not taken.
        text: its program.
        given: parameters in the wanted order, with their defaults; those that are left out follow
            in the order of the text.
        summary: one sentence for people.

    Raises:
        ParseError: the text is no program. CheckError: a name that is taken, or a parameter that
            the program does not have.
    """
    if name in FUNCTION_BY_NAME or name in ("task", "lm", "any"):
        raise CheckError(f"{quoted(name)} is a word of the language", hint="choose another name")
    if any(recipe.name == name for recipe in BUILT_IN):
        raise CheckError(f"{quoted(name)} is a built-in recipe", hint="choose another name")
    if not name.isidentifier() or not name.isascii():
        raise CheckError(
            f"{quoted(name)} cannot name a recipe",
            hint="use letters, digits and '_', beginning with a letter",
        )
    types = parameter_types(parse(text))
    order = [parameter for parameter, _ in given]
    for parameter in order:
        if parameter not in types:
            raise CheckError(
                f"{quoted(parameter)} is no parameter of the program",
                hint=did_you_mean(parameter, types)
                or f"its parameters are {', '.join(types) or 'none'}",
            )
    if len(set(order)) < len(order):
        raise CheckError("a parameter is given twice")
    defaults = dict(given)
    order += [parameter for parameter in types if parameter not in defaults]
    parameters = tuple(
        RecipeParameter(parameter, types[parameter], defaults.get(parameter)) for parameter in order
    )
    optional = False
    for one in parameters:
        if optional and one.default is None:
            raise CheckError(
                f"{quoted(one.name)} has no default, but one before it has",
                hint="list the parameters in another order",
            )
        optional = one.default is not None
    return Recipe(name, parameters, text, summary)


def parameter_types(program: Program) -> dict[str, RecipeParameterType]:
    """What each parameter of a program takes, in the order of the text.

    >>> parameter_types(parse("l*task[$S] + (1-l)*lm[$T]"))
    {'l': 'scalar', 'S': 'language', 'T': 'language'}
    """
    types: dict[str, RecipeParameterType] = {}
    bound: set[str] = set()
    for binding in program.bindings:
        for name, kind in _free(binding.expression):
            if name not in bound:
                types.setdefault(name, kind)
        bound.add(binding.name)
    for name, kind in _free(program.expression):
        if name not in bound:
            types.setdefault(name, kind)
    return types


def _free(expression: Expression | LanguageExpression) -> Iterator[tuple[str, RecipeParameterType]]:
    """The names that an expression uses, with what they would take as parameters."""
    if isinstance(expression, Name):
        yield expression.name, "scalar"
    elif isinstance(expression, Parameter):
        yield expression.name, "language"
    for part in _parts(expression):
        yield from _free(part)


def _parts(expression: Expression | LanguageExpression) -> list[Expression | LanguageExpression]:
    """What an expression is made of, without words that are no names."""
    match expression:
        case Selector(languages=languages):
            return [languages]
        case LanguageSet(operands=operands):
            return list(operands)
        case Negative(operand=operand):
            return [operand]
        case Sum(terms=terms):
            return [term.expression for term in terms]
        case Product(factors=factors):
            return [factor.expression for factor in factors]
        case Call(function=function, arguments=arguments):
            return [
                argument.value
                for position, argument in enumerate(arguments)
                if not _takes_a_word(function, position, argument)
            ]
    return []


def _takes_a_word(function: str, position: int, argument: Argument) -> bool:
    """Whether a bare name in this place is a word or a language, not a parameter."""
    known: Function | None = FUNCTION_BY_NAME.get(function)
    if known is None:
        built_in = next((recipe for recipe in BUILT_IN if recipe.name == function), None)
        known = built_in.function if built_in else None
    parameter = known.parameter(argument.name or position) if known else None
    return (
        parameter is not None
        and parameter.type in ("word", "language")
        and isinstance(argument.value, Name)
    )


_PAPER = "Chronopoulou et al. 2023, arXiv:2311.09344, equation {}"
_SOURCE = RecipeParameter("S", "language")
_TARGET = RecipeParameter("T", "language")
_WEIGHT = RecipeParameter("l", "scalar")

BUILT_IN: tuple[Recipe, ...] = (
    Recipe(
        "add",
        (_SOURCE, _TARGET, _WEIGHT),
        "l*task[$S] + (1-l)*lm[$T]",
        "The task in S and the language T, l and 1-l parts.",
        _PAPER.format(1),
    ),
    Recipe(
        "add_subtract",
        (_SOURCE, _TARGET, _WEIGHT),
        "l*task[$S] + (1-l)*(lm[$T] - lm[$S])",
        "As add, with the language S taken away.",
        _PAPER.format(2),
    ),
    Recipe(
        "add_all",
        (_TARGET,),
        "mean(task[* - $T])",
        "The average of all task vectors but T's own.",
        _PAPER.format(3),
    ),
    Recipe(
        "add_related",
        (_TARGET,),
        "mean(task[related($T)])",
        "The average of the task vectors of languages related to T.",
        _PAPER.format(3),
    ),
    Recipe(
        "add_subtract_related",
        (_TARGET, _WEIGHT),
        "l*mean(task[related($T, also=lm)]) + (1-l)*(lm[$T] - mean(lm[related($T, also=task)]))",
        "As add_subtract, with the averages over one set of related languages, those that have"
        " both vectors.",
        _PAPER.format(4),
    ),
    Recipe(
        "steer",
        (_SOURCE, _TARGET, RecipeParameter("m", "scalar")),
        "exact(task[$S] + m*(lm[$T] - lm[$S]))",
        "The undiminished task vector, steered by m times the difference of the languages, on the"
        " true updates.",
        "isogloss",
    ),
)
"""The paper's recipes, and one of our own."""

BUILT_IN_BY_NAME: Mapping[str, Recipe] = {recipe.name: recipe for recipe in BUILT_IN}

"""What a program may mean, before any adapter is looked for: types, names, parameters, numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

from ..errors import CheckError, DslError, Span, did_you_mean, quoted
from ..functions import FUNCTION_BY_NAME, FUNCTIONS, Function
from ..number import bounded, fraction_text
from ..syntax import (
    Binding,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Parameter,
    Product,
    ProductFactor,
    Program,
    Selector,
    Sum,
    SumTerm,
    Text,
)
from .brackets import check_languages, is_single
from .calls import check_arguments
from .parameters import Parameters
from .values import IN_WORDS, Value, ValueType, factor_snippet, snippet

_HEADS = ("task", "lm", "any")
_ADAPTER_FUNCTIONS = tuple(one.name for one in FUNCTIONS if one.result == "adapter")


@dataclass(frozen=True, slots=True)
class Checked:
    """A program that makes sense, with the values of its parameters.

    Attributes:
        program: the program.
        scalars: the exact value of each scalar parameter.
        languages: the normal form of each language parameter.
        types: what each binding is: "scalar", "adapter" or "adapters" (a set).
    """

    program: Program
    scalars: Mapping[str, Fraction]
    languages: Mapping[str, str]
    types: Mapping[str, ValueType]


_ADAPTER = Value("adapter")
_ADAPTERS = Value("adapters")


def check(
    program: Program,
    parameters: Mapping[str, str] = MappingProxyType({}),
    recipes: Mapping[str, Function] = MappingProxyType({}),
) -> Checked:
    """Check types, names, arguments and parameters of a program.

    Args:
        program: a parsed program.
        parameters: the text given for each parameter, by its name without `$`.
        recipes: what may be called besides the functions of the language.

    Raises:
        CheckError: the program cannot mean an adapter; with the place and what would be right.
        LanguageError: the text given for a language parameter is no language code.
        LimitError: an exact number has too many digits.
    """
    checker = _Checker(program, Parameters(parameters), recipes)
    try:
        for binding in program.bindings:
            checker.bind(binding)
        result = checker.value(program.expression)
        checker.check_result(result)
        checker.parameters.check_unused([one.name for one in program.bindings])
    except DslError as error:
        raise error.located(program.source) from error.__cause__
    return Checked(
        program,
        MappingProxyType(checker.parameters.scalars),
        MappingProxyType(checker.parameters.languages),
        MappingProxyType({name: value.type for name, value in checker.bound.items()}),
    )


@dataclass(slots=True)
class _Checker:
    """One walk through one program; the limits of parsing bound how deep it goes."""

    program: Program
    parameters: Parameters
    recipes: Mapping[str, Function]
    bound: dict[str, Value] = field(default_factory=dict)

    def bind(self, binding: Binding) -> None:
        name = binding.name
        span = Span(binding.span.start, binding.span.start + len(name))
        if name in FUNCTION_BY_NAME or name in _HEADS or name in self.recipes:
            message = f"{quoted(name)} is a word of the language: it cannot be defined"
            raise CheckError(message, span=span, hint="choose another name")
        if name in self.bound:
            message = f"{quoted(name)} is already defined"
            raise CheckError(message, span=span, hint="choose another name")
        self.bound[name] = self.value(binding.expression)

    def check_result(self, result: Value) -> None:
        expression = self.program.expression
        if result.type == "scalar":
            raise CheckError(
                f"the program gives a number, {fraction_text(result.scalar)}, and not an adapter",
                span=expression.span,
                hint="a number scales adapters: 0.5*task[en]",
            )
        if result.type == "adapters":
            raise CheckError(
                "the program gives a set of adapters, and not one adapter",
                span=expression.span,
                hint=self._collected(expression),
            )

    def value(self, expression: Expression) -> Value:
        match expression:
            case Number():
                return Value("scalar", expression.value)
            case Name():
                return self._name(expression)
            case Text():
                return self._reference(expression)
            case Selector():
                return self._selector(expression)
            case Negative():
                operand = self.value(expression.operand)
                return Value(operand.type, -operand.scalar)
            case Sum():
                return self._sum(expression)
            case Product():
                return self._product(expression)
            case Call():
                return self._call(expression)
            case Parameter():
                raise CheckError(
                    f"${expression.name} is a language: it stands in square brackets",
                    span=expression.span,
                    hint=f"an adapter is written task[${expression.name}], "
                    f"a number as a bare name: {expression.name}",
                )
            case _:
                raise CheckError("a language stands in square brackets", span=expression.span)

    def _name(self, expression: Name) -> Value:
        name, span = expression.name, expression.span
        if name in self.bound:
            return self.bound[name]
        if any(binding.name == name for binding in self.program.bindings):
            message = f"{quoted(name)} is used before it is defined"
            raise CheckError(message, span=span, hint="move its definition up")
        if name in FUNCTION_BY_NAME:
            hint = f"it is written {FUNCTION_BY_NAME[name].signature}"
            raise CheckError(f"{quoted(name)} is a function", span=span, hint=hint)
        if name in self.parameters.given:
            return Value("scalar", self.parameters.scalar(name, span))
        if name in _HEADS:
            hint = f"it selects by language: {name}[en], {name}[*]"
            raise CheckError(f"{quoted(name)} lacks its languages", span=span, hint=hint)
        meant = did_you_mean(name, self.bound) if len(name) > 2 else None
        hint = meant or f"give it with --set {name}=..., or define it: {name} = ...;"
        raise CheckError(f"unknown name {quoted(name)}", span=span, hint=hint)

    def _reference(self, expression: Text) -> Value:
        if not expression.value.strip():
            hint = 'an adapter is named like this: "owner/name@v3"'
            raise CheckError("a reference to nothing", span=expression.span, hint=hint)
        return _ADAPTER

    def _selector(self, expression: Selector) -> Value:
        head = expression.head
        if head in FUNCTION_BY_NAME:
            span = Span(expression.span.start, expression.span.start + len(head))
            hint = f"it is written with parentheses: {FUNCTION_BY_NAME[head].signature}"
            raise CheckError(f"{quoted(head)} is a function", span=span, hint=hint)
        if head in self.bound:
            span = Span(expression.span.start, expression.span.start + len(head))
            message = f"{quoted(head)} is defined in the program: it takes no languages"
            raise CheckError(message, span=span, hint=f"write {head} alone, or task[...]")
        check_languages(expression.languages, self.parameters)
        if is_single(expression):
            return _ADAPTER
        if expression.pin is not None and expression.pin.kind == "digest":
            raise CheckError(
                "a digest is that of one adapter, and these languages make a set of them",
                span=expression.pin.span,
                hint="name one language, or leave the pin out",
            )
        return _ADAPTERS

    def _sum(self, expression: Sum) -> Value:
        first = self.value(expression.terms[0].expression)
        if first.type == "adapters":
            raise self._set_in_sum(expression.terms[0])
        total = first.scalar
        for term in expression.terms[1:]:
            value = self.value(term.expression)
            if value.type == "adapters":
                raise self._set_in_sum(term)
            if value.type != first.type:
                raise self._mixed_sum(expression, term, value)
            if value.type == "scalar":
                total = bounded(
                    total - value.scalar if term.negative else total + value.scalar, term.span
                )
        return Value(first.type, total)

    def _set_in_sum(self, term: SumTerm) -> CheckError:
        return CheckError(
            "a set of adapters cannot be added to anything or taken from it",
            span=term.expression.span,
            hint=self._collected(term.expression),
        )

    def _mixed_sum(self, expression: Sum, term: SumTerm, value: Value) -> CheckError:
        first = expression.terms[0].expression
        added = "taken from" if term.negative else "added to"
        if value.type == "scalar":
            number, adapter = term.expression, first
            message = f"a number cannot be {added} an adapter"
        else:
            number, adapter = first, term.expression
            message = f"an adapter cannot be {added} a number"
        source = self.program.source
        scaled = f"{factor_snippet(source, number)}*{factor_snippet(source, adapter)}"
        return CheckError(message, span=term.expression.span, hint=f"did you mean {scaled}?")

    def _product(self, expression: Product) -> Value:
        product: Value | None = None
        for factor in expression.factors:
            value = self.value(factor.expression)
            if factor.divide:
                value = self._inverse(factor, value)
            if product is None:
                product = value
            elif product.type != "scalar" and value.type != "scalar":
                raise CheckError(
                    f"{IN_WORDS[value.type]} cannot be multiplied by {IN_WORDS[product.type]}",
                    span=factor.expression.span,
                    hint="numbers scale adapters: 0.5*task[en]; adapters add up: task[en] + lm[pt]",
                )
            elif product.type == value.type:
                product = Value("scalar", bounded(product.scalar * value.scalar, factor.span))
            else:
                product = product if product.type != "scalar" else value
        return product or _ADAPTER

    def _inverse(self, factor: ProductFactor, value: Value) -> Value:
        if value.type != "scalar":
            raise CheckError(
                f"nothing can be divided by {IN_WORDS[value.type]}",
                span=factor.expression.span,
                hint="only numbers divide: task[en]/2",
            )
        if value.scalar == 0:
            literal = isinstance(factor.expression, Number)
            hint = (
                None if literal else f"{snippet(self.program.source, factor.expression)} comes to 0"
            )
            raise CheckError("division by zero", span=factor.expression.span, hint=hint)
        return Value("scalar", 1 / value.scalar)

    def _call(self, call: Call) -> Value:
        function = FUNCTION_BY_NAME.get(call.function) or self.recipes.get(call.function)
        if function is None:
            raise self._unknown_function(call)
        check_arguments(call, function, self.program.source, self.parameters, self.value)
        return _ADAPTER

    def _unknown_function(self, call: Call) -> CheckError:
        name = call.function
        span = Span(call.span.start, call.span.start + len(name))
        inside = self.program.source[span.end : call.span.end]
        known = (*_ADAPTER_FUNCTIONS, *self.recipes)
        hint = did_you_mean(name, known)
        if name in _HEADS:
            hint = "a selector has square brackets: task[en]"
        elif name in self.bound or name in self.parameters.given:
            hint = f"did you mean {name}*{inside if len(inside) <= 40 else '(...)'}?"
        hint = hint or f"there are {', '.join(known)}"
        return CheckError(f"unknown function {quoted(name)}", span=span, hint=hint)

    def _collected(self, expression: Expression) -> str:
        inside = snippet(self.program.source, expression)
        return f"write mean({inside}) or sum({inside})"

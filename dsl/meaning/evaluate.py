"""From a checked program to one collected sum, with the evidence of what each selector chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from ..checks.arguments import bind_arguments
from ..checks.brackets import is_single
from ..checks.calls import language_argument
from ..checks.check import Checked, check
from ..checks.parameters import Parameters
from ..errors import CheckError, DslError, LimitError
from ..functions import FUNCTION_BY_NAME, Function
from ..syntax import (
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Product,
    Selector,
    Sum,
    Text,
)
from .catalogue import Candidate, Catalogue, Choice, Context, Distances
from .forms import AdapterSet, Value, added, derived, scaled, with_semantics
from .linear import LinearForm, collect
from .plan import AdapterKey, ModuleFilter, Option, Plan
from .recipes import BUILT_IN_BY_NAME, DEEPEST_RECIPES, Recipe
from .resolve import Chooser
from .semantics import DEFAULT_SEMANTICS, SEMANTICS, function_name


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A program's meaning in one catalogue at one moment.

    Attributes:
        plan: the canonical sum.
        choices: what each selector and reference chose, in the order of the program.
        distances: every use of distances between languages.
        adapters: the chosen version behind each key of the plan.
    """

    plan: Plan
    choices: tuple[Choice, ...]
    distances: tuple[Distances, ...]
    adapters: dict[AdapterKey, Candidate]


def evaluate(
    checked: Checked,
    catalogue: Catalogue,
    context: Context | None = None,
    semantics: str | None = None,
    recipes: Mapping[str, Recipe] = BUILT_IN_BY_NAME,
) -> Evaluation:
    """Resolve every selector and collect the program into its canonical form.

    Args:
        checked: a program that passed its checks.
        catalogue: where selectors and references look.
        context: what selectors mean when they do not say it themselves.
        semantics: wraps the whole program in the function of that name.
        recipes: what may be called besides the functions of the language.

    Raises:
        NotFoundError, AmbiguousError: a selector or reference that is not exactly one adapter.
        CheckError: everything cancels out, or two semantics meet.
        LimitError: a coefficient that float32 cannot hold.
    """
    if semantics is not None and semantics not in SEMANTICS:
        raise CheckError(
            f"there are no semantics called '{semantics}'", hint=f"known: {', '.join(SEMANTICS)}"
        )
    program = checked.program
    chooser = Chooser(catalogue, program.source, checked.languages, context or Context())
    walk = _Walk(checked, chooser, recipes)
    try:
        form = walk.program()
        if semantics and form.semantics and semantics != form.semantics:
            raise CheckError(
                f"the program says {function_name(form.semantics)}(...), "
                f"but {semantics} semantics are asked for",
                span=program.expression.span,
                hint="leave one of the two out",
            )
        plan = collect(form, semantics or form.semantics or DEFAULT_SEMANTICS)
    except DslError as error:
        error.span = error.span or program.expression.span
        raise error.located(program.source) from error.__cause__
    chosen = {_key(item): item for choice in walk.choices for item in choice.adapters}
    adapters = {key: chosen[key] for key in plan.adapters}
    return Evaluation(plan, tuple(walk.choices), walk.all_distances(), adapters)


def _key(candidate: Candidate) -> AdapterKey:
    return AdapterKey(candidate.digest, candidate.config_digest)


@dataclass(slots=True)
class _Walk:
    """One evaluation of one program; nesting is bounded by the parser's limits."""

    checked: Checked
    chooser: Chooser
    recipes: Mapping[str, Recipe]
    depth: int = 0
    bound: dict[str, Value] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    known: dict[Selector | str, Choice] = field(default_factory=dict)
    weighings: list[Distances] = field(default_factory=list)

    def program(self) -> LinearForm:
        for binding in self.checked.program.bindings:
            self.bound[binding.name] = self.value(binding.expression)
        return self.adapter(self.checked.program.expression)

    def all_distances(self) -> tuple[Distances, ...]:
        """Every use of distances: of the choices, then of the weights; each once."""
        selections = [
            Distances(one.rule, one.backend, one.version, tuple(sorted(one.languages)))
            for choice in self.choices
            for one in choice.selections
        ]
        return tuple(dict.fromkeys((*selections, *self.weighings)))

    def value(self, expression: Expression) -> Value:
        match expression:
            case Number(value=value):
                return value
            case Name(name=name):
                return self.bound[name] if name in self.bound else self.checked.scalars[name]
            case Text() | Selector():
                return self._chosen(expression)
            case Negative(operand=operand):
                return scaled(self.value(operand), Fraction(-1), expression.span)
            case Sum():
                return self._sum(expression)
            case Product():
                return self._product(expression)
            case Call():
                return self._call(expression)
        raise CheckError("a language cannot stand here", span=expression.span)

    def adapter(self, expression: Expression) -> LinearForm:
        value = self.value(expression)
        if not isinstance(value, LinearForm):
            raise CheckError("an adapter is expected here", span=expression.span)
        return value

    def scalar(self, expression: Expression) -> Fraction:
        value = self.value(expression)
        if not isinstance(value, Fraction):
            raise CheckError("a number is expected here", span=expression.span)
        return value

    def _chosen(self, expression: Text | Selector) -> Value:
        memory = expression.value if isinstance(expression, Text) else expression
        choice = self.known.get(memory)
        if choice is None:
            if isinstance(expression, Text):
                choice = self.chooser.refer(expression.value, expression.span)
            else:
                choice = self.chooser.choose(expression)
            self.known[memory] = choice
            self.choices.append(choice)
        forms = tuple(LinearForm.of(_key(adapter)) for adapter in choice.adapters)
        if isinstance(expression, Text) or is_single(expression):
            return forms[0]
        return AdapterSet(forms, tuple(adapter.languages[0] for adapter in choice.adapters))

    def _sum(self, expression: Sum) -> Value:
        first = self.value(expression.terms[0].expression)
        if isinstance(first, Fraction):
            total = first
            for term in expression.terms[1:]:
                total += self.scalar(term.expression) * (-1 if term.negative else 1)
            return total
        terms = [
            (self.adapter(term.expression), Fraction(-1 if term.negative else 1), term.span)
            for term in expression.terms
        ]
        return added(terms, "... + ...")

    def _product(self, expression: Product) -> Value:
        scalar, operand = Fraction(1), None
        for factor in expression.factors:
            value = self.value(factor.expression)
            if not isinstance(value, Fraction):
                operand = value
            elif not factor.divide:
                scalar *= value
            elif value == 0:
                raise CheckError("division by zero", span=factor.span)
            else:
                scalar /= value
        if operand is None:
            return scalar
        return scaled(operand, scalar, expression.span)

    def _call(self, expression: Call) -> Value:
        if expression.function in self.recipes:
            return self._recipe(expression, self.recipes[expression.function])
        function = FUNCTION_BY_NAME[expression.function]
        arguments = bind_arguments(expression, function)
        if function.works_on is not None:
            return self._derived(expression, function, arguments)
        if function.parameters[0].variadic:
            return self._combined(expression, arguments[function.parameters[0].name])
        if expression.function == "weighted":
            return self._weighted(expression, arguments)
        form = self.adapter(arguments["x"][0])
        match expression.function:
            case "exact" | "onesided":
                return with_semantics(form, expression.function, expression.span)
            case "peft_linear":
                return with_semantics(form, "peft-linear", expression.span)
            case "only":
                return form.filtered(ModuleFilter(modules=_text(arguments["modules"][0])))
            case "layers":
                first, last = (self._integer(arguments.get(name)) for name in ("first", "last"))
                return form.filtered(ModuleFilter(first=first, last=last))
        raise CheckError(f"'{expression.function}' cannot stand here", span=expression.span)

    def _derived(
        self, call: Call, function: Function, arguments: Mapping[str, tuple[Expression, ...]]
    ) -> LinearForm:
        forms: list[LinearForm] = []
        options: dict[str, Option] = {}
        for parameter in function.parameters:
            given = arguments.get(parameter.name, ())
            match parameter.type:
                case "adapter" | "items":
                    forms += [form for item in given for form in self._members(item)]
                case "word" if given or parameter.default is not None:
                    chosen = given[0].name if given and isinstance(given[0], Name) else None
                    options[parameter.name] = chosen or parameter.default or ""
                case "scalar" | "integer" if given:
                    options[parameter.name] = self.scalar(given[0])
                case "scalar" | "integer" if parameter.default is not None:
                    options[parameter.name] = Fraction(parameter.default)
        return derived(function, forms, options, call.span, self.checked.program.source)

    def _integer(self, given: tuple[Expression, ...] | None) -> int | None:
        return None if given is None else int(self.scalar(given[0]))

    def _combined(self, expression: Call, items: tuple[Expression, ...]) -> LinearForm:
        forms = [form for item in items for form in self._members(item)]
        factor = Fraction(1, len(forms)) if expression.function == "mean" else Fraction(1)
        terms = [(form, factor, expression.span) for form in forms]
        return added(terms, f"{expression.function}(...)")

    def _weighted(
        self, expression: Call, arguments: Mapping[str, tuple[Expression, ...]]
    ) -> LinearForm:
        from .. import relatedness

        value = self.value(arguments["x"][0])
        if not isinstance(value, AdapterSet):
            raise CheckError("a set of adapters is expected here", span=expression.span)
        given = arguments["by"][0] if "by" in arguments else None
        by = given.name if isinstance(given, Name) else "syntactic"
        to = self._language(arguments["to"][0])
        source = relatedness.backend(self.chooser.context.distances or "uriel")
        weights = relatedness.weights(to, value.languages, by, source)  # type: ignore[arg-type]
        rule = f"weighted(to={to}, by={by})"
        self.weighings.append(Distances(rule, source.name, source.version, value.languages))
        total = LinearForm({}, value.members[0].semantics)
        for language, member in zip(value.languages, value.members, strict=True):
            total.add(member, weights[language])
        return total

    def _language(self, expression: Expression) -> str:
        return language_argument(expression, Parameters(self.checked.languages))

    def _recipe(self, call: Call, recipe: Recipe) -> LinearForm:
        """A recipe's own program, with the call's arguments as its parameters."""
        if self.depth >= DEEPEST_RECIPES:
            raise LimitError(
                f"recipes call each other more than {DEEPEST_RECIPES} deep", span=call.span
            )
        given = {one.name: one.default for one in recipe.parameters if one.default is not None}
        for name, (value,) in bind_arguments(call, recipe.function).items():
            parameter = recipe.function.parameter(name)
            language = parameter is not None and parameter.type == "language"
            given[name] = self._language(value) if language else str(self.scalar(value))
        try:
            functions = {name: one.function for name, one in self.recipes.items()}
            checked = check(recipe.program, given, functions)
            chooser = replace(self.chooser, source=recipe.text, languages=checked.languages)
            inner = _Walk(checked, chooser, self.recipes, self.depth + 1)
            form = inner.program()
        except DslError as error:
            if error.source is None:
                error.span = error.span or recipe.program.expression.span
                error.located(recipe.text)
            if not error.message.startswith("in the recipe"):
                error.message = f"in the recipe {recipe.label}: {error.message}"
            raise
        self.choices += inner.choices
        self.weighings += inner.weighings
        return form

    def _members(self, expression: Expression) -> Iterator[LinearForm]:
        value = self.value(expression)
        if isinstance(value, AdapterSet):
            yield from value.members
        elif isinstance(value, LinearForm):
            yield value


def _text(expression: Expression) -> str:
    if not isinstance(expression, Text):
        raise CheckError("a text in quotes is expected here", span=expression.span)
    return expression.value

"""Properties of the language that hold for every tree and every text."""

import string
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from isogloss.dsl.checks.check import Checked, check
from isogloss.dsl.errors import DslError, Span
from isogloss.dsl.fields import FIELDS
from isogloss.dsl.languages import normalize
from isogloss.dsl.limits import Limits
from isogloss.dsl.number import decimal_text
from isogloss.dsl.syntax import (
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
    Sum,
    SumTerm,
    Tag,
    Text,
)
from isogloss.dsl.text.parse import parse
from isogloss.dsl.text.print import print_program
from isogloss.dsl.text.query import parse_query

NOWHERE = Span(0, 0)
PATIENT = settings(max_examples=150, deadline=None)
DEEP = Limits(nesting=1000)

names = st.sampled_from(
    ["a", "_", "Task", "task", "mean", "and", "x_1", "__b2", "e5", "v3", "sha256"]
)
words = st.sampled_from(["table5", "syntactic", "a-b", "x_1-2", "en", "xx", "T"])
parameters = names.map(lambda name: Parameter(name, NOWHERE))
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
tags = st.sampled_from(["en", "pt-BR", "eng", "zh-Hans-CN", "yo", "iw", "pt_br"]).map(
    lambda tag: Tag(tag, normalize(tag), NOWHERE)
)


def number(digits: str, decimals: str, exponent: int | None) -> Number:
    text = digits + (f".{decimals}" if decimals else "")
    text += "" if exponent is None else f"e{exponent}"
    return Number(Fraction(text), text, NOWHERE)


numbers = st.builds(
    number,
    st.text("0123456789", min_size=1, max_size=5),
    st.text("0123456789", max_size=5),
    st.none() | st.integers(-300, 300),
)


def argument(name: str | None, value: Expression) -> Argument:
    return Argument(name, value, NOWHERE)


def language_calls() -> st.SearchStrategy[Call]:
    languages = tags | parameters
    related = st.tuples(
        languages.map(lambda value: argument(None, value)),
        numbers.map(lambda value: argument("syntactic", value)),
        words.map(lambda word: argument("preset", Name(word, NOWHERE))),
    )
    nearest = st.tuples(
        languages.map(lambda value: argument("T", value)),
        numbers.map(lambda value: argument("k", value)),
        words.map(lambda word: argument("by", Name(word, NOWHERE))),
    )
    unknown = st.lists(
        st.builds(
            argument,
            st.none() | st.sampled_from(["a", "b"]),
            numbers
            | parameters
            | texts.map(lambda text: Text(text, NOWHERE))
            | st.sampled_from(["xx", "pt-BR", "word"]).map(lambda word: Name(word, NOWHERE)),
        ),
        max_size=3,
    ).map(tuple)
    return st.one_of(
        related.map(lambda arguments: Call("related", arguments, NOWHERE)),
        nearest.map(lambda arguments: Call("nearest", arguments, NOWHERE)),
        unknown.map(lambda arguments: Call("strange-function", arguments, NOWHERE)),
    )


languages: st.SearchStrategy[LanguageExpression] = st.recursive(
    tags | parameters | st.just(AllLanguages(NOWHERE)) | language_calls(),
    lambda inner: st.builds(
        LanguageSet,
        st.sampled_from("|&-"),
        st.lists(inner, min_size=2, max_size=4).map(tuple),
        st.just(NOWHERE),
    ),
    max_leaves=4,
)

number_filters = st.builds(
    Filter,
    st.sampled_from([name for name, kind in FIELDS.items() if kind == "number"]),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    st.builds(Fraction, st.integers(-(10**6), 10**6), st.sampled_from([1, 2, 125, 10**30])),
    st.just(NOWHERE),
)
text_filters = st.builds(
    Filter,
    st.sampled_from([name for name, kind in FIELDS.items() if kind == "text"]),
    st.sampled_from(["=", "!=", "~"]),
    texts | st.sampled_from(["google/mt5-base", "12", "-1", "not", "a-b:c+d"]),
    st.just(NOWHERE),
)
pins = st.one_of(
    st.none(),
    st.just(Pin("latest", "latest", NOWHERE)),
    st.integers(1, 10**9 - 1).map(lambda version: Pin("version", str(version), NOWHERE)),
    st.text("0123456789abcdef", min_size=6, max_size=64).map(
        lambda digest: Pin("digest", digest, NOWHERE)
    ),
)
selectors = st.builds(
    Selector,
    st.sampled_from(["task", "lm", "any", "xlsum", "_a9"]),
    languages,
    st.lists(number_filters | text_filters, max_size=3).map(tuple),
    pins,
    st.just(NOWHERE),
)


def compound(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    later_terms = st.builds(SumTerm, st.booleans(), inner, st.just(NOWHERE))
    later_factors = st.builds(ProductFactor, st.booleans(), inner, st.just(NOWHERE))
    terms = st.builds(
        lambda first, rest: (SumTerm(False, first, NOWHERE), *rest),
        inner,
        st.lists(later_terms, min_size=1, max_size=3),
    )
    factors = st.builds(
        lambda first, rest: (ProductFactor(False, first, NOWHERE), *rest),
        inner,
        st.lists(later_factors, min_size=1, max_size=3),
    )
    arguments = st.lists(
        st.builds(Argument, st.none() | names, inner, st.just(NOWHERE)), max_size=3
    ).map(tuple)
    return st.one_of(
        st.builds(Sum, terms, st.just(NOWHERE)),
        st.builds(Product, factors, st.just(NOWHERE)),
        st.builds(Negative, inner, st.just(NOWHERE)),
        st.builds(Call, names, arguments, st.just(NOWHERE)),
    )


expressions: st.SearchStrategy[Expression] = st.recursive(
    numbers
    | selectors
    | parameters
    | names.map(lambda name: Name(name, NOWHERE))
    | texts.map(lambda text: Text(text, NOWHERE)),
    compound,
    max_leaves=8,
)
programs = st.builds(
    Program,
    st.lists(st.builds(Binding, names, expressions, st.just(NOWHERE)), max_size=3).map(tuple),
    expressions,
    st.just(""),
    st.just(NOWHERE),
)

BLANKS_AND_JUNK = [" ", "\t", "\n", "#", " - ", "\u200b", "\x00", "\ufeff", '"', "\\"]
WORDS_AND_SYMBOLS = """
task lm any mean sum only layers exact related nearest x en pt-BR xx T $T $ steps task= >= 5000
0.6 .5 1. 1e9 ( ) [ ] [en] [*] | & - + * / , ; = @ @v3 @latest sha256:abcdef "a/b" ' not and or
withdrawn ~ < != : ^ é × − “
"""
PIECES = [*BLANKS_AND_JUNK, *WORDS_AND_SYMBOLS.split()]
soup = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
spaced_soup = st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join)
any_text = st.text(max_size=40) | st.text(string.printable, max_size=40) | soup | spaced_soup


@PATIENT
@given(programs)
def test_printing_and_parsing_give_the_same_tree(program: Program) -> None:
    printed = print_program(program)
    parsed = parse(printed, DEEP)
    assert parsed == program
    assert hash(parsed) == hash(program)
    assert print_program(parsed) == printed
    for node in (parsed.expression, *(binding.expression for binding in parsed.bindings)):
        marked = printed[node.span.start : node.span.end]
        assert parse(marked, DEEP).expression == node


@PATIENT
@given(any_text)
@example("task[en - ")
@example("task[en -\u00a0ru]")
@example('task[en, note="')
@example("𝟎*task[en]")
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        program = parse(text)
    except DslError as error:
        check_rendering(error)
        return
    assert parse(print_program(program)) == program


@PATIENT
@given(any_text)
@example("not " * 3)
@example("steps >= 1e300")
def test_no_text_breaks_the_query_parser(text: str) -> None:
    try:
        parse_query(text)
    except DslError as error:
        check_rendering(error)


@PATIENT
@given(programs, st.dictionaries(names, st.sampled_from(["0.6", "yo", "x", "", "1/3"]), max_size=3))
def test_no_program_breaks_the_check(program: Program, given_values: dict[str, str]) -> None:
    parsed = parse(print_program(program), DEEP)
    try:
        checked = check(parsed, given_values)
    except DslError as error:
        check_rendering(error)
        return
    assert isinstance(checked, Checked)
    assert {*checked.scalars, *checked.languages} == {*given_values}


@given(st.integers(-(10**40), 10**40), st.integers(0, 300), st.sampled_from([2, 5, 10]))
def test_decimals_are_exact(over: int, power: int, base: int) -> None:
    value = Fraction(over, base**power)
    text = decimal_text(value)
    assert text is not None
    assert Fraction(text) == value


@pytest.mark.parametrize("value", [Fraction(1, 3), Fraction(1, 7), Fraction(2, 6)])
def test_no_decimal_is_made_up(value: Fraction) -> None:
    assert decimal_text(value) is None


def check_rendering(error: DslError) -> None:
    """An error shows its place in full lines of bounded width, whatever the text was."""
    lines = str(error).split("\n")
    assert error.message
    assert "\n" not in error.message
    if error.span is not None:
        assert error.line is not None
        assert error.column is not None
        assert lines[0].startswith(f"line {error.line}, column {error.column}: ")
        assert set(lines[2].strip()) == {"^"}
        assert len(lines[1]) <= 110
    str(error).encode("utf-8")

"""Texts that are too large, too deep or too long: refused at once, or parsed without recursion."""

from fractions import Fraction

import pytest
from isogloss.dsl.checks.check import check
from isogloss.dsl.errors import LimitError, ParseError
from isogloss.dsl.limits import LANGUAGE_TURNS, Limits
from isogloss.dsl.meaning.linear import LinearForm, collect
from isogloss.dsl.meaning.plan import AdapterKey
from isogloss.dsl.syntax import Selector, Sum
from isogloss.dsl.text.parse import parse
from isogloss.dsl.text.print import print_program
from isogloss.dsl.text.query import parse_query


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "-" * 100_000,
        "- " * 90_000,
        "[" * 100_000,
        "task[" * 30_000,
        "mean(" * 30_000,
        "-(" * 50_000,
        "(" * 65 + "task[en]" + ")" * 65,
        "-" * 65 + "task[en]",
    ],
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(LimitError, match="nested more than 64 deep"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 64 + "task[en]" + ")" * 64,
        "(" * 63 + "task[en]" + ")" * 63,
        "-" * 63 + "task[en]",
        "-(" * 31 + "task[en]" + ")" * 31,
        " + ".join(["-task[en]"] * 200),
        "(" + ") + (".join(["-task[en]"] * 200) + ")",
        "mean(" + ", ".join(["-task[en]"] * 200) + ")",
        "mean(task[" + " - ".join(["*"] * 200) + "])",
    ],
)
def test_what_is_not_deep_is_not_refused(text: str) -> None:
    if text.startswith("(" * 64):
        with pytest.raises(LimitError):
            parse(text)
    else:
        program = parse(text)
        check(program)
        assert parse(print_program(program)) == program


def test_a_sum_of_ten_thousand_terms_is_one_flat_node() -> None:
    program = parse(" + ".join(["0.5*task[en]"] * 10_000))
    assert isinstance(program.expression, Sum)
    assert len(program.expression.terms) == 10_000
    assert check(program).program is program
    assert parse(print_program(program)) == program


def test_a_set_of_many_languages_is_one_flat_node() -> None:
    program = parse(f"any[{' | '.join(['en'] * 5_000)}]")
    assert isinstance(program.expression, Selector)
    assert parse(print_program(program)) == program


def test_the_length_is_limited() -> None:
    assert parse("x" * 200_000)
    with pytest.raises(LimitError, match="200001 characters: at most 200000 are allowed"):
        parse("x" * 200_001)
    with pytest.raises(LimitError):
        parse_query(" " * 200_001)


def test_the_operands_are_limited() -> None:
    limits = Limits(operands=5)
    assert parse("1 + 2 + 3 + task[en]", limits)
    with pytest.raises(LimitError, match="more than 5 numbers, names and languages") as caught:
        parse("1 + 2 + 3 + task[en] + 4", limits)
    assert caught.value.column == 24
    with pytest.raises(LimitError):
        parse("1+" * 60_000 + "1")


def test_limits_can_be_set() -> None:
    assert parse("((1))", Limits(nesting=2))
    with pytest.raises(LimitError):
        parse("((1))", Limits(nesting=1))
    with pytest.raises(LimitError):
        parse("12345", Limits(length=4))


def test_languages_turn_so_often_and_no_oftener() -> None:
    turning = "en" + " | en - en" * (LANGUAGE_TURNS // 2)
    assert parse(f"any[{turning}]")
    with pytest.raises(LimitError, match="alternate more than 64 times"):
        parse(f"any[{turning} | en - en]")


@pytest.mark.parametrize("text", ["9" * 301, "0." + "3" * 299, "1e" + "9" * 5000, "1e301"])
def test_huge_numbers_are_refused(text: str) -> None:
    with pytest.raises(LimitError):
        parse(f"{text}*task[en]")
    with pytest.raises(LimitError):
        check(parse("l*task[en]"), {"l": text})
    with pytest.raises(LimitError):
        parse_query(f"steps > {text}")


def test_computed_numbers_are_bounded() -> None:
    check(parse("*".join(["1e300"] * 8) + "*task[en]"))
    with pytest.raises(LimitError, match="too many digits"):
        check(parse("*".join(["1.5"] * 9_000) + "*task[en]"))
    with pytest.raises(LimitError, match="too many digits"):
        check(parse("(" + " + ".join(f"1/{n}" for n in range(3, 9_000, 2)) + ")*task[en]"))


def test_coefficients_that_add_up_are_bounded() -> None:
    adapter, total = LinearForm.of(AdapterKey("a" * 64, "b" * 64)), LinearForm({})
    for number in (3, 5, 7):
        total.add(adapter, Fraction(number**5_000 + 1, number**5_000))
    with pytest.raises(LimitError, match="too many digits"):
        collect(total, "elementwise")


@pytest.mark.parametrize("text", ["not " * 40_000, "(" * 100_000, "not(" * 40_000])
def test_deep_queries_are_refused(text: str) -> None:
    with pytest.raises(LimitError, match="nested more than 64 deep"):
        parse_query(text)


def test_long_queries_are_flat() -> None:
    condition = parse_query(" and ".join(["not steps > 5"] * 1_000))
    assert condition[0] == "and"
    assert len(condition[1]) == 1_000


def test_a_query_number_beyond_floats_is_refused() -> None:
    with pytest.raises(LimitError, match="too large"):
        parse_query(f"steps > {'9' * 290}e250")


def test_a_long_text_in_quotes_is_one_token() -> None:
    text = '"' + "\\\\" * 90_000
    with pytest.raises(ParseError, match="never closed"):
        parse(text)
    assert parse(text + '"')


def test_an_error_at_the_end_of_a_long_program_is_found() -> None:
    with pytest.raises(ParseError, match="but found the end of the program") as caught:
        parse(" + ".join(["task[en]"] * 2_000) + " +")
    assert max(len(line) for line in str(caught.value).split("\n")) < 110

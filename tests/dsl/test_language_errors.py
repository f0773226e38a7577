"""How errors show their place, and the family they belong to."""

import pickle
from fractions import Fraction

import pytest
from isogloss.dsl import errors
from isogloss.dsl.errors import CheckError, DslError, ParseError, Span, did_you_mean, quoted
from isogloss.dsl.number import fraction_text
from isogloss.dsl.text.parse import parse


def shown(source: str, start: int, end: int) -> list[str]:
    return str(DslError("bad", span=Span(start, end), source=source)).split("\n")


def test_a_caret_marks_the_span() -> None:
    error = ParseError(
        "unknown function 'maen'",
        span=Span(4, 8),
        source="0.5*maen(task[en])",
        hint="did you mean 'mean'?",
    )
    assert str(error).split("\n") == [
        "line 1, column 5: unknown function 'maen'",
        "    0.5*maen(task[en])",
        "        ^^^^",
        "hint: did you mean 'mean'?",
    ]
    assert (error.line, error.column) == (1, 5)


def test_without_a_place_there_is_no_source_line() -> None:
    assert str(DslError("bad")) == "bad"
    assert str(DslError("bad", hint="good")) == "bad\nhint: good"
    assert str(DslError("bad", source="x")) == "bad"
    error = DslError("bad", span=Span(0, 1))
    assert str(error) == "bad"
    assert (error.line, error.column) == (None, None)


def test_a_place_may_come_later_and_is_never_replaced() -> None:
    error = DslError("bad", span=Span(0, 1))
    assert error.located("abc") is error
    assert error.located("other").source == "abc"
    assert str(error) == "line 1, column 1: bad\n    abc\n    ^"


@pytest.mark.parametrize(
    ("source", "start", "end", "expected"),
    [
        ("a\nbc d\ne", 5, 6, ["line 2, column 4: bad", "    bc d", "       ^"]),
        ("a\r\nb", 3, 4, ["line 2, column 1: bad", "    b", "    ^"]),
        ("ab\ncd", 0, 5, ["line 1, column 1: bad", "    ab", "    ^^"]),
        ("\tab", 1, 2, ["line 1, column 2: bad", "     ab", "     ^"]),
        ("ab", 2, 2, ["line 1, column 3: bad", "    ab", "      ^"]),
        ("ab", 9, 12, ["line 1, column 3: bad", "    ab", "      ^"]),
        ("ab\n", 3, 4, ["line 2, column 1: bad", "", "    ^"]),
        ("名前 x", 3, 4, ["line 1, column 4: bad", "    名前 x", "         ^"]),
        ("名前", 0, 2, ["line 1, column 1: bad", "    名前", "    ^^^^"]),
        ("e\u0301x", 2, 3, ["line 1, column 3: bad", "    e\u0301x", "     ^"]),
        ("\x1b[0m", 0, 1, ["line 1, column 1: bad", "    \ufffd[0m", "    ^"]),
        ("\u202eab", 1, 2, ["line 1, column 2: bad", "    \ufffdab", "     ^"]),
    ],
)
def test_lines_and_widths(source: str, start: int, end: int, expected: list[str]) -> None:
    assert shown(source, start, end) == expected


@pytest.mark.parametrize("start", [0, 30, 99, 100, 101, 500, 950, 999])
@pytest.mark.parametrize("width", [1, 7, 60, 400])
def test_a_long_line_is_cut_around_its_mark(start: int, width: int) -> None:
    source = "".join(f"{index:04}" for index in range(250))
    _, line, carets = shown(source, start, min(1000, start + width))
    assert len(line) <= 4 + 102
    marked = line[carets.index("^") : carets.rindex("^") + 1]
    assert source.startswith(marked.removesuffix("…"), start)
    assert len(marked) == min(width, 80, 1000 - start)
    assert line.startswith("    …") == (source[:8] not in line)
    assert line.endswith("…") == (source[-8:] not in line)


def test_values_in_messages_are_short_and_printable() -> None:
    assert quoted("maen") == "'maen'"
    assert quoted("a\nb\x1b") == "'a\ufffdb\ufffd'"
    assert quoted("x" * 61) == "'" + "x" * 59 + "…'"
    assert quoted("x" * 60) == "'" + "x" * 60 + "'"


def test_did_you_mean_is_silent_where_nothing_is_close() -> None:
    assert did_you_mean("stepz", ["steps", "task"]) == "did you mean 'steps'?"
    assert did_you_mean("STEPS", ["steps"]) == "did you mean 'steps'?"
    assert did_you_mean("colour", ["steps", "task"]) is None
    assert did_you_mean("x" * 100_000, ["steps"]) is None


def test_every_error_is_a_builtin_error_too() -> None:
    natural = {
        "ParseError": ValueError,
        "LimitError": ValueError,
        "LanguageError": ValueError,
        "CheckError": TypeError,
        "NotFoundError": LookupError,
        "AmbiguousError": LookupError,
        "IncompatibleError": ValueError,
        "UnsupportedError": ValueError,
        "WeightsError": ValueError,
    }
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, DslError) and value is not DslError
    }
    assert set(classes) == set(natural)
    for name, builtin in natural.items():
        assert issubclass(classes[name], builtin)


def test_errors_travel_between_processes() -> None:
    error = CheckError("bad", span=Span(0, 1), source="abc", hint="good")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert isinstance(again, CheckError)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(3, 10), "0.3"),
        (Fraction(-5, 1), "-5"),
        (Fraction(1, 3), "1/3"),
        (Fraction(10**13, 3), "about 3.33333e+12"),
        (Fraction(10**400 + 1, 3), "a huge number"),
        (Fraction(10) ** 30, "1e30"),
        (Fraction(1, 10**30), "1e-30"),
    ],
)
def test_numbers_in_messages_are_short(value: Fraction, text: str) -> None:
    assert fraction_text(value) == text


def test_half_a_character_is_refused_in_words() -> None:
    with pytest.raises(ParseError, match="not valid UTF-8") as caught:
        parse('task[en] + "\ud800"')
    str(caught.value).encode()
    assert caught.value.column == 13

"""Regular expressions: read as Python reads them, and given up when they take too long."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isogloss.dsl.errors import LimitError
from isogloss.dsl.patterns import compiled, fullmatch, match, search

NAME = "model.layers.10.self_attn.q_proj"
PATTERNS = (
    r"q_proj$",
    r"^(?!.*mlp).*\.(q|v)_proj",
    r"(?<!cross_)attn",
    r"(?i)Q_PROJ",
    r"layers\.(1|2)\d*\.",
    r"layers\.\d{1,3}\.",
    r"(_)\w+\1",
    r"self_attn{e<=5}",
    r"[{(]|q_proj\{?",
    r"(?P<kind>self|cross)_attn",
    r"a{2,}t{,2}",
    r"",
)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("text", [NAME, "", "mlp.up_proj", "self_attm", "{q_proj{"])
def test_patterns_mean_what_python_says(pattern: str, text: str) -> None:
    assert search(pattern, text) == bool(re.search(pattern, text))
    assert fullmatch(pattern, text) == bool(re.fullmatch(pattern, text))
    ours, theirs = match(pattern, text), re.match(pattern, text)
    assert (ours and ours.span()) == (theirs and theirs.span())


@given(st.text(alphabet="ab.*+?|()[]{}^$\\0123,-", max_size=12), st.text("ab0{}", max_size=8))
def test_any_pattern_means_what_python_says(pattern: str, text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = re.search(pattern, text) is not None
    except (re.error, OverflowError):
        with pytest.raises(re.error):
            compiled(pattern)
        return
    try:
        assert search(pattern, text) == found
    except LimitError as error:
        assert "written out" in error.message


@pytest.mark.parametrize("pattern", [r"(a|aa)+$", r"(a?|b)*(a|a?)*$", r"(\w|\w\w)+$"])
def test_what_takes_too_long_is_given_up(pattern: str) -> None:
    with pytest.raises(LimitError, match="takes too long on 'aaaa"):
        search(pattern, "a" * 200 + "!")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("((a{1000}){1000}){1000}", "written out"),
        ("(" * 4000 + ")" * 4000, "too deeply"),
        ("a" * 100_001, "more than 100000 characters"),
    ],
)
def test_what_is_too_large_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(LimitError, match=said):
        search(pattern, NAME)


@pytest.mark.parametrize("pattern", ["(", "[a", "*", r"\p{L}", "(?R)", "a{99999999999}"])
def test_what_python_does_not_read_is_refused(pattern: str) -> None:
    with pytest.raises(re.error):
        compiled(pattern)

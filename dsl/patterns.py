"""Regular expressions of other people's making: read as Python's `re` does, for a bounded time.

They stand in programs (`only`) and in the configurations of adapters, and a server gets both from
anybody. `re` would work on `(a|aa)+$` for years, and nothing could stop it; PEFT's own patterns
look ahead, so that an engine of linear time could not read them all. This one is stopped.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

import regex

from .errors import LimitError, quoted

_SECONDS = 0.1
_LONGEST = 100_000
_MOST_PARTS = 200_000
_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?:\d*,)?(?P<count>\d+),?\}|.", re.DOTALL)
# What `regex` would take for a fuzzy match, and `re` takes as it is written.
_PLAIN_BRACE = re.compile(r"(\\.)|\{(?!\d*,?\d*\})", re.DOTALL)


def search(pattern: str, text: str) -> bool:
    """Whether a pattern is found anywhere in a text.

    Raises:
        LimitError: that takes too long to find out.
        re.error: the pattern is no regular expression.

    >>> search(r"self_attn|mlp", "model.layers.0.mlp.up_proj")
    True
    """
    return _carried_out("search", pattern, text) is not None


def fullmatch(pattern: str, text: str) -> bool:
    """Whether a pattern describes all of a text.

    Raises:
        LimitError: that takes too long to find out.
        re.error: the pattern is no regular expression.
    """
    return _carried_out("fullmatch", pattern, text) is not None


def match(pattern: str, text: str) -> regex.Match[str] | None:
    """How a pattern describes the beginning of a text.

    Raises:
        LimitError: that takes too long to find out.
        re.error: the pattern is no regular expression.
    """
    return _carried_out("match", pattern, text)


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> regex.Pattern[str]:
    """A pattern, ready to be carried out.

    Raises:
        LimitError: it is too long, as it stands or with its counted repeats written out.
        re.error: it is no regular expression.
    """
    if len(pattern) > _LONGEST:
        raise LimitError(f"a regular expression of more than {_LONGEST} characters")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(pattern)
            if _parts(pattern) > _MOST_PARTS:
                raise LimitError(
                    f"the regular expression {quoted(pattern)} has more than {_MOST_PARTS} parts "
                    "when its repeats are written out",
                    hint="write '*' or '+' in place of the numbers",
                )
            return regex.compile(_PLAIN_BRACE.sub(lambda m: m[1] or r"\{", pattern))
        except RecursionError as error:
            raise LimitError("a regular expression that is nested too deeply") from error
        except (regex.error, OverflowError) as error:
            raise re.error(str(error), pattern) from error


def _parts(pattern: str) -> int:
    """How many parts a pattern has when its counted repeats are written out, as `regex` does."""
    open_groups, last = [0], 0
    for token in _PART.finditer(pattern):
        if token[0] == "(":
            open_groups.append(0)
            continue
        if token[0] == ")" and len(open_groups) > 1:
            last = open_groups.pop()
        elif token["count"]:
            last *= max(int(token["count"]) - 1, 0)
        else:
            last = 1
        open_groups[-1] += last
    return sum(open_groups)


def _carried_out(how: str, pattern: str, text: str) -> regex.Match[str] | None:
    try:
        found: regex.Match[str] | None = getattr(compiled(pattern), how)(text, timeout=_SECONDS)
    except TimeoutError as error:
        raise LimitError(
            f"the regular expression {quoted(pattern)} takes too long on {quoted(text)}",
            hint="write it without repeats inside repeats",
        ) from error
    return found

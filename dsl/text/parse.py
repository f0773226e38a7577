"""From text to syntax tree; the only home of lark."""

import dataclasses
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DslError
from ..limits import DEFAULT, Limits
from ..syntax import Program
from .mistakes import syntax_error
from .tokens import measure, scan
from .tree import TreeBuilder

if TYPE_CHECKING:
    from lark import Lark

_MINUS = frozenset({"-"})


def parse(source: str, limits: Limits = DEFAULT) -> Program:
    """Return the syntax tree of a program.

    Args:
        source: the text, of one line or many; `#` starts a comment.
        limits: how large the program may be.

    Raises:
        ParseError: the text does not follow the grammar; with the place and what was expected.
        LimitError: the text is too long, too deeply nested or has too many operands.
        LanguageError: a language in square brackets is no language code.
    """
    program: Program = parse_rule("program", source, TreeBuilder, limits, _MINUS)
    return dataclasses.replace(program, source=source)


def parse_rule(
    rule: Literal["program", "query"],
    source: str,
    builder: type,
    limits: Limits,
    prefixes: frozenset[str],
) -> Any:
    """Parse a text by a rule of the grammar and return what the builder made of it.

    Every error is a DslError that knows its source.
    """
    from lark.exceptions import UnexpectedInput

    bracket_error = measure(source, limits, prefixes)
    parser = _parser(rule, builder)
    run = parser.parse_interactive(source, start=rule)
    try:
        run.exhaust_lexer()
        return run.feed_eof()  # type: ignore[no-untyped-call]
    except DslError as error:
        raise error.located(source) from None
    except UnexpectedInput as error:
        position = _position(error, source)
        # The parser has already reduced what stood before the error as if it were right: what
        # could have followed is asked of a parser that has read the good part alone.
        good = parser.parse_interactive(source[:position], start=rule)
        good.exhaust_lexer()
        accepts: set[str] = good.accepts()  # type: ignore[no-untyped-call]
        raise syntax_error(scan(source, bracket_error), position, accepts, rule) from error


def _position(error: Any, source: str) -> int:
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return len(source)
    position: int = error.pos_in_stream
    return position


@cache
def _parser(rule: str, builder: type) -> "Lark":
    """Compile the grammar; once in a process and only when something is parsed."""
    from lark import Lark

    grammar = files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", start=[rule], transformer=builder())

"""A first look at a text, before it is parsed: its tokens, its brackets and its size.

The parser proper reads the text again with the grammar. This pass is what makes a text of a
hundred thousand brackets fail at once, and what lets a syntax error name its neighbours.
"""

import re
from dataclasses import dataclass

from .errors import LimitError, ParseError, Span
from .limits import Limits

_TOKEN = re.compile(
    r"""
    [ \t\r\n]+ | \#[^\n]*
  | (?P<text>"(?:\\.|[^"\\\n])*"?)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
  | (?P<symbol>[^ \t\r\n\#"A-Za-z0-9_])
    """,
    re.VERBOSE,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_OPERANDS = frozenset({"text", "word", "number"})
_CLOSING = {"(": ")", "[": "]"}
_BEFORE_OPERAND = frozenset("+-*/,;=([|&") | {"and", "or", "not"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text: a text in quotes, a word, a number or a single symbol."""

    kind: str
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Scan:
    """The tokens of a text, and the first thing that is wrong with its brackets."""

    source: str
    tokens: tuple[Token, ...]
    bracket_error: ParseError | None

    def around(self, position: int) -> tuple[Token | None, Token | None]:
        """Return the token before a position and the one at (or after) it."""
        before = None
        for token in self.tokens:
            if token.span.end > position:
                return before, token
            before = token
        return before, None

    def opened(self, position: int) -> Token | None:
        """Return the innermost bracket that is open at a position."""
        stack: list[Token] = []
        for token in self.tokens:
            if token.span.start >= position:
                break
            if token.text in _CLOSING:
                stack.append(token)
            elif token.text in _CLOSING.values() and stack:
                stack.pop()
        return stack[-1] if stack else None


def scan(source: str, limits: Limits, prefixes: frozenset[str]) -> Scan:
    """Split a text into tokens and count them.

    Args:
        source: the text.
        limits: how long, deep and wide it may be.
        prefixes: the operators that nest what follows them, where an operand is expected:
            "-" in a program, "not" in a query.

    Raises:
        LimitError: the text is longer, deeper or has more operands than the limits.
        ParseError: the text holds half a character (a lone surrogate).
    """
    if len(source) > limits.length:
        raise LimitError(
            f"a program of {len(source)} characters: at most {limits.length} are allowed"
        )
    if found := _SURROGATE.search(source):
        span = Span(found.start(), found.end())
        raise ParseError("not a character: the text is not valid UTF-8", span=span, source=source)
    tokens = tuple(
        Token(found.lastgroup, found.group(), Span(found.start(), found.end()))
        for found in _TOKEN.finditer(source)
        if found.lastgroup is not None
    )
    operands = [token for token in tokens if token.kind in _OPERANDS]
    if len(operands) > limits.operands:
        raise LimitError(
            f"more than {limits.operands} numbers, names and languages",
            span=operands[limits.operands].span,
            source=source,
        )
    return Scan(source, tokens, _check_nesting(source, tokens, limits, prefixes))


def _check_nesting(
    source: str, tokens: tuple[Token, ...], limits: Limits, prefixes: frozenset[str]
) -> ParseError | None:
    """Count how deep the tokens nest; return what is wrong with the brackets."""
    opened: list[Token] = []
    pending = [0]  # prefix operators that wait for the end of their operand, a level each
    depth = 0
    before = ""
    for token in tokens:
        text = token.text.lower() if token.kind == "word" else token.text
        if text in _CLOSING:
            opened.append(token)
            pending.append(0)
            depth += 1
        elif text in _CLOSING.values():
            if not opened or _CLOSING[opened[-1].text] != text:
                return _bracket_error(source, opened, token)
            opened.pop()
            depth -= 1 + pending.pop()
        elif text in prefixes and (not before or before in _BEFORE_OPERAND):
            pending[-1] += 1
            depth += 1
        elif text in _BEFORE_OPERAND:
            depth -= pending[-1]
            pending[-1] = 0
        if depth > limits.nesting:
            message = f"nested more than {limits.nesting} deep"
            raise LimitError(message, span=token.span, source=source)
        before = text
    return _bracket_error(source, opened, None) if opened else None


def _bracket_error(source: str, opened: list[Token], closing: Token | None) -> ParseError:
    if closing is None:
        message, span = f"this '{opened[-1].text}' is never closed", opened[-1].span
    elif not opened:
        message, span = f"this '{closing.text}' closes nothing", closing.span
    else:
        wanted = _CLOSING[opened[-1].text]
        message, span = f"expected '{wanted}' but found '{closing.text}'", closing.span
        line = source.count("\n", 0, opened[-1].span.start) + 1
        column = opened[-1].span.start - source.rfind("\n", 0, opened[-1].span.start)
        hint = f"the '{opened[-1].text}' at line {line}, column {column} is still open"
        return ParseError(message, span=span, source=source, hint=hint)
    return ParseError(message, span=span, source=source)

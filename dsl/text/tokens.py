"""A first look at a text, before it is parsed: its size, its brackets and its tokens.

The parser proper reads the text again with the grammar. This look is what makes a text of a
hundred thousand brackets fail at once, and what lets a syntax error name its neighbours.
"""

import re
from dataclasses import dataclass, field

from ..errors import LimitError, ParseError, Span
from ..limits import Limits

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
_CLOSING = {"(": ")", "[": "]"}
_BEFORE_OPERAND = frozenset("+-*/,;=([|&") | {"and", "or", "not"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text; its kind is "text" (in quotes), "word", "number" or "symbol"."""

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

    def opened(self, position: int) -> list[Token]:
        """Return the brackets that are open at a position, the innermost last."""
        opened: list[Token] = []
        for token in self.tokens:
            if token.span.start >= position:
                break
            if token.text in _CLOSING:
                opened.append(token)
            elif token.text in (")", "]") and opened:
                opened.pop()
        return opened


def scan(source: str, bracket_error: ParseError | None) -> Scan:
    """Split a text into tokens, comments and blanks left out."""
    tokens = tuple(
        Token(found.lastgroup, found.group(), Span(found.start(), found.end()))
        for found in _TOKEN.finditer(source)
        if found.lastgroup is not None
    )
    return Scan(source, tokens, bracket_error)


def measure(source: str, limits: Limits, prefixes: frozenset[str]) -> ParseError | None:
    """Check that a text is not too large, and return what is wrong with its brackets.

    What is wrong with the brackets is not raised: something else may be wrong before it.

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
        raise LimitError(f"{len(source)} characters: at most {limits.length} are allowed")
    if half := _SURROGATE.search(source):
        span = Span(half.start(), half.end())
        raise ParseError("the text is not valid UTF-8 here", span=span, source=source)
    brackets, operands = _Brackets(source, prefixes), 0
    for found in _TOKEN.finditer(source):
        kind = found.lastgroup
        if kind is None:
            continue
        if kind != "symbol":
            operands += 1
        brackets.read(found.group().lower() if kind == "word" else found.group(), found.start())
        if brackets.error is not None:
            break
        if brackets.depth > limits.nesting or operands > limits.operands:
            message = f"nested more than {limits.nesting} deep"
            if operands > limits.operands:
                message = f"more than {limits.operands} numbers, names and languages"
            raise LimitError(message, span=Span(found.start(), found.end()), source=source)
    return brackets.error or brackets.unclosed()


@dataclass(slots=True)
class _Brackets:
    """What is open at a place: brackets, and prefix operators that wait for their operand."""

    source: str
    prefixes: frozenset[str]
    opened: list[tuple[str, int]] = field(default_factory=list)
    pending: list[int] = field(default_factory=lambda: [0])
    depth: int = 0
    before: str = "("
    error: ParseError | None = None

    def read(self, text: str, start: int) -> None:
        if text in _CLOSING:
            self.opened.append((text, start))
            self.pending.append(0)
            self.depth += 1
        elif text == ")" or text == "]":
            if not self.opened or _CLOSING[self.opened[-1][0]] != text:
                self.error = self._misplaced(text, start)
                return
            self.opened.pop()
            self.depth -= 1 + self.pending.pop()
        elif text in self.prefixes and self.before in _BEFORE_OPERAND:
            self.pending[-1] += 1
            self.depth += 1
        elif text in _BEFORE_OPERAND:
            self.depth -= self.pending[-1]
            self.pending[-1] = 0
        self.before = text

    def unclosed(self) -> ParseError | None:
        if not self.opened:
            return None
        text, start = self.opened[-1]
        span = Span(start, start + 1)
        return ParseError(f"this '{text}' is never closed", span=span, source=self.source)

    def _misplaced(self, text: str, start: int) -> ParseError:
        span = Span(start, start + 1)
        if not self.opened:
            return ParseError(f"this '{text}' closes nothing", span=span, source=self.source)
        opening, place = self.opened[-1]
        line = self.source.count("\n", 0, place) + 1
        column = place - self.source.rfind("\n", 0, place)
        return ParseError(
            f"expected '{_CLOSING[opening]}' but found '{text}'",
            span=span,
            source=self.source,
            hint=f"the '{opening}' at line {line}, column {column} is still open",
        )

"""The place of a syntax error: what stands around it and what could have stood there."""

from collections.abc import Set
from dataclasses import dataclass

from ..errors import ParseError, Span, quoted
from .tokens import Scan, Token

OPERAND_KINDS = frozenset({"word", "number", "text"})
"""The kinds of tokens that are operands, or begin one."""

_WORDS = {
    "PLUS": "an operator",
    "COMPARE": "a comparison such as =",
    "VALUE": "a value",
    "PIN": "a pin",
    "BAR": "'|'",
    "_AMPERSAND": "'&'",
    "DIFFERENCE": "' - '",
    "_AND": "'and'",
    "_OR": "'or'",
    "_COMMA": "','",
    "_SEMICOLON": "';'",
    "RSQB": "']'",
    "RPAR": "')'",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where parsing stopped.

    Attributes:
        scan: the tokens of the whole text.
        position: the offset.
        before: the token before it.
        at: the token there; None at the end of the text.
        accepts: names of the terminals that could have stood there.
        noun: what the text is, "program" or "query".
    """

    scan: Scan
    position: int
    before: Token | None
    at: Token | None
    accepts: Set[str]
    noun: str

    @property
    def symbol(self) -> str:
        """The symbol found, or ''."""
        return self.at.text if self.at is not None and self.at.kind == "symbol" else ""

    @property
    def adjacent(self) -> bool:
        """Whether nothing stands between the two tokens."""
        return (
            self.before is not None
            and self.at is not None
            and self.before.span.end == self.at.span.start
        )

    def error(self, message: str, hint: str | None = None, *, back: bool = False) -> ParseError:
        """Make the error here; with `back` it also marks the token before."""
        span = self.at.span if self.at is not None else self._end()
        if back and self.before is not None:
            span = Span(self.before.span.start, span.end)
        return ParseError(message, span=span, source=self.scan.source, hint=hint)

    def expected(self, what: str, hint: str | None = None) -> ParseError:
        """Make the error that something else was expected here."""
        found = quoted(self.at.text) if self.at is not None else f"the end of the {self.noun}"
        return self.error(f"expected {what} but found {found}", hint)

    def _end(self) -> Span:
        end = self.before.span.end if self.before is not None else 0
        return Span(end, end + 1)


def expected_words(accepts: Set[str]) -> str:
    """Return what could have stood somewhere, in words."""
    options: list[str] = []
    if "NOT" in accepts:
        options.append("a condition such as steps >= 5000")
    elif "NUMBER" in accepts:
        options += ["an argument"] if "TAG" in accepts else ["an adapter", "a number"]
    elif "TAG" in accepts:
        options.append("a language")
    elif "NAME" in accepts:
        options.append("a field")
    for terminal, words in _WORDS.items():
        if terminal in accepts:
            options.append(words)
    if not options:
        return "the end"
    if len(options) == 1:
        return options[0]
    return f"{', '.join(options[:-1])} or {options[-1]}"

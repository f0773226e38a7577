"""Syntax errors in the language's own words: what was expected, what was found, what was meant."""

from collections.abc import Callable, Set
from dataclasses import dataclass

from .characters import character_error
from .errors import ParseError, Span, quoted
from .fields import FIELDS
from .tokens import Scan, Token

_HEADS = frozenset({"task", "lm", "any"})
_OPERAND = frozenset({"word", "number", "text"})
_PIN_HINT = "a pin is @v3, @latest or @sha256: with 6 to 64 hexadecimal digits"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where parsing stopped: the tokens around the place and what could have stood there."""

    scan: Scan
    position: int
    before: Token | None
    at: Token | None
    accepts: Set[str]
    noun: str  # "program" or "query"

    @property
    def symbol(self) -> str:
        """The symbol found, or ''."""
        return self.at.text if self.at is not None and self.at.kind == "symbol" else ""

    def before_is(self, *kinds: str) -> bool:
        return self.before is not None and self.before.kind in kinds

    def at_is(self, *kinds: str) -> bool:
        return self.at is not None and self.at.kind in kinds

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
        found = quoted(self.at.text) if self.at is not None else f"the end of the {self.noun}"
        return self.error(f"expected {what} but found {found}", hint)

    def _end(self) -> Span:
        end = self.before.span.end if self.before is not None else 0
        return Span(end, end + 1)


def syntax_error(scan: Scan, position: int, accepts: Set[str], noun: str) -> ParseError:
    """Return the error for a text that cannot be parsed.

    Args:
        scan: the first look at the text.
        position: the offset at which parsing stopped.
        accepts: names of the terminals that could have stood there.
        noun: "program" or "query".
    """
    before, at = scan.around(position)
    place = _Place(scan, position, before, at, accepts, noun)
    for explain in _EXPLANATIONS:
        found = explain(place)
        if found is not None:
            return found
    return place.expected(_expected(accepts))


def _expected(accepts: Set[str]) -> str:
    """Return what could have stood somewhere, in words."""
    options: list[str] = []
    if "NOT" in accepts:
        options.append("a condition such as steps >= 5000")
    elif "NUMBER" in accepts:
        options.append("an argument" if "TAG" in accepts else "an adapter or a number")
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


def _empty(place: _Place) -> ParseError | None:
    if place.scan.tokens:
        return None
    return place.error("the program is empty", "for example: 0.6*task[en] + 0.4*(lm[pt] - lm[en])")


def _character(place: _Place) -> ParseError | None:
    if place.symbol == "{" and place.before_is("word") and place.before is not None:
        return place.error("brackets are ( ) and [ ]", f"did you mean {place.before.text}[...]?")
    query = {"&": "and", "|": "or", "!": "not"}
    if place.noun == "query" and place.symbol in query:
        word = query[place.symbol]
        return place.error(f"'{place.symbol}' is not an operator of queries", f"write '{word}'")
    return character_error(place.scan, place.position)


def _doubled(place: _Place) -> ParseError | None:
    """Explain operators of other languages that are made of two of ours."""
    if place.before is None or not place.adjacent:
        return None
    both = place.before.text + place.symbol
    hints = {
        "**": "there are no powers: multiply, x*x",
        "//": "division is written /, and a comment starts with #",
        "==": "equality is written =",
        "=>": "write >=",
        "=<": "write <=",
        "<>": "write !=",
        "++": "write + once",
    }
    if both not in hints:
        return None
    hint = hints[both]
    if both == "==" and "NUMBER" in place.accepts:
        hint = "a binding is written: name = expression;"
    return place.error(f"'{both}' is not an operator", hint, back=True)


def _bracket(place: _Place) -> ParseError | None:
    error = place.scan.bracket_error
    if error is None or error.span is None or error.span.start > place.position:
        return None
    closes = place.symbol in (")", "]") and error.span.start == place.position
    return error if place.at is None or closes else None


def _end(place: _Place) -> ParseError | None:
    if place.at is not None:
        return None
    if place.before is not None and place.before.text == ";":
        return place.error(
            "expected the expression that the program means after its bindings",
            f"for example {place.scan.tokens[0].text}",
        )
    return None


def _semicolon(place: _Place) -> ParseError | None:
    if place.symbol != ";" or "$END" not in place.accepts:
        return None
    return place.error(
        "the expression at the end of a program takes no ';'",
        "only a binding ends with it: name = expression;",
    )


def _equals(place: _Place) -> ParseError | None:
    if place.symbol != "=" or "PLUS" not in place.accepts or place.noun == "query":
        return None
    hint = "a binding is written: name = expression;"
    if "RPAR" in place.accepts:
        hint = "an argument is given by name as: name=value"
    return place.expected("an operator", hint)


def _missing_operator(place: _Place) -> ParseError | None:
    if "PLUS" not in place.accepts or place.before is None or place.at is None:
        return None
    if not (place.at.kind in _OPERAND or place.symbol in ("(", "[", "$")):
        return None
    return place.expected("an operator", _operator_hint(place, place.before, place.at))


def _operator_hint(place: _Place, before: Token, at: Token) -> str | None:
    if before.text in _HEADS and at.kind == "word":
        return f"did you mean {before.text}[{at.text}]?"
    if before.text == "]" and at.kind == "word" and at.text[0] == "v" and at.text[1:].isdigit():
        return f"did you mean @{at.text}?"
    if at.text == "[":
        return "a selector is written: task[en]"
    if before.kind == "number" and at.kind != "number":
        return f"did you mean {before.text}*{_operand(place.scan, at)}?"
    return "numbers and adapters are joined by + - * /"


def _operand(scan: Scan, first: Token) -> str:
    """Return the text of an operand from its first token on, short enough for a hint."""
    index = scan.tokens.index(first)
    following = scan.tokens[index + 1 : index + 2]
    opening = first if first.text == "(" else None
    if first.kind == "word" and following and following[0].text in ("(", "["):
        opening = following[0]
    if opening is None:
        return first.text
    depth = 0
    for token in scan.tokens[scan.tokens.index(opening) :]:
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        if depth == 0:
            whole = scan.source[first.span.start : token.span.end]
            if len(whole) <= 40 and "\n" not in whole:
                return whole
            break
    return (
        scan.source[first.span.start : opening.span.end]
        + "..."
        + (")" if opening.text == "(" else "]")
    )


def _missing_operand(place: _Place) -> ParseError | None:
    if place.symbol not in ("+", "*", "/") or "MINUS" not in place.accepts:
        return None
    if place.symbol == "+" and (place.before is None or place.before.text in ("(", ",", "=", ";")):
        return place.error("'+' cannot stand before an operand", "leave it out")
    return place.expected("an adapter or a number")


def _difference(place: _Place) -> ParseError | None:
    """Explain a hyphen in square brackets that is neither in a tag nor between blanks."""
    if place.symbol != "-" or place.before is None:
        return None
    _, following = place.scan.around(place.position + 1)
    if "TAG" in place.accepts and place.before.text == "[" and following is not None:
        return place.expected("a language", f"to leave a language out: [* - {following.text}]")
    if "DIFFERENCE" not in place.accepts:
        return None
    if following is None or (following.kind != "word" and following.text not in ("(", "*", "$")):
        return place.expected("'|', '&', ' - ', ',' or ']'")
    taken = following.text if following.kind == "word" else "..."
    return place.error(
        "a difference of languages needs a blank on both sides of '-'",
        f"write {place.before.text} - {taken}; without blanks a hyphen belongs to a tag, pt-BR",
    )


def _languages(place: _Place) -> ParseError | None:
    """Explain what cannot follow a language in square brackets."""
    if "BAR" not in place.accepts or place.before is None or place.at is None:
        return None
    if place.symbol in ("=", "<", ">", "!", "~") and place.before.text in FIELDS:
        message = "expected a language before the filters"
        hint = f"for every language write *: [*, {place.before.text}{place.symbol}...]"
        return place.error(message, hint, back=True)
    if place.at.kind == "word" or place.symbol == "$":
        return place.expected(
            _expected(place.accepts),
            f"languages are joined by |: {place.before.text} | {_tag(place)}",
        )
    if place.symbol in ("+", "*", "/", ";", "@") and "RSQB" in place.accepts:
        hint = "is a ']' missing before it?"
        return place.expected("'|', '&', ' - ', ',' or ']'", hint)
    return None


def _tag(place: _Place) -> str:
    if place.symbol == "$":
        _, following = place.scan.around(place.position + 1)
        return f"${following.text}" if following is not None else "$T"
    return place.at.text if place.at is not None else "..."


def _language(place: _Place) -> ParseError | None:
    """Explain what cannot stand for a language in square brackets."""
    if "TAG" not in place.accepts or "NUMBER" in place.accepts:
        return None
    if place.symbol == "]" and place.before is not None and place.before.text == "[":
        return place.expected("a language", "every language is written [*]")
    if place.at_is("text"):
        return place.expected("a language", "in brackets a language has no quotes: task[pt-BR]")
    return None


def _filter(place: _Place) -> ParseError | None:
    """Explain a filter that is not one: `task[en, ru]`, `task[en, steps]`, `task[en, 5]`."""
    if place.before is None or place.noun == "query":
        return None
    if "COMPARE" in place.accepts:
        if place.before.text in FIELDS:
            hint = f"for example {place.before.text}=..."
        else:
            hint = f"languages are joined by |, not by commas: ... | {place.before.text}"
        return place.expected(f"a comparison after {quoted(place.before.text)}", hint)
    if place.accepts == {"NAME"}:
        return place.expected("a filter such as steps>=5000")
    return None


def _value(place: _Place) -> ParseError | None:
    if "VALUE" in place.accepts:
        return place.expected("a value", 'a value with other characters is quoted: "..."')
    if not place.accepts & {"_COMMA", "_AND"} or "PLUS" in place.accepts:
        return None
    if "BAR" in place.accepts or place.at is None or "COMPARE" in place.accepts:
        return None
    if place.adjacent or place.at.kind == "word":
        hint = 'a value with blanks or other characters is quoted: "..."'
        return place.expected(_expected(place.accepts), hint)
    return None


def _pin(place: _Place) -> ParseError | None:
    if "PIN" not in place.accepts:
        return None
    hint = _PIN_HINT
    if place.at_is("number") and place.at is not None and place.at.text.isdigit():
        hint = f"did you mean @v{place.at.text}?"
    return place.expected("a pin", hint)


def _condition(place: _Place) -> ParseError | None:
    """Explain queries in which a comparison or 'and' is missing."""
    if place.noun != "query" or place.before is None or place.at is None:
        return None
    if "COMPARE" in place.accepts and (
        place.at_is("word", "number", "text") or place.symbol == ":"
    ):
        if place.symbol == ":":
            return place.expected("a comparison", f"did you mean {place.before.text} = ...?")
        hint = f"did you mean {place.before.text} = {place.at.text}?"
        return place.expected(_expected(place.accepts), hint)
    if "_AND" in place.accepts and place.symbol in (",", ";"):
        return place.expected("'and' or 'or'", "conditions are joined by 'and' and 'or'")
    return None


_EXPLANATIONS: tuple[Callable[[_Place], ParseError | None], ...] = (
    _empty,
    _condition,
    _doubled,
    _pin,
    _character,
    _bracket,
    _end,
    _semicolon,
    _equals,
    _missing_operator,
    _missing_operand,
    _difference,
    _languages,
    _language,
    _filter,
    _value,
)

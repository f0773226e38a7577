"""Syntax errors in the language's own words: what was expected, what was found, what was meant."""

from collections.abc import Callable, Set

from ..errors import ParseError, quoted
from ..fields import FIELDS
from .bracket_mistakes import (
    explain_difference,
    explain_filter,
    explain_language,
    explain_languages,
    explain_pin,
    explain_value,
)
from .characters import character_error
from .place import OPERAND_KINDS, Place, expected_words
from .tokens import Scan, Token

_HEADS = frozenset({"task", "lm", "any"})
_BINDING_HINT = "a binding is written: name = expression;"
_ARGUMENT_HINT = "an argument is given by name as: name=value"


def syntax_error(scan: Scan, position: int, accepts: Set[str], noun: str) -> ParseError:
    """Return the error for a text that cannot be parsed.

    Args:
        scan: the tokens of the text.
        position: the offset at which parsing stopped.
        accepts: names of the terminals that could have stood there.
        noun: "program" or "query".
    """
    before, at = scan.around(position)
    place = Place(scan, position, before, at, accepts, noun)
    for explain in _EXPLANATIONS:
        found = explain(place)
        if found is not None:
            return found
    return place.expected(expected_words(accepts))


def _empty(place: Place) -> ParseError | None:
    if place.scan.tokens:
        return None
    hint = "for example: 0.6*task[en] + 0.4*(lm[pt] - lm[en])"
    return ParseError("the program is empty", hint=hint)


def _character(place: Place) -> ParseError | None:
    if place.symbol == "{" and place.before is not None and place.before.kind == "word":
        return place.error("brackets are ( ) and [ ]", f"did you mean {place.before.text}[...]?")
    if place.symbol.isalpha() and explain_value(place):
        return explain_value(place)
    if place.symbol == ":" and place.scan.source[place.position :].startswith(":="):
        return place.error("':=' is not an operator", _BINDING_HINT)
    query = {"&": "and", "|": "or", "!": "not"}
    if place.noun == "query" and place.symbol in query:
        word = query[place.symbol]
        return place.error(f"'{place.symbol}' is not an operator of queries", f"write '{word}'")
    return character_error(place.scan, place.position)


def _doubled(place: Place) -> ParseError | None:
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
        "||": "languages are joined by a single |",
        "&&": "languages are joined by a single &",
    }
    if both not in hints:
        return None
    hint = hints[both]
    if both == "==" and "NUMBER" in place.accepts:
        inside = place.scan.opened(place.position)
        hint = _ARGUMENT_HINT if inside else _BINDING_HINT
    return place.error(f"'{both}' is not an operator", hint, back=True)


def _bracket(place: Place) -> ParseError | None:
    error = place.scan.bracket_error
    if error is None or error.span is None or error.span.start > place.position:
        return None
    closes = place.symbol in (")", "]") and error.span.start == place.position
    return error if place.at is None or closes else None


def _end(place: Place) -> ParseError | None:
    if place.at is not None:
        return None
    if place.before is not None and place.before.text == ";":
        return place.error(
            "expected the expression that the program means after its bindings",
            f"for example {place.scan.tokens[0].text}",
        )
    return None


def _semicolon(place: Place) -> ParseError | None:
    if place.symbol != ";":
        return None
    if {"_COMMA", "PLUS", "RPAR"} <= place.accepts:
        return place.expected(expected_words(place.accepts), "arguments are separated by commas")
    if "$END" not in place.accepts:
        return None
    if place.noun == "query":
        return place.error("a query takes no ';'", "conditions are joined by 'and' and 'or'")
    return place.error(
        "the expression at the end of a program takes no ';'",
        "only a binding ends with it: name = expression;",
    )


def _comma(place: Place) -> ParseError | None:
    if place.symbol != "," or "PLUS" not in place.accepts:
        return None
    hint = "several adapters are combined by operators, or by mean(..., ...) and sum(..., ...)"
    if "_SEMICOLON" in place.accepts:
        hint = _BINDING_HINT
    return place.expected(expected_words(place.accepts), hint)


def _set_operator(place: Place) -> ParseError | None:
    if place.symbol not in ("|", "&") or "PLUS" not in place.accepts:
        return None
    hint = f"{place.symbol} joins languages in square brackets: task[en {place.symbol} ru]"
    return place.expected(expected_words(place.accepts), hint)


def _headless(place: Place) -> ParseError | None:
    if place.symbol != "[" or "NUMBER" not in place.accepts:
        return None
    return place.expected(expected_words(place.accepts), "a selector has a head: task[en]")


def _equals(place: Place) -> ParseError | None:
    if place.symbol != "=" or "PLUS" not in place.accepts or place.noun == "query":
        return None
    hint = _ARGUMENT_HINT if "RPAR" in place.accepts else _BINDING_HINT
    return place.expected("an operator", hint)


def _missing_operator(place: Place) -> ParseError | None:
    if "PLUS" not in place.accepts or place.before is None or place.at is None:
        return None
    if not (place.at.kind in OPERAND_KINDS or place.symbol in ("(", "[", "$")):
        return None
    hint = _operator_hint(place, place.before, place.at)
    return place.expected(expected_words(place.accepts), hint)


def _operator_hint(place: Place, before: Token, at: Token) -> str | None:
    if before.text in _HEADS and at.kind == "word":
        return f"did you mean {before.text}[{at.text}]?"
    if before.text == "]" and at.kind == "word" and at.text[0] == "v" and at.text[1:].isdigit():
        return f"did you mean @{at.text}?"
    if at.text == "[":
        joined = "languages are joined by |: task[en | ru]"
        return joined if before.text == "]" else "a selector is written: task[en]"
    if before.kind == "number" and at.kind != "number":
        return f"did you mean {before.text}*{_operand(place.scan, at)}?"
    if "_COMMA" in place.accepts:
        return "arguments are separated by commas"
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
    closing = ")" if opening.text == "(" else "]"
    return f"{scan.source[first.span.start : opening.span.end]}...{closing}"


def _missing_operand(place: Place) -> ParseError | None:
    if place.symbol not in ("+", "*", "/") or "MINUS" not in place.accepts:
        return None
    if place.symbol == "+" and (place.before is None or place.before.text in ("(", ",", "=", ";")):
        return place.error("'+' cannot stand before an operand", "leave it out")
    return place.expected("an adapter or a number")


def _condition(place: Place) -> ParseError | None:
    """Explain queries in which a condition, a comparison or 'and' is missing."""
    if place.noun != "query" or place.before is None or place.at is None:
        return None
    field, found = place.before.text, place.at.text
    if "COMPARE" in place.accepts and field.lower() in ("and", "or"):
        return ParseError(
            f"expected a condition but found {quoted(field)}",
            span=place.before.span,
            source=place.scan.source,
        )
    if "COMPARE" in place.accepts and FIELDS.get(field) == "flag":
        return place.expected(f"'and' or 'or' after {quoted(field)}")
    junk = place.at.kind == "symbol" and not found.isascii()
    if "COMPARE" in place.accepts and not junk and found not in "()&|!":
        hint = f"did you mean {field} = {found}?" if place.at.kind in OPERAND_KINDS else None
        if found == ":" or found.lower() in _COMPARING_WORDS:
            hint = f"write {field} = ... for what it is, {field} ~ ... for what it contains"
        return place.expected(f"a comparison after {quoted(field)}", hint)
    if "_AND" in place.accepts and found == ",":
        _, following = place.scan.around(place.at.span.end)
        if following is not None and following.span.start > place.at.span.end:
            return place.expected("'and' or 'or'", "conditions are joined by 'and' and 'or'")
    return None


_COMPARING_WORDS = frozenset({"contains", "equals", "in", "is", "like", "matches"})

_EXPLANATIONS: tuple[Callable[[Place], ParseError | None], ...] = (
    _empty,
    _condition,
    _doubled,
    explain_pin,
    _character,
    _bracket,
    _end,
    _semicolon,
    _comma,
    _equals,
    _set_operator,
    _headless,
    _missing_operator,
    _missing_operand,
    explain_difference,
    explain_languages,
    explain_language,
    explain_filter,
    explain_value,
)

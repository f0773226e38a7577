"""Syntax errors in square brackets and after them: languages, filters and pins."""

import re

from ..errors import ParseError, quoted
from ..fields import FIELDS
from .place import OPERAND_KINDS, Place, expected_words

_QUOTE_HINT = 'a value with blanks or other characters is quoted: "..."'
_NOT_AFTER_VALUE = frozenset({"PLUS", "BAR", "COMPARE", "NUMBER", "TAG"})
_AFTER_LANGUAGES = {
    "+": "languages are joined by |; or is a ']' missing before the +?",
    "*": "is a ']' missing before the *?",
    "/": "is a ']' missing before the /?",
    ";": "filters are separated by commas",
    "@": "a pin stands after the brackets: task[en]@v3",
}
_SHORT_PIN = re.compile(r"sha256:[0-9a-fA-F]{0,5}(?![0-9A-Za-z])")
_PIN_HINT = "a pin is @v3, @latest or @sha256: with 6 to 64 hexadecimal digits"


def explain_difference(place: Place) -> ParseError | None:
    """Explain a hyphen in square brackets that is neither in a tag nor between blanks."""
    if place.symbol != "-" or place.before is None:
        return None
    _, following = place.scan.around(place.position + 1)
    if "TAG" in place.accepts and place.before.text == "[" and following is not None:
        return place.expected("a language", f"to leave a language out: [* - {following.text}]")
    if "DIFFERENCE" not in place.accepts:
        return None
    if following is None or (following.kind != "word" and following.text not in ("(", "*", "$")):
        return place.expected(expected_words(place.accepts))
    taken = following.text if following.kind == "word" else "..."
    return place.error(
        "a difference of languages needs a blank on both sides of '-'",
        f"write {place.before.text} - {taken}; without blanks a hyphen belongs to a tag, pt-BR",
    )


def explain_languages(place: Place) -> ParseError | None:
    """Explain what cannot follow a language in square brackets."""
    if "BAR" not in place.accepts or place.before is None or place.at is None:
        return None
    if place.symbol in ("=", "<", ">", "!", "~") and place.before.text in FIELDS:
        message = "expected a language before the filters"
        hint = f"for every language write *: [*, {place.before.text}{place.symbol}...]"
        return place.error(message, hint, back=True)
    if place.at.text in FIELDS:
        hint = f"filters come after a comma: {place.before.text}, {place.at.text}..."
        return place.expected(expected_words(place.accepts), hint)
    if place.at.kind == "word" or place.symbol == "$":
        return place.expected(
            expected_words(place.accepts),
            f"languages are joined by |: {place.before.text} | {_tag(place)}",
        )
    if place.symbol in _AFTER_LANGUAGES and "RSQB" in place.accepts:
        return place.expected(expected_words(place.accepts), _AFTER_LANGUAGES[place.symbol])
    return None


def _tag(place: Place) -> str:
    if place.symbol == "$":
        _, following = place.scan.around(place.position + 1)
        return f"${following.text}" if following is not None else "$T"
    return place.at.text if place.at is not None else "..."


def explain_language(place: Place) -> ParseError | None:
    """Explain what cannot stand for a language in square brackets."""
    if {"_COMMA", "RPAR"} <= place.accepts and place.symbol in ("|", "&", "-"):
        hint = "a function takes one language: related(yo) | related(ig)"
        return place.expected(expected_words(place.accepts), hint if _in_brackets(place) else None)
    if "TAG" not in place.accepts or "NUMBER" in place.accepts:
        return None
    if place.symbol == "!":
        _, following = place.scan.around(place.position + 1)
        taken = following.text if following is not None else "..."
        return place.expected("a language", f"to leave a language out: [* - {taken}]")
    if place.symbol == "]" and place.before is not None and place.before.text == "[":
        return place.expected("a language", "for every language write [*]")
    if place.at is not None and place.at.kind == "text":
        return place.expected("a language", "in brackets a language has no quotes: task[pt-BR]")
    return None


def _in_brackets(place: Place) -> bool:
    return any(token.text == "[" for token in place.scan.opened(place.position))


def explain_filter(place: Place) -> ParseError | None:
    """Explain a filter that is not one: `task[en, ru]`, `task[en, steps]`, `task[en, 5]`."""
    if place.before is None or place.noun == "query":
        return None
    if "COMPARE" in place.accepts:
        if FIELDS.get(place.before.text) == "flag":
            message = f"{quoted(place.before.text)} stands only in queries"
            return place.error(message, "a selector chooses no withdrawn adapters", back=True)
        if place.before.text in FIELDS:
            hint = f"for example {place.before.text}=..."
        else:
            hint = f"languages are joined by |, not by commas: ... | {place.before.text}"
        return place.expected(f"a comparison after {quoted(place.before.text)}", hint)
    if place.accepts == {"NAME"}:
        return place.expected("a filter such as steps>=5000")
    return None


def explain_value(place: Place) -> ParseError | None:
    """Explain values with characters that need quotes."""
    if "VALUE" in place.accepts:
        quotable = place.at is not None and place.symbol not in (")", "]", ",", ";")
        return place.expected("a value", _QUOTE_HINT if quotable else None)
    ended = "_AND" in place.accepts or {"_COMMA", "RSQB"} <= place.accepts
    if place.at is None or not ended or place.accepts & _NOT_AFTER_VALUE:
        return None
    if place.noun == "query" and place.at.text in FIELDS:
        hint = f"conditions are joined by 'and' and 'or'; {_QUOTE_HINT}"
        return place.expected(expected_words(place.accepts), hint)
    if place.adjacent or place.at.kind in OPERAND_KINDS:
        return place.expected(expected_words(place.accepts), _QUOTE_HINT)
    return None


def explain_pin(place: Place) -> ParseError | None:
    """Explain what is no pin."""
    if "PIN" not in place.accepts:
        return None
    hint = _PIN_HINT
    if short := _SHORT_PIN.match(place.scan.source, place.position):
        return place.error(f"the pin {quoted(short[0])} is too short", hint)
    if place.at is not None and place.at.text.isdigit():
        hint = f"did you mean @v{place.at.text}?"
    return place.expected("a pin", hint)

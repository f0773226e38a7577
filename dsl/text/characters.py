"""What is wrong below the level of words: characters, texts in quotes and numbers."""

import re
import unicodedata

from ..errors import ParseError, Span, quoted
from .tokens import Scan, Token

_USED = frozenset('+-*/()[]|&,;=@<>!~$"#.:')
# What a keyboard, a word processor or a PDF writes for a character of the language.
_MEANT = {
    "\N{MINUS SIGN}": "-",
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{FIGURE DASH}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MULTIPLICATION SIGN}": "*",
    "\N{ASTERISK OPERATOR}": "*",
    "\N{MIDDLE DOT}": "*",
    "\N{DOT OPERATOR}": "*",
    "\N{BULLET}": "*",
    "\N{DIVISION SIGN}": "/",
    "\N{FRACTION SLASH}": "/",
    "\N{DIVISION SLASH}": "/",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{DOUBLE LOW-9 QUOTATION MARK}": '"',
    "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}": '"',
    "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}": '"',
    "\N{LEFT SINGLE QUOTATION MARK}": '"',
    "\N{RIGHT SINGLE QUOTATION MARK}": '"',
    "'": '"',
    "`": '"',
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{NOT EQUAL TO}": "!=",
    "\N{UNION}": "|",
    "\N{INTERSECTION}": "&",
}
_HINTS = {
    "^": "there are no powers: multiply, x*x",
    "%": "a percentage is written as a number: 0.5",
    "\\": 'a backslash stands only in a text in quotes, "..."',
    "?": "there are no conditions in an expression",
    ".": "a point stands only between the digits of a number: 0.5",
    ":": "a colon stands only in a pin, @sha256:PREFIX",
    "!": "'!' stands only in '!=' between a field and a value",
    "$": "a language parameter is written $ and a name: $T",
}


def character_error(scan: Scan, position: int) -> ParseError | None:
    """Return what is wrong with the token at a position, in itself; None when nothing is."""
    before, token = scan.around(position)
    if token is None:
        return None
    if token.kind == "text":
        return _text_error(scan.source, token)
    if token.text in (".", ",") or token.kind == "word":
        found = _number_error(scan, before, token)
        if found is not None:
            return found
    if token.text == "$":
        _, following = scan.around(token.span.end)
        if following and following.kind == "word" and following.span.start == token.span.end:
            return None
    if token.kind == "symbol" and (token.text not in _USED or token.text in ".:!$"):
        return _symbol_error(scan.source, token)
    return None


def _symbol_error(source: str, token: Token) -> ParseError:
    character = token.text
    meant = _MEANT.get(character)
    if meant is None and not character.isascii():
        compatible = unicodedata.normalize("NFKC", character)
        meant = compatible if len(compatible) == 1 and compatible.isascii() else None
    if character in "{}":
        hint = "brackets are ( ) and [ ]"
    elif meant == " ":
        hint = "write an ordinary blank"
    elif meant is not None:
        hint = f"write {meant}"
    elif character in _HINTS:
        hint = _HINTS[character]
    elif unicodedata.category(character) in ("Cf", "Cc"):
        hint = "it is invisible: remove it"
    elif character.isnumeric():
        hint = "numbers are written in the digits 0 to 9"
    elif character.isalpha():
        hint = "names and languages are written in the letters a to z"
    else:
        hint = None
    return ParseError(
        f"{_named(character)} is not part of the language",
        span=token.span,
        source=source,
        hint=hint,
    )


def _named(character: str) -> str:
    if character.isascii() and character.isprintable():
        return f'"{character}"' if character == "'" else f"'{character}'"
    code = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "")
    if not character.isprintable() or unicodedata.category(character) in ("Zs", "Mn", "Me"):
        return f"the character {code} {name}".rstrip()
    return f"{quoted(character)} ({f'{code} {name}'.rstrip()})"


def _text_error(source: str, token: Token) -> ParseError | None:
    closed = re.fullmatch(r'"(?:\\.|[^"\\])*"', token.text)
    if closed is None:
        return ParseError(
            "this text is never closed",
            span=Span(token.span.start, token.span.start + 1),
            source=source,
            hint='a text ends on its own line with "',
        )
    for found in re.finditer(r"\\(.)", token.text):
        if found[1] not in '"\\':
            start = token.span.start + found.start()
            return ParseError(
                f"unknown escape {found[0]} in a text",
                span=Span(start, start + 2),
                source=source,
                hint=f"for a backslash write two: \\{found[0]}",
            )
    for index, character in enumerate(token.text):
        if character != "\t" and (character < " " or character == "\x7f"):
            start = token.span.start + index
            message = f"the control character U+{ord(character):04X} cannot stand in a text"
            return ParseError(message, span=Span(start, start + 1), source=source)
    return None


def _number_error(scan: Scan, before: Token | None, token: Token) -> ParseError | None:
    """Explain `.5`, `1.`, `1,5`, `1e`, `1_000` and `0x1f`."""
    source = scan.source
    after_number = (
        before is not None and before.kind == "number" and before.span.end == token.span.start
    )
    if token.text in (".", ","):
        _, following = scan.around(token.span.end)
        digits = following is not None and following.kind == "number"
        if following is not None and digits and following.span.start == token.span.end:
            if token.text == ",":
                if before is None or not after_number:
                    return None
                message = "the decimal sign is a point"
                hint = f"write {before.text}.{following.text}"
                if len(following.text) == 3:
                    hint += f", or {before.text}{following.text} without a separator"
            elif after_number:
                message, hint = "a number has only one point", None
            else:
                message, hint = (
                    "a number needs a digit before the point",
                    f"write 0.{following.text}",
                )
            return ParseError(message, span=token.span, source=source, hint=hint)
        if before is not None and after_number and token.text == ".":
            message = "a number needs a digit after the point"
            span = Span(before.span.start, token.span.end)
            hint = f"write {before.text} or {before.text}.0"
            return ParseError(message, span=span, source=source, hint=hint)
        return None
    if before is None or not after_number:
        return None
    span = Span(before.span.start, token.span.end)
    if token.text in ("e", "E"):
        message, hint = "an exponent needs digits", f"write {before.text}e3 or {before.text}e-3"
    elif re.fullmatch(r"[0-9_]+", token.text):
        message = "the digits of a number are not grouped"
        hint = f"write {before.text}{token.text.replace('_', '')}"
    elif re.fullmatch(r"[xob][0-9a-f]+", token.text) and before.text == "0":
        message, hint = "numbers are decimal", None
    else:
        return None
    return ParseError(message, span=span, source=source, hint=hint)

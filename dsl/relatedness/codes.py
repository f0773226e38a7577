"""From what people call a language to the code that its data stand under."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from types import MappingProxyType

from ..errors import LanguageError, UnsupportedError, did_you_mean, quoted
from ..languages import normalize
from .shipped import rows

_LANGUAGE_SUBTAG = re.compile("[a-z]{2,3}")
_NO_LANGUAGE = frozenset({"art", "mis", "mul", "und", "zxx"})


@dataclass(frozen=True, slots=True)
class Located:
    """A language and the row of the data that stands for it.

    Attributes:
        language: as asked.
        tag: its normal form.
        code: the code whose data are used.
        note: why this code, where that is not obvious; else "".
    """

    language: str
    tag: str
    code: str
    note: str = ""


@lru_cache(maxsize=1)
def stand_ins() -> MappingProxyType[str, tuple[str, str]]:
    """Return the code, and why that one, for codes that do not simply stand for themselves.

    They are the 62 macrolanguages of ISO 639-3, of which most are groups of languages without data
    of their own in URIEL, and codes that have replaced the one that the data still have.
    """
    return MappingProxyType(
        {language: (code, reason) for language, code, reason in rows("codes.tsv")}
    )


def locate(language: str, has: Callable[[str], bool]) -> Located:
    """Find the ISO 639-3 code whose data stand for a language.

    Args:
        language: a code of ISO 639 (two or three letters) or BCP 47 tag (of which the language
            alone counts: `pt-BR` is Portuguese), else a name; a code wins over a name.
        has: whether there are any data under an ISO 639-3 code.

    Raises:
        LanguageError: no language is called that.
        UnsupportedError: it is a language, but there are no data for it.
    """
    tag = tag_of(language, has)
    code = three_letters(tag)
    if code in _NO_LANGUAGE:
        raise UnsupportedError(f"{quoted(language)} does not stand for one language")
    stand_in, note = stand_ins().get(code, (code, ""))
    if not has(stand_in):
        raise UnsupportedError(
            f"there are no distances for {quoted(language)} ({name_of(tag)}): "
            f"URIEL has no language '{stand_in}'",
            hint=_siblings(code, has),
        )
    return Located(language, tag, stand_in, note)


def stands_for(tag: str) -> str:
    """Return the ISO 639-3 code that stands for a tag's language in URIEL.

    >>> stands_for("zh-Hant"), stands_for("cmn"), stands_for("pt-BR")
    ('cmn', 'cmn', 'por')
    """
    code = three_letters(tag)
    return stand_ins().get(code, (code, ""))[0]


def tag_of(language: str, has: Callable[[str], bool]) -> str:
    """Return the normal tag of a code or name; see `locate`."""
    text = language.strip()
    try:
        return normalize(text)
    except LanguageError as error:
        # Codes that ISO 639-3 has split or withdrawn are no tags any more, and still have data.
        if len(text) == 3 and has(text.lower()):
            return text.lower()
        found = _named(text)
        if found is None:
            hint = did_you_mean(text, english_names()) or error.hint
            raise LanguageError(
                f"{quoted(language)} is neither the code nor the name of a language", hint=hint
            ) from error
        return found


def three_letters(tag: str) -> str:
    """Return the ISO 639-3 code of a tag's language.

    >>> three_letters("zh-Hant"), three_letters("yo"), three_letters("frr")
    ('zho', 'yor', 'frr')
    """
    import langcodes

    subtag = tag.split("-")[0]
    return subtag if len(subtag) == 3 else langcodes.Language.make(language=subtag).to_alpha3()


@lru_cache(maxsize=4096)
def name_of(tag: str) -> str:
    """Return the English name of a language.

    >>> name_of("yo"), name_of("zh-Hant")
    ('Yoruba', 'Chinese (Traditional)')
    """
    import langcodes

    return langcodes.Language.get(tag, normalize=False).display_name("en")


@lru_cache(maxsize=1)
def english_names() -> tuple[str, ...]:
    """Return the English names of all languages that have a code."""
    data = import_module("language_data.name_data")
    return tuple(
        names["en"]
        for code, names in data.CODE_TO_NAMES.items()
        if "en" in names and _LANGUAGE_SUBTAG.fullmatch(code)
    )


def _named(name: str) -> str | None:
    import langcodes

    try:
        return str(langcodes.find(name))
    except LookupError:
        return None


def _siblings(code: str, has: Callable[[str], bool]) -> str | None:
    """Return a hint that names the other members of the same macrolanguage that have data."""
    from langcodes.data_dicts import MACROLANGUAGES

    group = MACROLANGUAGES.get(code)
    members = [
        member
        for member, macrolanguage in MACROLANGUAGES.items()
        if macrolanguage == group and has(three_letters(member))
    ]
    if not members:
        return None
    return f"members of the same macrolanguage that have data: {' '.join(sorted(members)[:8])}"

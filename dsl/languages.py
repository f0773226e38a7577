"""Language codes: ISO 639 and BCP 47 tags in one normal form."""

import re

from .errors import LanguageError, quoted

_TAG = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")
_EXAMPLES = "a language is an ISO 639 or BCP 47 code, such as en, yo or pt-BR"
# The names that people write instead of a code, for a hint; every other name gets the general one.
_NAMES_AND_CODES = """
afrikaans af albanian sq amharic am arabic ar armenian hy azerbaijani az basque eu belarusian be
bengali bn bosnian bs bulgarian bg burmese my catalan ca chinese zh croatian hr czech cs danish da
dutch nl english en estonian et finnish fi french fr galician gl georgian ka german de greek el
gujarati gu hausa ha hebrew he hindi hi hungarian hu icelandic is igbo ig indonesian id irish ga
italian it japanese ja kannada kn kazakh kk khmer km kirundi rn korean ko kurdish ku kyrgyz ky
lao lo latin la latvian lv lithuanian lt macedonian mk malay ms malayalam ml maltese mt maori mi
marathi mr mongolian mn nepali ne norwegian no oromo om pashto ps persian fa pidgin pcm polish pl
portuguese pt punjabi pa quechua qu romanian ro russian ru serbian sr sinhala si slovak sk
slovenian sl somali so spanish es sundanese su swahili sw swedish sv tagalog tl tamil ta tatar tt
telugu te thai th tigrinya ti turkish tr ukrainian uk urdu ur uyghur ug uzbek uz vietnamese vi
welsh cy wolof wo xhosa xh yoruba yo zulu zu
"""
_words = _NAMES_AND_CODES.split()
_CODE_BY_NAME = dict(zip(_words[::2], _words[1::2], strict=True))


def normalize(tag: str) -> str:
    """Return the normal form of a language code.

    Args:
        tag: an ISO 639-1, 639-2 or 639-3 code or a BCP 47 tag, in any case.

    Raises:
        LanguageError: it is no such code, or no language has it.

    >>> normalize("eng"), normalize("iw"), normalize("pt_br")
    ('en', 'he', 'pt-BR')
    """
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    normal = None
    try:
        if _TAG.fullmatch(tag) and langcodes.tag_is_valid(tag):
            normal = langcodes.standardize_tag(tag)
    except LanguageTagError as error:
        raise LanguageError(_message(tag), hint=_hint(tag)) from error
    if normal is None:
        raise LanguageError(_message(tag), hint=_hint(tag))
    return normal


def _message(tag: str) -> str:
    return f"{quoted(tag)} is not the code of a language"


def _hint(tag: str) -> str:
    import langcodes

    name = tag.casefold()
    if name in _CODE_BY_NAME:
        return f"did you mean '{_CODE_BY_NAME[name]}'?"
    if re.fullmatch("[A-Z]", tag):
        return f"did you mean the language parameter ${tag}?"
    if re.fullmatch("[A-Za-z]{2}", tag):
        # jp, cz, dk: the code of a country instead of its language.
        unknown = langcodes.Language.get("und-ZZ").maximize().language
        spoken = langcodes.Language.get(f"und-{tag.upper()}").maximize().language
        if spoken and spoken != unknown:
            return f"did you mean '{spoken}', which is spoken in {tag.upper()}?"
    return _EXAMPLES

"""Which language a text is in, by py3langid: offline, 140 languages.

The identifier chooses among all that it knows. Restricted to the few languages of an experiment it
would call an output in a third language one of them, and the share of outputs in the target
language would say too much. It errs on short texts: of the one-line descriptions of Debian's
packages, some 45 characters, it finds 79 of 100 in Spanish, 81 in Danish, 93 in German and 98 in
French, and all but 1 of 100 of the paragraphs below them. So the same share of the references,
which are in the language, is measured beside it and says what would be perfect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ...dsl.languages import normalize
from ..errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_WHOLE: Final = {"ary": "ar", "arz": "ar", "ltg": "lv", "nb": "no", "nn": "no", "sdh": "ku"} | {
    "uzs": "uz",
    "wuu": "zh",
    "yue": "zh",
}
"""ISO 639-3's macrolanguages of labels whose wholes are labels too; langcodes knows some others."""


@dataclass(frozen=True, slots=True)
class Identified:
    """The language of a text, as the identifier calls it, and how sure it is (0 to 1)."""

    language: str
    confidence: float


def identify(texts: Sequence[str]) -> list[Identified]:
    """Say which language each text is in; `zxx`, surely, where there is no letter in it."""
    found = []
    for text in texts:
        if any(character.isalpha() for character in text):
            language, confidence = _identifier().classify(text)
            found.append(Identified(language, float(confidence)))
        else:
            found.append(Identified("zxx", 1.0))
    return found


def label_of(language: str) -> str:
    """What the identifier calls a language.

    Args:
        language: a code in any form; varieties count as their macrolanguage (nb as no, swh as sw).

    Raises:
        LanguageError: no such code. SettingsError: a language that the identifier does not know.

    >>> label_of("pt-BR"), label_of("arb")
    ('pt', 'ar')
    """
    labels = _labels()
    for form in _forms(language):
        if form in labels:
            return labels[form]
    raise SettingsError(
        f"outputs in {language!r} cannot be told from others: py3langid knows "
        f"{', '.join(sorted(labels.values()))}; leave the metric 'language' out"
    )


@cache
def is_variety(label: str, of: str) -> bool:
    """Whether a language that was identified is another, or a variety of it (`wuu` of `zh`).

    Args:
        label, of: as the identifier calls languages.

    >>> is_variety("arz", "ar"), is_variety("ar", "arz")
    (True, False)
    """
    return label == of or (label != "zxx" and of in _forms(label))


@cache
def _labels() -> dict[str, str]:
    """The identifier's labels by our codes."""
    return {_forms(label)[0]: label for label in _identifier().labels if label != "zxx"}


def _forms(language: str) -> tuple[str, ...]:
    """A language without its script and region, then what it is a variety of."""
    from langcodes import Language

    tag = Language.get(normalize(language))
    own = tag.language or language
    whole = _WHOLE.get(own) or tag.prefer_macrolanguage().language
    return own, whole or own


@cache
def _identifier() -> LanguageIdentifier:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtraError(
            "telling languages apart needs py3langid: pip install 'isogloss[lab]'"
        ) from error
    loaded: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return loaded

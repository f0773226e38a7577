"""Language codes and their normal form."""

import pytest
from isogloss.dsl.errors import LanguageError
from isogloss.dsl.languages import normalize


@pytest.mark.parametrize(
    ("tag", "normal"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("eng", "en"),
        ("deu", "de"),
        ("ger", "de"),
        ("iw", "he"),
        ("yor", "yo"),
        ("pcm", "pcm"),
        ("pt-br", "pt-BR"),
        ("pt_BR", "pt-BR"),
        ("zh-hans-cn", "zh-Hans-CN"),
        ("sr-latn", "sr-Latn"),
        ("en-Latn", "en"),
        ("x-mine", None),
        ("", None),
        ("e", None),
        ("xx", None),
        ("english", None),
        ("en-", None),
        ("-en", None),
        ("en ", None),
        ("en\n", None),
        ("*", None),
        ("én", None),
        ("en--US", None),
        ("e" * 10_000, None),
    ],
)
def test_normal_forms(tag: str, normal: str | None) -> None:
    if normal is None:
        with pytest.raises(LanguageError, match="is not the code of a language"):
            normalize(tag)
    else:
        assert normalize(tag) == normal
        assert normalize(normal) == normal


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("yoruba", "did you mean 'yo'?"),
        ("Portuguese", "did you mean 'pt'?"),
        ("jp", "did you mean 'ja', which is spoken in JP?"),
        ("cz", "did you mean 'cs', which is spoken in CZ?"),
        ("T", "did you mean the language parameter $T?"),
        ("xx", "a language is an ISO 639 or BCP 47 code, such as en, yo or pt-BR"),
        ("klingonish", "a language is an ISO 639 or BCP 47 code, such as en, yo or pt-BR"),
    ],
)
def test_hints(tag: str, hint: str) -> None:
    with pytest.raises(LanguageError) as caught:
        normalize(tag)
    assert caught.value.hint == hint

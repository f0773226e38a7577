"""Selectors and references answered by a catalogue: from what was written to which adapters.

A selector asks for the latest version of one name; what it chose, and why, is kept as evidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import langcodes

from ..errors import AmbiguousError, DslError, NotFoundError, Span, did_you_mean
from ..syntax import AllLanguages, Filter, LanguageExpression, Parameter, Selector, Tag
from ..text.query import Condition
from .catalogue import Candidate, Catalogue, Choice, Context, find_reference, label
from .chosen_languages import Bracket
from .reference import parse_reference

KIND_HEADS = ("task", "lm", "any")
_SHOWN_CANDIDATES = 8
_TELLING_FIELDS = {
    "task": "task",
    "base": "base_model",
    "base_revision": "base_revision",
    "peft": "peft_type",
    "dataset": "dataset",
    "rank": "rank",
    "steps": "steps",
    "learning_rate": "learning_rate",
    "seed": "seed",
    "name": "name",
}


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses adapters of one catalogue for one program.

    Args:
        catalogue: where to look.
        source: the program's text, for messages.
        languages: normal tag of each language parameter (`$T`).
        context: defaults for fields that a selector leaves open.
    """

    catalogue: Catalogue
    source: str
    languages: Mapping[str, str]
    context: Context

    def choose(self, selector: Selector) -> Choice:
        """The adapters of a selector: one for a single language, else one a language.

        Raises:
            NotFoundError: no adapter fits; the hint says what there is.
            AmbiguousError: several fit; the hint says how to tell them apart.
            UnsupportedError: a language function whose data is not there.
        """
        try:
            return self._choose(selector)
        except DslError as error:
            error.span = error.span or selector.span
            raise error.located(self.source) from error.__cause__

    def refer(self, text: str, span: Span) -> Choice:
        """The one adapter that a reference names.

        Raises:
            ParseError: not a reference. NotFoundError, AmbiguousError: as for selectors.
        """
        try:
            reference = parse_reference(text)
            found = find_reference(self.catalogue, reference)
        except DslError as error:
            error.span = span
            raise error.located(self.source) from error.__cause__
        why = "named by content" if reference.name is None else "named"
        if reference.name and reference.version is None and reference.digest is None:
            why = "the latest version of this name"
        if found.withdrawn:
            why += f" (withdrawn: {found.withdrawn})"
        return Choice(f'"{text}"', span, why, (found,))

    def _choose(self, selector: Selector) -> Choice:
        text = self.source[selector.span.start : selector.span.end]
        single = self._single_language(selector.languages)
        fitting = self._fitting(selector, single)
        if single is not None:
            if not fitting:
                raise self._nothing(selector, text, single)
            adapter = _only_one(fitting, text, single)
            return Choice(text, selector.span, self._why(selector, single), (adapter,))
        by_language: dict[str, list[Candidate]] = {}
        for candidate in fitting:
            by_language.setdefault(candidate.languages[0], []).append(candidate)
        bracket = Bracket(
            tuple(sorted(by_language)), self.languages, self.context.distances, self._has
        )
        chosen = sorted(bracket.languages(selector.languages))
        if not chosen:
            raise self._nothing(selector, text, None)
        missing = [language for language in chosen if language not in by_language]
        if missing:
            raise self._nothing(selector, text, missing[0])
        adapters = tuple(_only_one(by_language[language], text, language) for language in chosen)
        why = self._why(selector, ", ".join(chosen))
        return Choice(text, selector.span, why, adapters, tuple(bracket.selections))

    def _has(self, head: str) -> set[str]:
        """The languages for which a head has an adapter, in this context."""
        nowhere = Span(0, 0)
        everything = Selector(head, AllLanguages(nowhere), (), None, nowhere)
        return {item.languages[0] for item in self._fitting(everything, None)}

    def _single_language(self, languages: LanguageExpression) -> str | None:
        if isinstance(languages, Tag):
            return languages.normal
        if isinstance(languages, Parameter):
            return self.languages[languages.name]
        return None

    def _fitting(
        self, selector: Selector, language: str | None, *, withdrawn: bool = False
    ) -> list[Candidate]:
        """The versions that fit, one a name (its highest), of one language each, by name."""
        pin = selector.pin
        conditions = self._conditions(selector)
        if language is not None:
            conditions.append(("compare", "language", "=", language))
        if pin is not None and pin.kind == "version":
            conditions.append(("compare", "version", "=", int(pin.value)))
        flag: Condition = ("flag", "withdrawn")
        everything = ("and", (*conditions, flag if withdrawn else ("not", flag)))
        latest = pin is None or pin.kind == "latest"
        highest: dict[str, Candidate] = {}
        for candidate in self.catalogue.find(everything, latest=latest):
            by_digest = pin is not None and pin.kind == "digest"
            if by_digest and pin and not candidate.digest.startswith(pin.value):
                continue
            if len(candidate.languages) != 1:
                continue
            known = highest.get(candidate.name)
            if known is None or candidate.version > known.version:
                highest[candidate.name] = candidate
        return [highest[name] for name in sorted(highest)]

    def _conditions(self, selector: Selector) -> list[Condition]:
        conditions: list[Condition] = []
        stated = {item.field for item in selector.filters}
        if selector.head in ("task", "lm"):
            conditions.append(("compare", "kind", "=", selector.head))
        elif selector.head != "any":
            tasks = self.catalogue.tasks()
            if selector.head not in tasks:
                known = [*KIND_HEADS, *tasks]
                raise NotFoundError(
                    f"'{selector.head}' is neither task, lm, any nor a task in the catalogue",
                    hint=did_you_mean(selector.head, known)
                    or f"tasks in the catalogue: {', '.join(tasks) or 'none'}",
                )
            conditions.append(("compare", "kind", "=", "task"))
            conditions.append(("compare", "task", "=", selector.head))
        conditions += [_filter_condition(item) for item in selector.filters]
        if self.context.task and selector.head in ("task", "any") and "task" not in stated:
            conditions.append(("compare", "task", "=", self.context.task))
        if self.context.base and "base" not in stated:
            conditions.append(("compare", "base", "=", self.context.base))
        if self.context.peft and "peft" not in stated:
            conditions.append(("compare", "peft", "=", self.context.peft))
        return conditions

    def _why(self, selector: Selector, languages: str) -> str:
        kind = f"{selector.head} adapters" if selector.head != "any" else "adapters"
        each = "the one name" if "," not in languages else "the one name for each language"
        which = f"version {selector.pin.value}" if selector.pin else "the latest version"
        if selector.pin and selector.pin.kind == "latest":
            which = "the latest version"
        if selector.pin and selector.pin.kind == "digest":
            which = f"the version with weights {selector.pin.value}"
        return f"{which} of {each} among the {kind} for {languages}"

    def _nothing(self, selector: Selector, text: str, language: str | None) -> NotFoundError:
        """What to say when nothing fits: what there is instead."""
        there = sorted({item.languages[0] for item in self._fitting(selector, None)})
        wanted = f"for {language} " if language else ""
        if language is None:
            message = f"{text} comes to no language at all"
        else:
            message = f"no adapter {wanted}fits {text}"
        withdrawn = self._fitting(selector, language, withdrawn=True)
        if language and withdrawn:
            said = "; ".join(f"{label(item)} was withdrawn: {item.withdrawn}" for item in withdrawn)
            return NotFoundError(
                message, hint=f'{said} (it can still be named: "{label(withdrawn[0])}")'
            )
        variants = [tag for tag in there if language and _is_variant(tag, language)]
        if variants:
            return NotFoundError(
                message,
                hint=f"there is one for {', '.join(variants)}, a variant or member of it; "
                "ask for it by its own tag",
            )
        if there:
            return NotFoundError(message, hint=f"there are such adapters for: {', '.join(there)}")
        if selector.filters or selector.pin or self.context != Context():
            message += "; filters, pin and context leave no language at all"
        return NotFoundError(
            message, hint="'isogloss find' lists what is catalogued, 'isogloss add' adds to it"
        )


def _filter_condition(item: Filter) -> Condition:
    value: int | float | str
    if isinstance(item.value, Fraction):
        value = int(item.value) if item.value.denominator == 1 else float(item.value)
    else:
        value = item.value
    return ("compare", item.field, item.operator, value)


def _only_one(fitting: Sequence[Candidate], text: str, language: str) -> Candidate:
    if len(fitting) == 1:
        return fitting[0]
    shown = [_described(candidate, fitting) for candidate in fitting[:_SHOWN_CANDIDATES]]
    if len(fitting) > _SHOWN_CANDIDATES:
        shown.append(f"and {len(fitting) - _SHOWN_CANDIDATES} more")
    raise AmbiguousError(
        f"{text} fits {len(fitting)} adapters for {language}",
        hint=f"add a filter that tells them apart: {'; '.join(shown)}",
    )


def _described(candidate: Candidate, among: Sequence[Candidate]) -> str:
    """A candidate, with the filter that leaves only it."""
    for field, attribute in _TELLING_FIELDS.items():
        value = getattr(candidate, attribute, None)
        same = [item for item in among if getattr(item, attribute, None) == value]
        if value is not None and len(same) == 1:
            return f"{label(candidate)} ({field}={_filter_value(value)})"
    return label(candidate)


def _filter_value(value: object) -> str:
    text = str(value)
    bare = isinstance(value, int | float) or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", text)
    return text if bare else f'"{text}"'


def _is_variant(tag: str, wanted: str) -> bool:
    """Whether a tag is a regional variant of a language, or a member of a macrolanguage."""
    language = langcodes.Language.get(tag)
    return tag != wanted and (
        language.language == wanted or language.prefer_macrolanguage().language == wanted
    )

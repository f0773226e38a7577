"""The values that a person gives to a program's parameters: `--set l=0.6 --set T=yo`."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ..errors import CheckError, LanguageError, Span, did_you_mean, quoted
from ..languages import normalize
from ..number import exact

_SCALAR = re.compile(
    r"(?P<over>[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?:/(?P<under>[0-9]+))?"
)


@dataclass(slots=True)
class Parameters:
    """The given texts, and the values of those that the program has used so far."""

    given: Mapping[str, str]
    scalars: dict[str, Fraction] = field(default_factory=dict)
    languages: dict[str, str] = field(default_factory=dict)

    def scalar(self, name: str, span: Span) -> Fraction:
        """Return the number given for a bare name.

        Raises:
            CheckError: what is given is no number.
        """
        if name not in self.scalars:
            text = self.given[name].strip()
            found = _SCALAR.fullmatch(text)
            under = exact(found["under"], span) if found and found["under"] else Fraction(1)
            if found is None or under == 0:
                raise CheckError(
                    f"{name} stands for a number, and {quoted(text)} is given for it",
                    span=span,
                    hint=f"give it like this: --set {name}=0.6",
                )
            self.scalars[name] = exact(found["over"], span) / under
        return self.scalars[name]

    def language(self, name: str, span: Span) -> str:
        """Return the normal form of the language given for `$name`.

        Raises:
            CheckError: nothing is given for it.
            LanguageError: what is given is no language code.
        """
        if name not in self.given:
            raise CheckError(
                f"no language is given for ${name}",
                span=span,
                hint=f"give it with --set {name}=..., for example --set {name}=yo",
            )
        if name not in self.languages:
            text = self.given[name].strip()
            try:
                self.languages[name] = normalize(text)
            except LanguageError as error:
                message = f"${name} stands for a language, and {error.message}"
                raise LanguageError(message, span=span, hint=error.hint) from error
        return self.languages[name]

    def check_unused(self, bindings: Collection[str]) -> None:
        """Refuse values that the program has no use for.

        Raises:
            CheckError: a name is given that is no parameter of the program.
        """
        used = {*self.scalars, *self.languages}
        for name in self.given:
            if name in used:
                continue
            if name in bindings:
                message = f"{quoted(name)} is given a value, but the program itself defines it"
                raise CheckError(message, hint="leave out the one or the other")
            shown = ", ".join([*self.scalars, *(f"${one}" for one in self.languages)])
            known = f"its parameters are {shown}" if shown else "it has no parameters"
            raise CheckError(
                f"{quoted(name)} is given a value, but the program does not use it",
                hint=did_you_mean(name, used) or known,
            )

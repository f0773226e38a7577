"""The syntax tree: what a person wrote, with the place of every part.

Equality ignores the places, and the spelling of numbers: two trees are equal when they mean the
same in the same structure. Sums and products are n-ary, so a long sum is a flat node.
"""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from .errors import Span

SetOperator: TypeAlias = Literal["|", "&", "-"]
FilterOperator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", "~"]
PinKind: TypeAlias = Literal["version", "latest", "digest"]


@dataclass(frozen=True, slots=True)
class Number:
    """An exact number: 0.1 is 1/10. `text` is the number as it was written."""

    value: Fraction
    text: str = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A bare word: a binding, a scalar parameter, or a word or language that a function takes."""

    name: str
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A language parameter, written `$T`; `name` is without the dollar."""

    name: str
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A text in quotes: a reference where an adapter is expected, else an argument."""

    value: str
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Tag:
    """A language code: `text` as it was written, `normal` in its normal form."""

    text: str
    normal: str
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class AllLanguages:
    """The star in `task[*]`: every language that has an adapter."""

    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class LanguageSet:
    """Two or more operands joined by one operator: union `|`, intersection `&`, difference `-`.

    With "-" every operand after the first is taken away from the first.
    """

    operator: SetOperator
    operands: tuple["LanguageExpression", ...]
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition in a selector: `steps>=5000`. "~" means: contains, ignoring case."""

    field: str
    operator: FilterOperator
    value: Fraction | str
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Pin:
    """Which version a selector means.

    `value` is the number ("3") of a version, "latest", or the prefix (6 to 64 lower-case
    hexadecimal digits) of a digest.
    """

    kind: PinKind
    value: str
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Selector:
    """`task[en, steps>=5000]@v3`: adapters by kind or task (`head`), language, filters, pin."""

    head: str
    languages: "LanguageExpression"
    filters: tuple[Filter, ...]
    pin: Pin | None
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class SumTerm:
    """A term of a sum; `negative` when it is taken away. The first term is never negative."""

    negative: bool
    expression: "Expression"
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Sum:
    """Two or more terms added or taken away, in the order in which they were written."""

    terms: tuple[SumTerm, ...]
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class ProductFactor:
    """A factor of a product; `divide` when it divides. The first factor never divides."""

    divide: bool
    expression: "Expression"
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Product:
    """Two or more factors multiplied or divided, in the order in which they were written."""

    factors: tuple[ProductFactor, ...]
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Negative:
    """Unary minus. It binds tighter than `*`: `-a*b` is `(-a)*b`."""

    operand: "Expression"
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a call: positional when `name` is None."""

    name: str | None
    value: "Expression"
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`mean(task[en], task[ru])`; inside brackets a language function: `related(yo)`."""

    function: str
    arguments: tuple[Argument, ...]
    span: Span = dataclasses.field(compare=False)


Expression: TypeAlias = (
    Number | Name | Parameter | Text | Selector | Sum | Product | Negative | Call | Tag
)
"""What has a value. A Tag stands here only as an argument of a language function."""

LanguageExpression: TypeAlias = Tag | AllLanguages | Parameter | LanguageSet | Call
"""What stands in the square brackets of a selector. A Call is that of a language function; its
arguments are Tag, Parameter, Number, Text or, for a word or an unknown function, Name."""


@dataclass(frozen=True, slots=True)
class Binding:
    """`a = task[en];` before the expression of a program."""

    name: str
    expression: Expression
    span: Span = dataclasses.field(compare=False)


@dataclass(frozen=True, slots=True)
class Program:
    """Bindings, then the expression that the program means; `source` is the whole text."""

    bindings: tuple[Binding, ...]
    expression: Expression
    source: str = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)

"""What a person says of an expression besides its text, and the request that it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict, Unpack

if TYPE_CHECKING:
    from .composition import Request


class Meaning(TypedDict, total=False):
    """What bears on what an expression means, and on how it is carried out.

    Attributes:
        parameters: values of the program's parameters.
        semantics: what `+` means: `elementwise` (default), `exact`, `onesided` or `peft-linear`.
        dtype: of the result, `float32`, `float16` or `bfloat16`; default that of the inputs.
        task, base, peft: what selectors mean that do not say it themselves.
        distances: between languages: `uriel` (default), `lang2vec`, or a TSV file.
        memory: the most that it may take, in bytes or as `"1GiB"`; default 256 MiB.
    """

    parameters: Mapping[str, str] | None
    semantics: str | None
    dtype: str | None
    task: str | None
    base: str | None
    peft: str | None
    distances: str | None
    memory: int | str | None


def request_of(expression: str, **meaning: Unpack[Meaning]) -> Request:
    """The request that an expression and its meaning come to.

    Raises:
        CheckError: `memory` is no size.
    """
    from ..dsl.meaning.catalogue import Context
    from .composition import Request

    return Request(
        expression,
        dict(meaning.get("parameters") or {}),
        meaning.get("semantics"),
        meaning.get("dtype"),
        Context(*(meaning.get(name) for name in ("task", "base", "peft", "distances"))),  # type: ignore[arg-type]
        memory_of(meaning.get("memory")),
    )


def memory_of(memory: int | str | None) -> int:
    """The bytes of memory that are meant; 256 MiB for None.

    Raises:
        CheckError: it is no size.
    """
    from ..dsl.sizes import DEFAULT_MEMORY_BYTES, read_size

    return DEFAULT_MEMORY_BYTES if memory is None else read_size(str(memory))

"""References: one adapter by name and version, or by content (`name@v3`, `sha256:ab12...`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ParseError, quoted

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?"
_BY_NAME = re.compile(
    rf"(?P<name>{_NAME})(?:@(?:v(?P<version>[1-9][0-9]{{0,8}})|(?P<latest>latest)"
    r"|sha256:(?P<digest>[0-9a-f]{6,64})))?"
)
_SHORT_DIGEST = re.compile(r"sha256:[0-9a-fA-F]{0,5}$")
_BY_CONTENT = re.compile(r"sha256:(?P<digest>[0-9a-f]{6,64})(?::(?P<config>[0-9a-f]{6,64}))?")


@dataclass(frozen=True, slots=True)
class AdapterReference:
    """One adapter: by name (`version` None means the latest), or by digest prefixes."""

    name: str | None
    version: int | None = None
    digest: str | None = None
    config: str | None = None

    def __str__(self) -> str:
        if self.name is None:
            return f"sha256:{self.digest}" + (f":{self.config}" if self.config else "")
        if self.digest is not None:
            return f"{self.name}@sha256:{self.digest}"
        return self.name if self.version is None else f"{self.name}@v{self.version}"


def is_adapter_name(name: str) -> bool:
    """Whether a text can name an adapter: `name` or `owner/name`, of letters, digits, `._-`.

    >>> is_adapter_name("acme/xlsum-en"), is_adapter_name("../etc")
    (True, False)
    """
    return re.fullmatch(_NAME, name) is not None


def parse_reference(text: str) -> AdapterReference:
    """Read a reference.

    >>> parse_reference("acme/xlsum-en@v3").version
    3

    Raises:
        ParseError: the text is not a reference.
    """
    by_content = _BY_CONTENT.fullmatch(text)
    if by_content:
        return AdapterReference(None, None, by_content["digest"], by_content["config"])
    by_name = _BY_NAME.fullmatch(text)
    if by_name is None and (short := _SHORT_DIGEST.search(text)):
        raise ParseError(
            f"{quoted(short[0])} is too short to name an adapter",
            hint="a digest prefix has 6 to 64 hexadecimal digits, as in sha256:9f86d081884c",
        )
    if by_name is None:
        raise ParseError(
            f"{quoted(text)} is not a reference to an adapter",
            hint="write name, owner/name, name@v3, name@latest, name@sha256:PREFIX or sha256:PREFIX"
            " (a digest prefix has at least 6 hexadecimal digits)",
        )
    version = int(by_name["version"]) if by_name["version"] else None
    return AdapterReference(by_name["name"], version, by_name["digest"])

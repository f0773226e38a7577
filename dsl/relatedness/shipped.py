"""The tables that this package carries with it."""

from pkgutil import get_data


def rows(name: str) -> list[list[str]]:
    """Return the rows of a shipped TSV file, without its comments and its line of headings."""
    # importlib.resources would take longer to import than all else here.
    text = (get_data(__package__, name) or b"").decode("utf-8")
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return lines[1:]

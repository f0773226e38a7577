"""Arbitrary text inside Markdown: in fences, in code spans and in cells that it cannot leave."""

from __future__ import annotations

import re


def fenced(text: str, language: str = "") -> str:
    """A code block around a text, with a fence longer than any run of backticks in it.

    >>> print(fenced("a + b"))
    ```
    a + b
    ```
    """
    fence = "`" * max(3, _longest_run(text) + 1)
    lines = "\n".join(printable(line) for line in text.strip("\n").splitlines())
    return f"{fence}{language}\n{lines}\n{fence}"


def code(text: str) -> str:
    """A code span of one line, safe in a table's cell too.

    >>> code("a`b|c")
    '`` a`b\\\\|c ``'
    """
    line = printable(" ".join(text.split())).replace("|", "\\|")
    fence = "`" * (_longest_run(line) + 1)
    blank = " " if len(fence) > 1 else ""
    return f"{fence}{blank}{line}{blank}{fence}" if line else ""


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def printable(line: str) -> str:
    """A line with a mark in place of what ends lines, steers terminals or turns writing around."""
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)

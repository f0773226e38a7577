"""The compact table of URIEL's facts: a few bytes a language, read without numpy.

A table is one block of bytes: a magic line, a checksum of all that follows, a line of JSON (what it
was built from), then the columns one after the other. It is read as a whole (5 MB) and a
language's row is decoded only when it is asked for, so that a process that asks about twenty
languages pays for twenty.
"""

import json
import math
import struct
from functools import cached_property
from zlib import crc32

FORMAT = 1
"""The version of this layout; a table of another one is built again."""
MAGIC = f"isogloss-uriel {FORMAT}\n".encode()
FEATURES = 98
"""How many binary features URIEL's syntactic distance compares."""
POINTS = 299
"""How many fixed points on the Earth a language's place is given by."""
DEPTH = 15
"""How many ancestors a language can have at most."""
NONE = 0xFFFF
"""What stands for "no ancestor" and "no place"."""

_SYNTAX = (FEATURES + 7) // 8
_WIDTHS = (3, _SYNTAX, 1, 2 * DEPTH, 2 * 4, 2 * POINTS)
_LINEAGE = struct.Struct(f"<{DEPTH}H")
_PLACE = struct.Struct("<2f")
_GEOGRAPHY = struct.Struct(f"<{POINTS}H")


class Snapshot:
    """The facts about every language, by its ISO 639-3 code.

    Args:
        content: a table as `lang2vec_data.build` makes it.

    Attributes:
        key: what the table was built from.
        version: the version of lang2vec whose data it holds.

    Raises:
        ValueError: the content is damaged or not such a table.
    """

    __slots__ = ("__dict__", "_content", "_starts", "key", "version")

    def __init__(self, content: bytes) -> None:
        if not content.startswith(MAGIC):
            raise ValueError("not a table of this format")
        checked = content.index(b"\n", len(MAGIC)) + 1
        if crc32(memoryview(content)[checked:]) != int(content[len(MAGIC) : checked]):
            raise ValueError("a damaged table")
        start = content.index(b"\n", checked) + 1
        header = json.loads(content[checked:start])
        self.key: str = header["key"]
        self.version: str = header["version"]
        self._content = content
        self._starts = [start]
        for width in _WIDTHS:
            self._starts.append(self._starts[-1] + width * header["languages"])

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Every language's code, sorted."""
        text = self._content[self._starts[0] : self._starts[1]].decode("ascii")
        return tuple(text[start : start + 3] for start in range(0, len(text), 3))

    @cached_property
    def _row_by_code(self) -> dict[str, int]:
        return {code: row for row, code in enumerate(self.codes)}

    @cached_property
    def _families(self) -> list[str]:
        return self._content[self._starts[6] :].decode().split("\n")

    def __contains__(self, code: object) -> bool:
        return code in self._row_by_code

    def syntax(self, code: str) -> int:
        """Return the language's features as bits: one where any source says yes."""
        start = self._start(1, code)
        return int.from_bytes(self._content[start : start + _SYNTAX], "little")

    def known(self, code: str) -> int:
        """Return how many of the syntactic features any source says something about."""
        return self._content[self._start(2, code)]

    def lineage(self, code: str) -> tuple[str, ...]:
        """Return the language's ancestors, the family first; empty where none is recorded."""
        nodes = _LINEAGE.unpack_from(self._content, self._start(3, code))
        return tuple(self._families[node] for node in nodes if node != NONE)

    def place(self, code: str) -> tuple[float, float] | None:
        """Return latitude and longitude in degrees, good to about a quarter of a degree."""
        latitude, longitude = _PLACE.unpack_from(self._content, self._start(4, code))
        return None if math.isnan(latitude) else (latitude, longitude)

    def geography(self, code: str) -> tuple[int, ...] | None:
        """Return the distances to the fixed points in units of 1/10,000, or None."""
        row = _GEOGRAPHY.unpack_from(self._content, self._start(5, code))
        return None if row[0] == NONE else row

    def _start(self, column: int, code: str) -> int:
        return self._starts[column] + _WIDTHS[column] * self._row_by_code[code]

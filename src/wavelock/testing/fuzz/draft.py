"""A module taken apart into its sections, so that entries can be added to them."""

from __future__ import annotations

from typing import Final

from wavelock.core.form.binary import read_u32
from wavelock.core.form.emit import function_body, name, section, unsigned, vector
from wavelock.core.form.sections import frame
from wavelock.core.form.sniff import MAGIC, VERSION
from wavelock.core.form.types import FunctionType

TYPES, IMPORTS, FUNCTIONS, TABLES, MEMORIES, GLOBALS = 1, 2, 3, 4, 5, 6
EXPORTS, START, ELEMENTS, CODE, DATA, DATA_COUNT = 7, 8, 9, 10, 11, 12
_ORDER: Final = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11)


class Draft:
    """Sections by their ids; custom ones are left out. Raises FormError for what is no module."""

    def __init__(self, data: bytes = MAGIC + VERSION) -> None:
        found = frame(data)
        self.sections = {each.code: data[each.start : each.end] for each in found.sections if each.code}

    def count(self, code: int) -> int:
        """The entries of a section that is a vector."""
        content = self.sections.get(code)
        return read_u32(content, 0)[0] if content else 0

    def _entries(self, code: int) -> bytes:
        content = self.sections.get(code)
        return content[read_u32(content, 0)[1] :] if content else b""

    def add(self, code: int, entry: bytes) -> int:
        """Adds an entry behind a section's others; answers its index."""
        index = self.count(code)
        self.sections[code] = vector(index + 1, self._entries(code), entry)
        return index

    def add_first(self, code: int, entries: list[bytes]) -> None:
        """Adds entries before a section's others."""
        if entries:
            self.sections[code] = vector(self.count(code) + len(entries), *entries, self._entries(code))

    def add_function(self, export: str, kind: FunctionType, code: bytes, locals_: bytes = b"") -> int:
        """Adds an exported function; answers its index. code: without its `end`; locals_: value types."""
        params, results = vector(len(kind.params), kind.params), vector(len(kind.results), kind.results)
        index = self.add(FUNCTIONS, unsigned(self.add(TYPES, b"\x60" + params + results)))
        self.add(CODE, function_body([(1, each) for each in locals_], code + b"\x0b"))
        self.add(EXPORTS, name(export) + b"\x00" + unsigned(index))
        return index

    def written(self) -> bytes:
        """The module."""
        parts = (section(code, self.sections[code]) for code in _ORDER if code in self.sections)
        return MAGIC + VERSION + b"".join(parts)

"""A table of functions: their indexes, NULL where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wavelock.core.abi import Fault
from wavelock.wasm_engines.interface import Trap

NULL: Final = -1
"""The null reference. References are integers, as all values are: the function's index."""


class Table:
    """A table of `minimum` entries that may grow to `maximum`. Every access is checked before anything changes."""

    def __init__(self, minimum: int, maximum: int) -> None:
        self.entries = [NULL] * minimum
        self._maximum = maximum

    def check(self, index: int, length: int = 1) -> None:
        """Traps unless [index, index + length) is inside."""
        check_range(self.entries, index, length)

    def get(self, index: int) -> int:
        """table.get."""
        self.check(index)
        return self.entries[index]

    def set(self, index: int, reference: int) -> None:
        """table.set."""
        self.check(index)
        self.entries[index] = reference

    def fill(self, index: int, reference: int, length: int) -> None:
        """table.fill."""
        self.check(index, length)
        self.entries[index : index + length] = [reference] * length

    def write(self, index: int, source: Sequence[int], start: int, length: int) -> None:
        """table.init and table.copy: entries of a segment or a table; the two places may overlap."""
        check_range(source, start, length)
        self.check(index, length)
        self.entries[index : index + length] = source[start : start + length]

    def grow(self, reference: int, length: int) -> int:
        """The number of entries before; -1 where it would pass the maximum."""
        before = len(self.entries)
        if before + length > self._maximum:
            return -1
        self.entries.extend([reference] * length)
        return before


def check_range(entries: Sequence[int], start: int, length: int) -> None:
    """Traps unless [start, start + length) is inside of a table or an element segment."""
    if start + length > len(entries):
        raise Trap(Fault.TABLE_BOUNDS)

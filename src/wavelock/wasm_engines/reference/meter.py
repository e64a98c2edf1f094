"""What may be used, and what things cost: the rules of the deterministic form, from its tables of costs alone.

A function's code is cut into segments; what one costs is taken off when it begins. What an operand asks for (bytes,
pages, entries) is taken off right before its operator. Fuel may so fall below zero: whether it has is looked at where a
function begins, at the head of each loop, after what an operand costs, and at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from wavelock.core.abi import Fault
from wavelock.core.form import costs
from wavelock.wasm_engines.interface import Trap


class Segment:
    """Instructions that are paid for at once. Its parts of a unit grow while the function is decoded."""

    __slots__ = ("checks", "parts")

    def __init__(self, units: int = 0, *, checks: bool = False) -> None:
        """units: what it costs from the beginning; checks: whether fuel below zero ends the call here."""
        self.parts = units * costs.PARTS
        self.checks = checks

    @property
    def cost(self) -> int:
        """Units, rounded down."""
        return self.parts // costs.PARTS


class Meter:
    """Fuel and depth of one machine."""

    def __init__(self, stack_bytes: int) -> None:
        self.stack_bytes = stack_bytes
        self.budget = 0
        self.fuel = 0
        """Not used yet; below zero where more was used than there was."""
        self.depth = 0
        """Weight of the calls that are open."""
        self.deepest = 0
        """The largest depth since the budget was set."""

    def reset(self, fuel: int) -> None:
        """A new budget."""
        self.budget = self.fuel = fuel
        self.depth = self.deepest = 0

    def forfeit(self) -> None:
        """After a trap all of the budget counts as used."""
        self.fuel = 0

    @property
    def used(self) -> int:
        """Fuel used since the budget was set."""
        return self.budget - self.fuel

    def charge(self, cost: int) -> None:
        """Takes fuel, whether it is there or not."""
        self.fuel -= cost

    def check(self) -> None:
        """Traps where more was taken than there was."""
        if self.fuel < 0:
            raise Trap(Fault.FUEL)

    def enter(self, weight: int) -> None:
        """A call begins."""
        if self.depth + weight > self.stack_bytes:
            raise Trap(Fault.DEPTH)
        self.depth += weight
        self.deepest = max(self.deepest, self.depth)

    def leave(self, weight: int) -> None:
        """A call ends."""
        self.depth -= weight


def _bytes(length: int) -> int:
    return length >> costs.BYTE_SHIFT


def _pages(count: int) -> int:
    return count * costs.PAGE_UNITS


def _entries(count: int) -> int:
    return count * costs.ENTRY_UNITS


OPERAND_COSTS: Final[Mapping[str, Callable[[int], int]]] = {
    "memory.fill": _bytes,
    "memory.copy": _bytes,
    "memory.init": _bytes,
    "memory.grow": _pages,
    "table.fill": _entries,
    "table.copy": _entries,
    "table.init": _entries,
    "table.grow": _entries,
}
"""What the last operand of these operators costs besides."""


def entry_cost(declared_locals: int) -> int:
    """What entering a function costs besides its first segment."""
    return declared_locals >> costs.LOCALS_SHIFT


def frame_weight(values: int, code_bytes: int, *, wide: bool) -> int:
    """What a call weighs. values: parameters, locals and the most operands at a time; wide: a v128 is among them."""
    width = costs.WIDE_VALUE_BYTES if wide else costs.VALUE_BYTES
    return costs.FRAME_BYTES + values * width + (code_bytes >> costs.CODE_SHIFT)


def leaf_weight(weight: int) -> int:
    """The same for a function that calls nothing: a light one is not counted."""
    return weight if weight > costs.LEAF_BYTES else 0

"""What the pass adds to a module: exports under names that no agent's own export may have.

An engine needs nothing else of the deterministic form: it calls these, and reads two globals after a trap.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = "wavelock:"
"""A module that exports a name with this prefix is refused."""

BUDGET: Final = "wavelock:budget"
"""(fuel i64) -> (): what may be used from here on. Resets depth and the two globals. Before any other call."""
LEFT: Final = "wavelock:left"
"""() -> i64: fuel not used yet. Works after a trap, too."""
START: Final = "wavelock:start"
"""(fuel i64) -> (record i32, left i64): a budget, the start function, `_initialize`, and `wavelock_abi`.

Of a module without the ABI's exports: the start function alone, and a record of 0.
"""
TURN: Final = "wavelock:turn"
"""(inbox_len i32, fuel i64) -> (result i32, left i64): a budget and `wavelock_turn`. Only with the ABI's exports.

FAULT is left alone: an instance that has one takes no turn. With negative fuel no turn is taken: what one begins with
is read, so that memory brings it, and the answer means nothing.
"""

FAULT: Final = "wavelock:fault"
"""An i32 global: after a trap that the pass itself raised, its `core.abi.Fault`; HOST_MEMORY; else 0."""
REFUSED: Final = "wavelock:refused"
"""An i32 global: 1 once a growth of the memory was refused since the budget was set, because of the limit."""
HOST_MEMORY: Final = -1
"""In FAULT: a growth within the limits that the host could not serve: an environment failure, no agent's fault."""

GET: Final = "wavelock:get"
"""(word i32) -> i64: one word of hidden state: mutable globals as bits, then dropped segments."""
SET: Final = "wavelock:set"
"""(word i32, value i64) -> (): sets one word; a segment's word set to 1 drops the segment."""
GROW: Final = "wavelock:grow"
"""(pages i32) -> i32: memory.grow without a charge, to restore a state. Only where the module has a memory."""
TABLE_SIZE: Final = "wavelock:table_size"
"""(table i32) -> i32: entries. Only where the module can change a table, as the two below."""
TABLE_GET: Final = "wavelock:table_get"
"""(table i32, entry i32, type i32) -> i32: the function's index; -1 for null; traps for a function of another type."""
TABLE_SET: Final = "wavelock:table_set"
"""(table i32, entry i32, function i32) -> (): puts a function (-1: null) there; grows the table if need be."""

"""What an operator costs, in units of fuel: one table, the same for every engine.

The costs follow what machine code does, roughly: a unit is one simple instruction. They are part of the
deterministic form; to change one is a new FORM_VERSION. `docs/fuel.md` explains them to users.
"""

from __future__ import annotations

from typing import Final

from wavelock.core.form.operators import BY_CODE, Operator

PARTS: Final = 8
"""Costs are kept in eighths of a unit. What a segment costs is their sum, rounded down."""
FREE: Final = frozenset(("unreachable", "nop", "block", "loop", "else", "end", "drop", "return", "atomic.fence"))
"""What becomes no instruction, or ends the function. Every loop and every recursion passes a branch or a call."""
MOVES: Final = frozenset(("local.get", "local.set", "local.tee", "i32.const", "i64.const", "f32.const", "f64.const"))
"""What compilers mostly turn into nothing costs an eighth."""
_DIVISION: Final = 4
COSTS: Final = {
    "call": 4,
    "call_indirect": 8,
    "memory.grow": 64,
    "memory.fill": 8,
    "memory.copy": 8,
    "memory.init": 8,
    "table.grow": 64,
    "table.fill": 8,
    "table.copy": 8,
    "table.init": 8,
    **{
        operator.name: _DIVISION
        for operator in BY_CODE.values()
        if operator.name.partition(".")[2] in ("div", "div_s", "div_u", "rem_s", "rem_u", "sqrt")
    },
}
"""Operators that cost more than one unit, before what their operand costs."""

BYTE_SHIFT: Final = 3
"""memory.fill, memory.copy and memory.init also cost their length in bytes, unsigned, shifted right by this."""
PAGE_UNITS: Final = 4096
"""memory.grow also costs this for each page asked for, granted or not."""
ENTRY_UNITS: Final = 1
"""table.grow, table.fill, table.copy and table.init also cost this for each entry."""
LOCALS_SHIFT: Final = 3
"""Entering a function costs the number of its declared locals (not parameters) shifted right by this."""

FRAME_BYTES: Final = 64
"""What a call weighs in the depth limit besides its values."""
VALUE_BYTES: Final = 8
"""What each parameter, local and operand weighs."""
WIDE_VALUE_BYTES: Final = 16
"""The same in a function with a v128 among its parameters or locals, or as an operand of its live code."""
CODE_SHIFT: Final = 1
"""A call also weighs its function's code in bytes shifted right by this: compilers keep values alive, and spill them,
that the operand stack does not show."""
LEAF_BYTES: Final = 4096
"""A function that calls nothing and weighs no more than this is not counted: at most one such frame is on the stack."""


def cost(operator: Operator) -> int:
    """Eighths of a unit that an operator costs before what its operand costs."""
    if operator.name in FREE:
        return 0
    return 1 if operator.name in MOVES else COSTS.get(operator.name, 1) * PARTS

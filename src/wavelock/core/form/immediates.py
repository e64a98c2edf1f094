"""The kinds of immediates: the contract between the table of operators and what decodes code."""

from __future__ import annotations

from enum import IntEnum


class Immediate(IntEnum):
    """What follows an opcode, and what `instructions` hands on for it."""

    NONE = 0
    """Nothing; None."""
    INDEX = 1
    """One u32: a label, local, global, function, table or segment; an int."""
    BLOCK = 2
    """A block type: -64 for none, a value type less 128, or a type's index; an int."""
    MEMARG = 3
    """(alignment exponent, offset)."""
    I32 = 4
    I64 = 5
    """A signed LEB128 integer; an int."""
    F32 = 6
    F64 = 7
    V128 = 8
    """The constant's own bytes, so that no NaN is touched."""
    LABELS = 9
    """br_table: the labels, the default last; a tuple."""
    INDEX_PAIR = 10
    """Two u32: (type, table), (segment, table), (table, table)."""
    MEMORY = 11
    """One zero byte, the memory's index; None."""
    MEMORY_PAIR = 12
    """Two zero bytes; None."""
    SEGMENT_MEMORY = 13
    """A data segment's index, then a zero byte; an int."""
    TYPES = 14
    """select's value types; a tuple of their codes."""
    HEAP = 15
    """ref.null's heap type; an int, its code."""
    LANE = 16
    """A lane's index; an int."""
    MEMARG_LANE = 17
    """(alignment exponent, offset, lane)."""
    LANES = 18
    """i8x16.shuffle's sixteen lanes; bytes."""
    FENCE = 19
    """One zero byte, no memory's index; None."""
    UNREAD = 20
    """Immediates of refused operators, which nothing reads."""

"""What a module begins with: globals' values, data and element segments. The form's reader leaves them as spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wavelock.core.form.binary import Reader
from wavelock.core.form.decode import Value, instructions
from wavelock.core.form.entities import read_global_type
from wavelock.core.form.module import Module, Segment, SegmentMode
from wavelock.core.form.operators import END, Operator
from wavelock.wasm_engines.reference.tables import NULL

_GLOBALS: Final = 6
_CONSTANTS_FOLLOW = 4


@dataclass(frozen=True)
class Data:
    """A data segment; offset: where instantiation copies an active one to."""

    mode: SegmentMode
    offset: int
    content: bytes


@dataclass(frozen=True)
class Elements:
    """An element segment: functions' indexes, or NULL."""

    mode: SegmentMode
    table: int
    offset: int
    entries: tuple[int, ...]


def constant(operator: Operator, value: Value) -> int:
    """The value of a constant instruction: bits, or a reference."""
    if operator.name == "ref.null":
        return NULL
    if isinstance(value, bytes):
        return int.from_bytes(value, "little")
    assert isinstance(value, int)
    return value & 0xFFFFFFFF if operator.name == "i32.const" else value & 0xFFFFFFFFFFFFFFFF


def initial_globals(module: Module) -> list[int]:
    """The globals' first values."""
    section = module.section(_GLOBALS)
    if section is None:
        return []
    reader = Reader(module.data, section.start, section.end, "the global section")
    return [_global(reader) for _ in range(reader.u32())]


def _global(reader: Reader) -> int:
    read_global_type(reader)
    return _expression(reader)


def _expression(reader: Reader) -> int:
    """A constant expression: one constant."""
    found = 0
    for offset, operator, value in instructions(reader.data, reader.position, reader.end):
        reader.position = offset + 1
        if operator is not END:
            found = constant(operator, value)
    return found


def data_segments(module: Module) -> list[Data]:
    """All data segments."""
    return [_data(module, segment) for segment in module.data_segments]


def _data(module: Module, segment: Segment) -> Data:
    reader = Reader(module.data, segment.start, segment.end, "a data segment")
    flags = reader.u32()
    if flags == 2:
        reader.u32()  # the memory's index: there is one memory
    offset = _expression(reader) if segment.mode is SegmentMode.ACTIVE else 0
    return Data(segment.mode, offset, reader.raw(reader.u32()))


def element_segments(module: Module) -> list[Elements]:
    """All element segments."""
    return [_elements(module, segment) for segment in module.elements]


def _elements(module: Module, segment: Segment) -> Elements:
    """Flags: bit 0, not active; bit 1, declared or with a table's index; bit 2, constants instead of indexes."""
    reader = Reader(module.data, segment.start, segment.end, "an element segment")
    flags = reader.u32()
    table = offset = 0
    if segment.mode is SegmentMode.ACTIVE:
        table = reader.u32() if flags & 2 else 0
        offset = _expression(reader)
    if flags & 3:
        reader.byte()  # the kind or type of the entries: functions
    entries = (_expression(reader) if flags & _CONSTANTS_FOLLOW else reader.u32() for _ in range(reader.u32()))
    return Elements(segment.mode, table, offset, tuple(entries))

"""Operands, variables, memory, tables and atomics: what their operators check, and what stands in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wavelock.core.form import limits
from wavelock.core.form.binary import FormError
from wavelock.core.form.decode import Value
from wavelock.core.form.emit import signed
from wavelock.core.form.function import ANY, I32, FunctionPass, Handler
from wavelock.core.form.module import GlobalType
from wavelock.core.form.nans import LANES_OF
from wavelock.core.form.operands import give_fuel, index_below
from wavelock.core.form.steps import Step
from wavelock.core.form.types import FUNCREF, VALUE_TYPES

_I32: Final = bytes((I32,))
_REF: Final = bytes((FUNCREF,))


# ---- operands, variables ----


def _drop(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.nans.forget(len(walk.stack) - 1)
    walk.pop_any(offset, step)


def select(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    """Without a type: of two numbers or two vectors alike."""
    walk.nans.consume(len(walk.stack) - 3, None)
    walk.pop(_I32, offset, step)
    second, first = walk.pop_any(offset, step), walk.pop_any(offset, step)
    if FUNCREF in (first, second) or (first != second and ANY not in (first, second)):
        names = " and ".join(VALUE_TYPES.get(code, "any") for code in (first, second))
        raise FormError(offset, f"select: found {names}, expected two numbers or two vectors of one type")
    walk.stack.append(first or second)


def select_typed(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    assert isinstance(value, tuple)
    walk.nans.consume(len(walk.stack) - 3, None)
    walk.pop(bytes((value[0], value[0], I32)), offset, step)
    walk.stack.append(value[0])


def _local(walk: FunctionPass, value: Value, offset: int) -> int:
    assert isinstance(value, int)
    if value >= len(walk.local_types):
        raise walk.no_local(offset, value)
    return value


def _local_set(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    local = _local(walk, value, offset)
    if walk.local_types[local] in LANES_OF and not walk.edits.muted:
        walk.nans.written(len(walk.stack) - 1, local, walk.was_number)
    walk.pop(walk.local_types[local : local + 1], offset, step)


def _local_tee(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _local_set(walk, step, value, offset)
    local = _local(walk, value, offset)
    walk.stack.append(walk.local_types[local])
    if walk.local_types[local] in LANES_OF:
        walk.after = walk.read_local(local)


def _global(walk: FunctionPass, value: Value, offset: int) -> GlobalType:
    return walk.module.globals[index_below(value, len(walk.module.globals), "global", offset)]


def _global_get(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.push(bytes((_global(walk, value, offset).value_type,)))


def _global_set(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    found = _global(walk, value, offset)
    if not found.mutable:
        raise FormError(offset, f"found global.set of the immutable global {value!s}")
    walk.nans.consume(len(walk.stack) - 1, None)
    walk.pop(bytes((found.value_type,)), offset, step)


def lane(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    """Operators with a lane, of a vector in a register or in memory, and the shuffle of two vectors' lanes."""
    if isinstance(value, tuple):
        if value[0] > step.alignment or not walk.module.memories:
            raise walk.bad_memarg(offset, step, value)
        lane, lanes = value[2], 16 >> step.alignment
    elif isinstance(value, bytes):
        lane, lanes = max(value), 32
    else:
        assert isinstance(value, int)
        lane, lanes = value, int(step.operator.name.partition("x")[2].partition(".")[0])
    if lane >= lanes:
        raise FormError(offset, f"{step.operator.name}: found the lane {lane}, expected one below {lanes}")
    walk.nans.consume(len(walk.stack) - len(step.pops), None)
    walk.pop(step.pops, offset, step)
    walk.push(step.pushes)
    walk.wide |= not walk.edits.muted


# ---- memory, tables ----


def _memory(walk: FunctionPass, step: Step, offset: int) -> None:
    if not walk.module.memories:
        raise FormError(offset, f"{step.operator.name} without a memory")


def _memory_size(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _memory(walk, step, offset)
    walk.push(step.pushes)


def _instead(walk: FunctionPass, code: bytes, offset: int) -> None:
    """Other code in place of the operator at hand."""
    edit = walk.edits.insert(offset, code)

    def resume(after: int) -> None:
        edit.resume = after

    walk.after = resume


def _memory_grow(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _memory(walk, step, offset)
    walk.pop(step.pops, offset, step)
    walk.push(step.pushes)
    give_fuel(walk, offset)
    _instead(walk, walk.additions.call("grow"), offset)


def _charge_operand(walk: FunctionPass, helper: str, offset: int) -> None:
    """The operand on top says how much the operator will cost; the helper charges it and gives it back."""
    give_fuel(walk, offset)
    walk.edits.insert(offset, walk.additions.call(helper))


def _bulk_memory(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _memory(walk, step, offset)
    if isinstance(value, int):
        _data_segment(walk, value, offset)
    walk.pop(step.pops, offset, step)
    _charge_operand(walk, "charge_bytes", offset)


def _data_segment(walk: FunctionPass, value: int, offset: int) -> None:
    if walk.module.data_count is None:
        raise FormError(offset, "found a data segment's index in code, expected a data count section before the code")
    index_below(value, walk.module.data_count, "data segment", offset)


def _data_drop(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    assert isinstance(value, int)
    _data_segment(walk, value, offset)
    _drop_segment(walk, "data", value, offset)


def _elem_drop(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    segment = index_below(value, len(walk.module.elements), "element segment", offset)
    _drop_segment(walk, "element", segment, offset)


def _drop_segment(walk: FunctionPass, kind: str, segment: int, offset: int) -> None:
    if walk.edits.muted:
        return
    walk.edits.insert(offset, walk.additions.note_dropped(kind, segment))
    if walk.additions.layout.dropped > limits.DROPPED_SEGMENTS:
        most = limits.DROPPED_SEGMENTS
        raise FormError(offset, f"found code that drops more than {most} segments, expected at most that many")


def _table(walk: FunctionPass, value: Value, offset: int) -> int:
    return index_below(value, len(walk.module.tables), "table", offset)


def _changes_tables(walk: FunctionPass) -> None:
    walk.additions.layout.tables_change |= not walk.edits.muted


def _bulk_table(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    assert isinstance(value, tuple)
    if step.operator.name == "table.init":
        index_below(value[0], len(walk.module.elements), "element segment", offset)
    else:
        _table(walk, value[0], offset)
    _table(walk, value[1], offset)
    walk.pop(step.pops, offset, step)
    _changes_tables(walk)
    _charge_operand(walk, "charge_entries", offset)


def _table_get(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _table(walk, value, offset)
    walk.pop(_I32, offset, step)
    walk.push(_REF)


def _table_set(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _table(walk, value, offset)
    walk.pop(_I32 + _REF, offset, step)
    _changes_tables(walk)


def _table_size(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _table(walk, value, offset)
    walk.push(_I32)


def _table_grow(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    table = _table(walk, value, offset)
    walk.pop(_REF + _I32, offset, step)
    walk.push(_I32)
    _changes_tables(walk)
    give_fuel(walk, offset)
    _instead(walk, walk.additions.call(f"table_grow {table}"), offset)


def _table_fill(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _table(walk, value, offset)
    walk.pop(_I32 + _REF + _I32, offset, step)
    _changes_tables(walk)
    _charge_operand(walk, "charge_entries", offset)


def _ref_null(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.push(_REF)


def _ref_is_null(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.pop(_REF, offset, step)
    walk.push(_I32)


def _ref_func(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    if index_below(value, len(walk.module.functions), "function", offset) not in walk.additions.declared:
        raise FormError(offset, f"found ref.func of function {value!s}, which no segment, global or export declares")
    walk.push(_REF)


# ---- atomics: an agent is one thread, so plain operations with the alignment's trap ----


def atomic(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    assert isinstance(value, tuple)
    if value[0] > step.alignment or not walk.module.memories:
        raise walk.bad_memarg(offset, step, value)
    if value[0] < step.alignment:
        what = f"found the alignment 2^{value[0]}, expected 2^{step.alignment}"
        raise FormError(offset, f"{step.operator.name}: {what}")
    walk.pop(step.pops, offset, step)
    walk.push(step.pushes)
    address = b"\x41" + signed(value[1] - (value[1] >> 31 << 32))
    _instead(walk, address + walk.additions.call(step.operator.name), offset)


def _fence(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _instead(walk, b"\x01", offset)


DATA: Final[Mapping[str, Handler]] = {
    "drop": _drop,
    "local.set": _local_set,
    "local.tee": _local_tee,
    "global.get": _global_get,
    "global.set": _global_set,
    "memory.size": _memory_size,
    "memory.grow": _memory_grow,
    "memory.fill": _bulk_memory,
    "memory.copy": _bulk_memory,
    "memory.init": _bulk_memory,
    "data.drop": _data_drop,
    "elem.drop": _elem_drop,
    "table.get": _table_get,
    "table.set": _table_set,
    "table.size": _table_size,
    "table.grow": _table_grow,
    "table.fill": _table_fill,
    "table.copy": _bulk_table,
    "table.init": _bulk_table,
    "ref.null": _ref_null,
    "ref.is_null": _ref_is_null,
    "ref.func": _ref_func,
    "atomic.fence": _fence,
}

"""What each operator does that is not control flow: handlers, and `plain_step`, which finds an instruction's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from wavelock.core.form.decode import Value
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.operators import Operator
from wavelock.wasm_engines.reference import atomics
from wavelock.wasm_engines.reference.accesses import LOAD_LANES, LOADS, STORE_LANES, STORES
from wavelock.wasm_engines.reference.conversions import CONVERSIONS
from wavelock.wasm_engines.reference.float_vectors import FLOAT_VECTORS
from wavelock.wasm_engines.reference.floats import FLOATS
from wavelock.wasm_engines.reference.initial import constant
from wavelock.wasm_engines.reference.integers import INTEGERS, Operation
from wavelock.wasm_engines.reference.lanes import join, split
from wavelock.wasm_engines.reference.machine import Frame, Handler
from wavelock.wasm_engines.reference.tables import NULL
from wavelock.wasm_engines.reference.vectors import INTEGER_VECTORS

OPERATIONS: Final[Mapping[str, Operation]] = {
    **INTEGERS,
    **FLOATS,
    **CONVERSIONS,
    **INTEGER_VECTORS,
    **FLOAT_VECTORS,
}
"""Operators without state, by name."""


def _unary(frame: Frame, operation: Operation) -> None:
    stack = frame.stack
    stack[-1] = operation(stack[-1])


def _binary(frame: Frame, operation: Operation) -> None:
    stack = frame.stack
    right = stack.pop()
    stack[-1] = operation(stack[-1], right)


def _ternary(frame: Frame, operation: Operation) -> None:
    stack = frame.stack
    third, second = stack.pop(), stack.pop()
    stack[-1] = operation(stack[-1], second, third)


def _constant(frame: Frame, value: int) -> None:
    frame.stack.append(value)


def _drop(frame: Frame, _: Value) -> None:
    frame.stack.pop()


def _select(frame: Frame, _: Value) -> None:
    stack = frame.stack
    condition, second = stack.pop(), stack.pop()
    if not condition:
        stack[-1] = second


def _is_null(frame: Frame, _: Value) -> None:
    frame.stack[-1] = int(frame.stack[-1] == NULL)


def _local_get(frame: Frame, index: int) -> None:
    frame.stack.append(frame.locals[index])


def _local_set(frame: Frame, index: int) -> None:
    frame.locals[index] = frame.stack.pop()


def _local_tee(frame: Frame, index: int) -> None:
    frame.locals[index] = frame.stack[-1]


def _global_get(frame: Frame, index: int) -> None:
    frame.stack.append(frame.machine.globals[index])


def _global_set(frame: Frame, index: int) -> None:
    frame.machine.globals[index] = frame.stack.pop()


def _load(frame: Frame, access: tuple[int, int, Operation]) -> None:
    offset, length, value = access
    stack = frame.stack
    stack[-1] = value(frame.machine.memory.load(stack[-1] + offset, length))


def _store(frame: Frame, access: tuple[int, int]) -> None:
    offset, length = access
    value, address = frame.stack.pop(), frame.stack.pop()
    frame.machine.memory.store(address + offset, length, value)


def _load_lane(frame: Frame, access: tuple[int, int, int]) -> None:
    offset, bits, lane = access
    vector, address = frame.stack.pop(), frame.stack.pop()
    lanes = split(vector, bits)
    lanes[lane] = frame.machine.memory.load(address + offset, bits // 8)
    frame.stack.append(join(lanes, bits))


def _store_lane(frame: Frame, access: tuple[int, int, int]) -> None:
    offset, bits, lane = access
    vector, address = frame.stack.pop(), frame.stack.pop()
    frame.machine.memory.store(address + offset, bits // 8, split(vector, bits)[lane])


def _memory_size(frame: Frame, _: Value) -> None:
    frame.stack.append(frame.machine.memory.pages)


def _memory_grow(frame: Frame, _: Value) -> None:
    frame.stack[-1] = frame.machine.memory.grow(frame.stack[-1]) & 0xFFFFFFFF


def _memory_fill(frame: Frame, _: Value) -> None:
    address, value, length = _pop_three(frame)
    frame.machine.memory.fill(address, value, length)


def _memory_copy(frame: Frame, _: Value) -> None:
    target, source, length = _pop_three(frame)
    frame.machine.memory.copy(target, source, length)


def _memory_init(frame: Frame, segment: int) -> None:
    target, source, length = _pop_three(frame)
    frame.machine.memory.init(target, frame.machine.data[segment] or b"", source, length)


def _data_drop(frame: Frame, segment: int) -> None:
    frame.machine.data[segment] = None


def _table_get(frame: Frame, table: int) -> None:
    frame.stack[-1] = frame.machine.tables[table].get(frame.stack[-1])


def _table_set(frame: Frame, table: int) -> None:
    reference, index = frame.stack.pop(), frame.stack.pop()
    frame.machine.tables[table].set(index, reference)


def _table_size(frame: Frame, table: int) -> None:
    frame.stack.append(len(frame.machine.tables[table].entries))


def _table_grow(frame: Frame, table: int) -> None:
    length, reference = frame.stack.pop(), frame.stack.pop()
    frame.stack.append(frame.machine.tables[table].grow(reference, length) & 0xFFFFFFFF)


def _table_fill(frame: Frame, table: int) -> None:
    index, reference, length = _pop_three(frame)
    frame.machine.tables[table].fill(index, reference, length)


def _table_copy(frame: Frame, tables: tuple[int, int]) -> None:
    index, start, length = _pop_three(frame)
    target, source = (frame.machine.tables[table] for table in tables)
    target.write(index, source.entries, start, length)


def _table_init(frame: Frame, places: tuple[int, int]) -> None:
    segment, table = places
    index, start, length = _pop_three(frame)
    frame.machine.tables[table].write(index, frame.machine.elements[segment] or (), start, length)


def _elem_drop(frame: Frame, segment: int) -> None:
    frame.machine.elements[segment] = None


def _pop_three(frame: Frame) -> tuple[int, int, int]:
    third, second, first = frame.stack.pop(), frame.stack.pop(), frame.stack.pop()
    return first, second, third


_HANDLERS: Final[Mapping[str, Handler]] = {
    "drop": _drop,
    "select": _select,
    "ref.is_null": _is_null,
    "local.get": _local_get,
    "local.set": _local_set,
    "local.tee": _local_tee,
    "global.get": _global_get,
    "global.set": _global_set,
    "memory.size": _memory_size,
    "memory.grow": _memory_grow,
    "memory.fill": _memory_fill,
    "memory.copy": _memory_copy,
    "memory.init": _memory_init,
    "data.drop": _data_drop,
    "table.get": _table_get,
    "table.set": _table_set,
    "table.size": _table_size,
    "table.grow": _table_grow,
    "table.fill": _table_fill,
    "table.copy": _table_copy,
    "table.init": _table_init,
    "elem.drop": _elem_drop,
}
"""Operators that take their immediates as the decoder hands them on."""
_CONSTANTS: Final = ("i32.const", "i64.const", "f32.const", "f64.const", "v128.const", "ref.null", "ref.func")
_BY_OPERANDS: Final[Mapping[int, Handler]] = {1: _unary, 2: _binary, 3: _ternary}


def plain_step(operator: Operator, value: Value) -> tuple[Handler, Any]:
    """The step of an instruction that is not control flow. Raises KeyError for an operator that it does not know."""
    name = operator.name
    if name in OPERATIONS:
        return _BY_OPERANDS[operator.signature.index(":")], _bound(OPERATIONS[name], value)
    if name in _CONSTANTS:
        return _constant, constant(operator, value)
    if operator.immediates is Immediate.MEMARG and isinstance(value, tuple):
        return _memory_step(name, value[1])
    if operator.immediates is Immediate.MEMARG_LANE and isinstance(value, tuple):
        _, offset, lane = value
        if name in LOAD_LANES:
            return _load_lane, (offset, LOAD_LANES[name], lane)
        return _store_lane, (offset, STORE_LANES[name], lane)
    return _HANDLERS[name], value


def _bound(operation: Operation, value: Value) -> Operation:
    return operation if value is None else partial(operation, value)


def _memory_step(name: str, offset: int) -> tuple[Handler, Any]:
    if name in LOADS:
        return _load, (offset, *LOADS[name])
    if name in STORES:
        return _store, (offset, STORES[name])
    return atomics.atomic_step(name, offset)

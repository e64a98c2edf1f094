"""The operators whose signature does not say all: control flow, calls, variables, bulk operations, tables, atomics.

Each handler checks its operator's types and makes the edits that the deterministic form wants; `HANDLERS` has them by
code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from wavelock.core.form import features, limits
from wavelock.core.form.binary import FormError
from wavelock.core.form.decode import NO_BLOCK_TYPE, Value
from wavelock.core.form.edits import Edit
from wavelock.core.form.emit import signed, unsigned
from wavelock.core.form.function import ANY, I32, LOCAL_GET, LOOP, Frame, FunctionPass
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.module import GlobalType
from wavelock.core.form.nans import LANES_OF
from wavelock.core.form.steps import STEPS, Step
from wavelock.core.form.types import FUNCREF, VALUE_TYPES, FunctionType

Handler = Callable[[FunctionPass, Step, Value, int], None]
_IF, _ELSE = 0x04, 0x05
_I32: Final = bytes((I32,))
_REF: Final = bytes((FUNCREF,))


def _index(value: Value, count: int, what: str, offset: int) -> int:
    """An immediate that is an index, in range."""
    assert isinstance(value, int)
    if value >= count:
        raise FormError(offset, f"found the {what} index {value}, expected one below {count}")
    return value


# ---- blocks ----


def _block_type(walk: FunctionPass, value: Value, offset: int) -> FunctionType:
    assert isinstance(value, int)
    if value >= 0:
        walk.more_features.add(features.MULTI_VALUE)
        return walk.type_of(value, offset)
    return FunctionType(b"", b"" if value == NO_BLOCK_TYPE else bytes((value + 128,)))


def _open(walk: FunctionPass, code: int, value: Value, step: Step, offset: int) -> Frame:
    found = _block_type(walk, value, offset)
    if len(walk.frames) > limits.NESTING - limits.FRAMING_BLOCKS:
        most = limits.NESTING - limits.FRAMING_BLOCKS
        raise FormError(offset, f"found blocks nested more than {most} deep, expected at most that many")
    walk.settle()
    walk.pop(found.params, offset, step)
    frame = Frame(code, found.params, found.results, len(walk.stack), inner=True)
    walk.frames.append(frame)
    walk.push(found.params)
    return frame


def _block(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _open(walk, step.operator.code, value, step, offset)


def _loop(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.meter.end()
    _open(walk, LOOP, value, step, offset)
    walk.edits.insert(offset, walk.meter.load())
    walk.meter.met(inner=True)
    walk.after = walk.begin_loop


def _if(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.settle()
    walk.pop(_I32, offset, step)
    frame = _open(walk, _IF, value, step, offset)
    walk.next_segment()
    frame.otherwise = walk.meter.held, walk.meter.dirty


def _close(walk: FunctionPass, step: Step, offset: int) -> Frame:
    """The end of a block's code: its operands are its results and no more."""
    walk.settle()
    frame = walk.frames[-1]
    walk.pop(frame.results, offset, step)
    left = len(walk.stack) - frame.height
    if left:
        raise FormError(offset, f"{step.operator.name}: found {left} operands more than the block has results")
    walk.meter.end()
    return frame


def _else(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    frame = walk.frames[-1]
    if frame.code != _IF:
        raise FormError(offset, "found an `else` that no `if` is open for")
    _close(walk, step, offset)
    if not frame.dead:
        walk.edits.insert(offset, walk.meter.meet(frame.inner))
    walk.revive(frame, offset)
    frame.code = _ELSE
    walk.meter.held, walk.meter.dirty = frame.otherwise
    walk.push(frame.params)
    walk.after = walk.begin_segment


def _end(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    frame = _close(walk, step, offset)
    if frame.code == _IF and frame.params != frame.results:
        raise FormError(offset, "found an `if` without `else` whose results are not its parameters")
    _join(walk, frame, offset)
    walk.frames.pop()
    walk.push(frame.results)
    if walk.frames:
        walk.after = walk.begin_segment


def _join(walk: FunctionPass, frame: Frame, offset: int) -> None:
    """Where the ways to a block's end meet, the fuel is where it is agreed to be."""
    meter, dead = walk.meter, frame.dead
    joins = frame.branched or frame.code in (_IF, _ELSE) or len(walk.frames) == 1
    if joins and not dead:
        walk.edits.insert(offset, meter.meet(frame.inner))
    walk.revive(frame, offset)
    if frame.code == _IF:
        meter.held, meter.dirty = frame.otherwise
        otherwise = meter.meet(frame.inner)
        if otherwise:
            walk.edits.insert(offset, b"\x05" + otherwise)
    if joins or dead:
        meter.met(frame.inner)


# ---- branches ----


def _arrive(walk: FunctionPass, frame: Frame) -> bytes:
    """Code before a branch to a frame's label."""
    frame.branched = True
    walk.meter.reach()
    return walk.meter.meet(frame.inner)


def _br(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    assert isinstance(value, int)
    walk.settle()
    frame = walk.label(value, offset)
    walk.pop(frame.label, offset, step)
    walk.edits.insert(offset, _arrive(walk, frame))
    walk.die()


def _br_if(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    assert isinstance(value, int)
    walk.settle()
    frame = walk.label(value, offset)
    walk.pop(_I32, offset, step)
    walk.pop(frame.label, offset, step)
    walk.push(frame.label)
    meter = walk.meter
    meter.reach()
    held, dirty = meter.held, meter.dirty
    code = _arrive(walk, frame)
    if code and dirty and not frame.label:
        # Only on the way out of the function: a store in each round of a loop would cost as much as the loop.
        edit = walk.edits.insert(offset, b"\x04\x40" + code + b"\x0c" + unsigned(value + 1) + b"\x0b")
        meter.held, meter.dirty = held, dirty
        meter.end()
        _replace(walk, edit)
    else:
        walk.edits.insert(offset, code)
        walk.next_segment()


def _replace(walk: FunctionPass, edit: Edit) -> None:
    """The operator at hand is left out, `edit` stands for it, and a segment begins behind."""

    def resume(offset: int) -> None:
        edit.resume = offset
        walk.begin_segment(offset)

    walk.after = resume


def _br_table(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    assert isinstance(value, tuple)
    walk.settle()
    walk.labels += len(value)
    walk.pop(_I32, offset, step)
    arity = len(walk.label(value[-1], offset).label)
    for depth in dict.fromkeys(value):
        frame = walk.label(depth, offset)
        if len(frame.label) != arity:
            raise FormError(offset, f"br_table: found labels of {arity} and of {len(frame.label)} operands")
        kept, before = bytes(walk.stack[max(walk.frames[-1].height, len(walk.stack) - arity) :]), len(walk.stack)
        walk.pop(frame.label, offset, step)
        walk.stack += kept[len(kept) - (before - len(walk.stack)) :]
        walk.edits.insert(offset, _arrive(walk, frame))
    walk.die()


def _return(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.settle()
    walk.pop(walk.type.results, offset, step)
    walk.edits.insert(offset, _arrive(walk, walk.frames[0]))
    edit = walk.edits.insert(offset)
    edit.resume = offset + 1
    walk.returns.append((edit, len(walk.frames) - 1))
    walk.die()


def _unreachable(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.nans.forget(0)
    walk.die()


# ---- calls ----


def _called(walk: FunctionPass, found: FunctionType, step: Step, offset: int) -> None:
    walk.settle()
    walk.pop(found.params, offset, step)
    walk.push(found.results)
    walk.calls |= not walk.edits.muted
    _give_fuel(walk, offset)


def _give_fuel(walk: FunctionPass, offset: int) -> None:
    """Before something that uses fuel by itself."""
    walk.meter.reach()
    walk.edits.insert(offset, walk.meter.store())
    walk.meter.called()


def _call(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    index = _index(value, len(walk.module.functions), "function", offset)
    _called(walk, walk.module.function_type(index), step, offset)


def _callee(walk: FunctionPass, step: Step, value: Value, offset: int) -> FunctionType:
    """The type of an indirect call, whose table and entry were checked."""
    assert isinstance(value, tuple)
    if _index(value[1], len(walk.module.tables), "table", offset):
        walk.more_features.add(features.REFERENCE_TYPES)
    walk.settle()
    walk.pop(_I32, offset, step)
    return walk.type_of(value[0], offset)


def _call_indirect(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _called(walk, _callee(walk, step, value, offset), step, offset)


def _tail_called(walk: FunctionPass, found: FunctionType, step: Step, offset: int) -> None:
    """A tail call gives the frame's weight back first: nothing of it is left on the native stack."""
    if found.results != walk.type.results:
        raise FormError(offset, f"{step.operator.name}: found a function {found}, expected the results of {walk.type}")
    walk.settle()
    walk.pop(found.params, offset, step)
    walk.calls |= not walk.edits.muted
    _give_fuel(walk, offset)
    walk.tail_calls.append(walk.edits.insert(offset))
    walk.die()


def _return_call(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    index = _index(value, len(walk.module.functions), "function", offset)
    _tail_called(walk, walk.module.function_type(index), step, offset)


def _return_call_indirect(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _tail_called(walk, _callee(walk, step, value, offset), step, offset)


# ---- operands, variables ----


def _drop(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.nans.forget(len(walk.stack) - 1)
    walk.pop_any(offset, step)


def _select(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    """Without a type: of two numbers or two vectors alike."""
    walk.nans.consume(len(walk.stack) - 3, None)
    walk.pop(_I32, offset, step)
    second, first = walk.pop_any(offset, step), walk.pop_any(offset, step)
    if FUNCREF in (first, second) or (first != second and ANY not in (first, second)):
        names = " and ".join(VALUE_TYPES.get(code, "any") for code in (first, second))
        raise FormError(offset, f"select: found {names}, expected two numbers or two vectors of one type")
    walk.stack.append(first or second)


def _select_typed(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
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
    return walk.module.globals[_index(value, len(walk.module.globals), "global", offset)]


def _global_get(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    walk.push(bytes((_global(walk, value, offset).value_type,)))


def _global_set(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    found = _global(walk, value, offset)
    if not found.mutable:
        raise FormError(offset, f"found global.set of the immutable global {value!s}")
    walk.nans.consume(len(walk.stack) - 1, None)
    walk.pop(bytes((found.value_type,)), offset, step)


def _lane(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
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
    _give_fuel(walk, offset)
    _instead(walk, walk.additions.call("grow"), offset)


def _charge_operand(walk: FunctionPass, helper: str, offset: int) -> None:
    """The operand on top says how much the operator will cost; the helper charges it and gives it back."""
    _give_fuel(walk, offset)
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
    _index(value, walk.module.data_count, "data segment", offset)


def _data_drop(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    assert isinstance(value, int)
    _data_segment(walk, value, offset)
    _drop_segment(walk, "data", value, offset)


def _elem_drop(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    segment = _index(value, len(walk.module.elements), "element segment", offset)
    _drop_segment(walk, "element", segment, offset)


def _drop_segment(walk: FunctionPass, kind: str, segment: int, offset: int) -> None:
    if walk.edits.muted:
        return
    walk.edits.insert(offset, walk.additions.note_dropped(kind, segment))
    if walk.additions.layout.dropped > limits.DROPPED_SEGMENTS:
        most = limits.DROPPED_SEGMENTS
        raise FormError(offset, f"found code that drops more than {most} segments, expected at most that many")


def _table(walk: FunctionPass, value: Value, offset: int) -> int:
    return _index(value, len(walk.module.tables), "table", offset)


def _changes_tables(walk: FunctionPass) -> None:
    walk.additions.layout.tables_change |= not walk.edits.muted


def _bulk_table(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    assert isinstance(value, tuple)
    if step.operator.name == "table.init":
        _index(value[0], len(walk.module.elements), "element segment", offset)
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
    _give_fuel(walk, offset)
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
    if _index(value, len(walk.module.functions), "function", offset) not in walk.additions.declared:
        raise FormError(offset, f"found ref.func of function {value!s}, which no segment, global or export declares")
    walk.push(_REF)


# ---- atomics: an agent is one thread, so plain operations with the alignment's trap ----


def _atomic(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
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


_BY_NAME: Final[Mapping[str, Handler]] = {
    "unreachable": _unreachable,
    "block": _block,
    "loop": _loop,
    "if": _if,
    "else": _else,
    "end": _end,
    "br": _br,
    "br_if": _br_if,
    "br_table": _br_table,
    "return": _return,
    "call": _call,
    "call_indirect": _call_indirect,
    "return_call": _return_call,
    "return_call_indirect": _return_call_indirect,
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


def _handler(step: Step) -> Handler:
    operator = step.operator
    if operator.name == "select":
        return _select_typed if operator.immediates is Immediate.TYPES else _select
    if operator.immediates in (Immediate.LANE, Immediate.LANES, Immediate.MEMARG_LANE):
        return _lane
    return _BY_NAME.get(operator.name, _atomic)


HANDLERS: Final[Mapping[int, Handler]] = {
    code: _handler(step) for code, step in STEPS.items() if not step.plain and code != LOCAL_GET
}

"""Blocks, branches and calls: their types, and where the fuel is on every way through them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wavelock.core.form import features, limits
from wavelock.core.form.binary import FormError
from wavelock.core.form.decode import NO_BLOCK_TYPE, Value
from wavelock.core.form.edits import Edit
from wavelock.core.form.emit import unsigned
from wavelock.core.form.function import I32, LOOP, Frame, FunctionPass, Handler
from wavelock.core.form.operands import give_fuel, index_below
from wavelock.core.form.steps import Step
from wavelock.core.form.types import FunctionType

_IF, _ELSE = 0x04, 0x05
_I32: Final = bytes((I32,))


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
    give_fuel(walk, offset)


def _call(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    index = index_below(value, len(walk.module.functions), "function", offset)
    _called(walk, walk.module.function_type(index), step, offset)


def _callee(walk: FunctionPass, step: Step, value: Value, offset: int) -> FunctionType:
    """The type of an indirect call, whose table and entry were checked."""
    assert isinstance(value, tuple)
    if index_below(value[1], len(walk.module.tables), "table", offset):
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
    give_fuel(walk, offset)
    walk.tail_calls.append(walk.edits.insert(offset))
    walk.die()


def _return_call(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    index = index_below(value, len(walk.module.functions), "function", offset)
    _tail_called(walk, walk.module.function_type(index), step, offset)


def _return_call_indirect(walk: FunctionPass, step: Step, value: Value, offset: int) -> None:
    _tail_called(walk, _callee(walk, step, value, offset), step, offset)


CONTROL: Final[Mapping[str, Handler]] = {
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
}

"""Control flow: labels and the handlers that branch, call and return. Blocks are gone once a function is decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from wavelock.core.abi import Fault
from wavelock.core.form.types import FunctionType
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.reference.machine import Frame
from wavelock.wasm_engines.reference.meter import Meter, Segment
from wavelock.wasm_engines.reference.tables import NULL


class Label:
    """A block, and where a branch to it goes.

    kind: block, loop, if, else (an `if` in its second branch) or function. height: operands below the block's own;
    arity: how many operands a branch carries.
    """

    __slots__ = ("arity", "height", "kind", "otherwise", "parameters", "results", "target")

    def __init__(self, kind: str, height: int, parameters: int, results: int) -> None:
        self.kind = kind
        self.height = height
        self.parameters = parameters
        self.results = results
        self.arity = parameters if kind == "loop" else results
        self.target = 0
        """The step that a branch goes to."""
        self.otherwise = 0
        """The step that an `if` goes to where its condition is 0."""


class Callee(NamedTuple):
    """A function, and how many operands it takes."""

    function: int
    parameters: int


class IndirectCallee(NamedTuple):
    """A table, and the type that the function found there must have."""

    table: int
    type: FunctionType


def branch(frame: Frame, label: Label) -> None:
    """Keeps what the branch carries, takes away what lies between it and the label's height, and goes."""
    stack = frame.stack
    del stack[label.height : len(stack) - label.arity]
    frame.pc = label.target


def branch_if(frame: Frame, label: Label) -> None:
    """br_if."""
    if frame.stack.pop():
        branch(frame, label)


def branch_table(frame: Frame, labels: tuple[Label, ...]) -> None:
    """br_table: the default is the last, and taken for all indexes past the others."""
    branch(frame, labels[min(frame.stack.pop(), len(labels) - 1)])


def enter_if(frame: Frame, label: Label) -> None:
    """An `if`: into its first branch, or past it."""
    if not frame.stack.pop():
        frame.pc = label.otherwise


def skip_else(frame: Frame, label: Label) -> None:
    """The end of an `if`'s first branch: the operands are in place."""
    frame.pc = label.target


def leave(frame: Frame, _: None) -> bool:
    """The function's end, and `return`."""
    frame.machine.leave()
    return True


def call(frame: Frame, callee: Callee) -> bool:
    """A call of a function by its index."""
    frame.machine.enter(callee.function, _arguments(frame, callee))
    return True


def return_call(frame: Frame, callee: Callee) -> bool:
    """A call that takes the place of the caller."""
    arguments = _arguments(frame, callee)
    frame.machine.unwind()
    frame.machine.enter(callee.function, arguments)
    return True


def call_indirect(frame: Frame, callee: IndirectCallee) -> bool:
    """A call through a table."""
    return call(frame, _found(frame, callee))


def return_call_indirect(frame: Frame, callee: IndirectCallee) -> bool:
    """A call through a table that takes the place of the caller."""
    return return_call(frame, _found(frame, callee))


def _arguments(frame: Frame, callee: Callee) -> list[int]:
    """Takes a callee's operands off the stack."""
    stack = frame.stack
    first = len(stack) - callee.parameters
    arguments = stack[first:]
    del stack[first:]
    return arguments


def _found(frame: Frame, callee: IndirectCallee) -> Callee:
    """The function that the last operand is the table's index of; traps for a null entry and another type."""
    function = frame.machine.tables[callee.table].get(frame.stack.pop())
    if function == NULL or frame.machine.program.module.function_type(function) != callee.type:
        raise Trap(Fault.INDIRECT_CALL)
    return Callee(function, len(callee.type.params))


def unreachable(_frame: Frame, _: None) -> None:
    """A trap."""
    raise Trap(Fault.UNREACHABLE)


def _meter(frame: Frame) -> Meter:
    meter = frame.machine.meter
    assert meter is not None, "a metered program runs with a meter"
    return meter


def charge(frame: Frame, segment: Segment) -> None:
    """The beginning of a segment."""
    meter = _meter(frame)
    meter.charge(segment.cost)
    if segment.checks:
        meter.check()


def charge_operand(frame: Frame, cost: Callable[[int], int]) -> None:
    """Before an operator whose last operand costs."""
    meter = _meter(frame)
    meter.charge(cost(frame.stack[-1]))
    meter.check()

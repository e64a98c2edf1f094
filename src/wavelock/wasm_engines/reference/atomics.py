"""Atomic operations as an agent has them: one thread, so plain ones, whose address must be a multiple of their size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wavelock.core.abi import Fault
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.reference.accesses import (
    ATOMIC_EXCHANGES,
    ATOMIC_LOADS,
    ATOMIC_STORES,
    ATOMIC_UPDATES,
    ATOMIC_WAITS,
)
from wavelock.wasm_engines.reference.integers import Operation
from wavelock.wasm_engines.reference.machine import Frame, Handler

NOT_EQUAL: Final = 1
TIMED_OUT: Final = 2
"""What a wait answers: nobody else is there to wake the waiter."""


def _aligned(address: int, length: int) -> int:
    """The address; traps, before its bounds are looked at, where it is no multiple of the length."""
    if address % length:
        raise Trap(Fault.MISALIGNED_ATOMIC)
    return address


def _load(frame: Frame, access: tuple[int, int]) -> None:
    offset, length = access
    address = _aligned(frame.stack.pop() + offset, length)
    frame.stack.append(frame.machine.memory.load(address, length))


def _store(frame: Frame, access: tuple[int, int]) -> None:
    offset, length = access
    value, address = frame.stack.pop(), frame.stack.pop()
    frame.machine.memory.store(_aligned(address + offset, length), length, value)


def _update(frame: Frame, access: tuple[int, int, Operation]) -> None:
    offset, length, update = access
    memory = frame.machine.memory
    operand = frame.stack.pop()
    address = _aligned(frame.stack.pop() + offset, length)
    before = memory.load(address, length)
    memory.store(address, length, update(before, operand))
    frame.stack.append(before)


def _exchange(frame: Frame, access: tuple[int, int]) -> None:
    """Compares as many bytes as it accesses: what is above them in the expected value does not count."""
    offset, length = access
    memory = frame.machine.memory
    replacement, expected = frame.stack.pop(), frame.stack.pop()
    address = _aligned(frame.stack.pop() + offset, length)
    before = memory.load(address, length)
    if before == expected % (1 << 8 * length):
        memory.store(address, length, replacement)
    frame.stack.append(before)


def _wait(frame: Frame, access: tuple[int, int]) -> None:
    offset, length = access
    frame.stack.pop()  # the timeout
    expected = frame.stack.pop()
    address = _aligned(frame.stack.pop() + offset, length)
    found = frame.machine.memory.load(address, length)
    frame.stack.append(TIMED_OUT if found == expected else NOT_EQUAL)


def _notify(frame: Frame, offset: int) -> None:
    frame.stack.pop()  # how many to wake
    frame.machine.memory.load(_aligned(frame.stack.pop() + offset, 4), 4)
    frame.stack.append(0)


_BY_LENGTH: Final[tuple[tuple[Mapping[str, int], Handler], ...]] = (
    (ATOMIC_LOADS, _load),
    (ATOMIC_STORES, _store),
    (ATOMIC_EXCHANGES, _exchange),
    (ATOMIC_WAITS, _wait),
)


def atomic_step(name: str, offset: int) -> tuple[Handler, Any]:
    """The step of an atomic operation. Raises KeyError for a name that is none."""
    for lengths, handler in _BY_LENGTH:
        if name in lengths:
            return handler, (offset, lengths[name])
    if name in ATOMIC_UPDATES:
        return _update, (offset, *ATOMIC_UPDATES[name])
    if name == "memory.atomic.notify":
        return _notify, offset
    raise KeyError(name)

"""The interpreter beside wasmtime: one module on both, the same calls, and what must be equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import wasmtime

from wavelock.core.abi import Fault
from wavelock.core.form.module import Kind
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.reference.integers import signed
from wavelock.wasm_engines.reference.machine import Machine
from wavelock.wasm_engines.reference.program import Program

_Codes: Final = wasmtime.TrapCode
FAULTS: Final = {
    _Codes.UNREACHABLE: Fault.UNREACHABLE,
    _Codes.MEMORY_OUT_OF_BOUNDS: Fault.MEMORY_BOUNDS,
    _Codes.TABLE_OUT_OF_BOUNDS: Fault.TABLE_BOUNDS,
    _Codes.INDIRECT_CALL_TO_NULL: Fault.INDIRECT_CALL,
    _Codes.BAD_SIGNATURE: Fault.INDIRECT_CALL,
    _Codes.INTEGER_OVERFLOW: Fault.INTEGER_OVERFLOW,
    _Codes.INTEGER_DIVISION_BY_ZERO: Fault.DIVISION_BY_ZERO,
    _Codes.BAD_CONVERSION_TO_INTEGER: Fault.BAD_CONVERSION,
    _Codes.HEAP_MISALIGNED: Fault.MISALIGNED_ATOMIC,
}
Ended = tuple[int, ...] | Fault
"""Results as bits, or the trap that ended a call."""


def module(text: str) -> bytes:
    """WebAssembly text to bytes."""
    return bytes(wasmtime.wat2wasm(text))


class Pair:
    """A module on the interpreter and on wasmtime."""

    def __init__(self, text: str) -> None:
        data = module(text)
        self.program = Program(data)
        self.machine = Machine(self.program)
        self._functions: dict[str, tuple[Any, list[int], list[int]]] = {}
        self._store = wasmtime.Store()
        self._exports = wasmtime.Instance(self._store, wasmtime.Module(self._store.engine, data), []).exports(
            self._store
        )

    def ours(self, name: str, *arguments: int) -> Ended:
        """A call on the interpreter."""
        function = self.program.exported_function(name)
        kinds = self.program.module.function_type(function).params
        bits = [
            number & (0xFFFFFFFF if kind == 0x7F else (1 << 64) - 1)
            for number, kind in zip(arguments, kinds, strict=True)
        ]
        try:
            return tuple(self.machine.call(function, bits))
        except Trap as trap:
            return Fault(trap.fault)

    def theirs(self, name: str, *arguments: int) -> Ended:
        """The same on wasmtime: parameters and results are i32 and i64."""
        function, parameters, results = self._function(name)
        wanted = [signed(number & ((1 << bits) - 1), bits) for number, bits in zip(arguments, parameters, strict=True)]
        try:
            found = function(self._store, *wanted)
        except wasmtime.Trap as trap:
            assert trap.trap_code is not None
            return FAULTS[trap.trap_code]
        numbers = () if found is None else found if isinstance(found, list) else (found,)
        return tuple(number & ((1 << bits) - 1) for number, bits in zip(numbers, results, strict=True))

    def _function(self, name: str) -> tuple[Any, list[int], list[int]]:
        """An export of wasmtime's, and the widths of its parameters and results."""
        if name not in self._functions:
            function: Any = self._exports[name]
            kind = function.type(self._store)
            self._functions[name] = (function, list(map(_width, kind.params)), list(map(_width, kind.results)))
        return self._functions[name]

    def call(self, name: str, *arguments: int) -> Ended:
        """A call on both, which must come to the same."""
        ours, theirs = self.ours(name, *arguments), self.theirs(name, *arguments)
        assert ours == theirs, (name, arguments)
        return ours

    def write(self, address: int, data: bytes) -> None:
        """Puts bytes into both memories."""
        self.machine.memory.write(address, data)
        self._memory.write(self._store, data, address)

    @property
    def our_memory(self) -> bytes:
        """The interpreter's memory."""
        return bytes(self.machine.memory.view())

    @property
    def their_memory(self) -> bytes:
        """wasmtime's."""
        return bytes(self._memory.read(self._store))

    @property
    def _memory(self) -> wasmtime.Memory:
        memory = self._exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return memory

    def check_state(self) -> None:
        """Memories, globals and the sizes of tables that are exported must be equal."""
        module = self.program.module
        for name, export in module.exports.items():
            theirs: Any = self._exports[name]
            if export.kind is Kind.MEMORY:
                assert self.our_memory == self.their_memory
            elif export.kind is Kind.GLOBAL:
                bits = _width(theirs.type(self._store).content)
                assert self.machine.globals[export.index] == theirs.value(self._store) & ((1 << bits) - 1), name
            elif export.kind is Kind.TABLE:
                assert len(self.machine.tables[export.index].entries) == theirs.size(self._store)


def _width(value: wasmtime.ValType) -> int:
    return {"i32": 32, "i64": 64}[str(value)]


def bits_of(ended: Ended) -> Sequence[int]:
    """The results of a call that must not trap."""
    assert not isinstance(ended, Fault), ended
    return ended

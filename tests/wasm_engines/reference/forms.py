"""One module three times: original on the oracle, rewritten on the interpreter, rewritten on wasmtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import wasmtime

from wasm_engines.reference.beside import FAULTS, module
from wavelock.core.abi import Fault
from wavelock.core.form import FormOptions, rewrite_module
from wavelock.core.form.module import Kind
from wavelock.core.form.reserved import BUDGET, FAULT, LEFT, REFUSED
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.reference.engine import ReferenceInstance
from wavelock.wasm_engines.reference.integers import signed
from wavelock.wasm_engines.reference.oracle import Oracle
from wavelock.wasm_engines.reference.program import Program

PLENTY: Final = 1 << 50
ENGINE: Final = wasmtime.Engine()
_BITS: Final = {0x7F: 32, 0x7E: 64}


class Ended(NamedTuple):
    """What all three must come to. results: bits."""

    results: tuple[int, ...]
    fault: Fault
    fuel_used: int


class Callee(Protocol):
    """A rewritten module on an engine."""

    def call(self, name: str, *arguments: int) -> Sequence[int]:
        """Signed integers in and out. Raises Trap."""

    def value(self, name: str) -> int:
        """A global."""

    def memory(self) -> bytes:
        """All of it."""


class OnReference:
    """A `Callee`: the interpreter, as the engine that it is."""

    def __init__(self, program: Program) -> None:
        self._instance = ReferenceInstance(program)

    def call(self, name: str, *arguments: int) -> Sequence[int]:
        return self._instance.function(name)(*arguments)

    def value(self, name: str) -> int:
        return self._instance.global_value(name)

    def memory(self) -> bytes:
        return bytes(self._instance.memory())


class OnWasmtime:
    """A `Callee`: wasmtime as it comes."""

    def __init__(self, engine: wasmtime.Engine, compiled: wasmtime.Module) -> None:
        self._store = wasmtime.Store(engine)
        self._exports = wasmtime.Instance(self._store, compiled, []).exports(self._store)

    def call(self, name: str, *arguments: int) -> Sequence[int]:
        function: Any = self._exports[name]
        try:
            found = function(self._store, *arguments)
        except wasmtime.Trap as trap:
            assert trap.trap_code is not None
            raise Trap(FAULTS[trap.trap_code]) from None
        return [] if found is None else found if isinstance(found, list) else [found]

    def value(self, name: str) -> int:
        found: Any = self._exports[name]
        return int(found.value(self._store))

    def memory(self) -> bytes:
        found: Any = self._exports["memory"]
        return bytes(found.read(self._store))

    def write(self, data: bytes) -> None:
        """Puts bytes at the memory's beginning."""
        found: Any = self._exports["memory"]
        found.write(self._store, data, 0)


class Trio:
    """Makes fresh instances of one module for each call, and holds what they come to against each other.

    Functions that are called have integers as parameters and results. State that is compared: an exported `memory`, and
    exported globals that are integers.
    """

    def __init__(self, text: str | bytes, options: FormOptions | None = None) -> None:
        self.original = module(text) if isinstance(text, str) else text
        self.options = options or FormOptions(memory_pages=16)
        rewritten = rewrite_module(self.original, "test", self.options, abi=False).module
        self._module = Program(self.original).module
        self._program = Program(rewritten)
        self._compiled = wasmtime.Module(ENGINE, rewritten)

    def run(self, name: str, arguments: Sequence[int] = (), fuel: int = PLENTY) -> Ended:
        """One call on new instances, with a budget."""
        oracle, expected = self._oracle(name, arguments, fuel)
        for callee in (OnReference(self._program), OnWasmtime(ENGINE, self._compiled)):
            found = self._rewritten(callee, name, arguments, fuel)
            assert found == expected, (type(callee).__name__, name, arguments, fuel)
            self._check_state(oracle, callee, fuel)
        return expected

    def sweep(self, name: str, arguments: Sequence[int] = (), most: int = 400) -> Ended:
        """The same with every budget up to the whole cost; with some of them, where it is high."""
        whole = self.run(name, arguments)
        cost = self.cost(name, arguments) if whole.fault else whole.fuel_used
        for fuel in sorted({*range(0, cost, max(cost // most, 1)), cost - 1, cost, cost + 1} - {-1}):
            ended = self.run(name, arguments, fuel)
            assert (ended.fault == Fault.FUEL) == (fuel < cost)
            assert ended.fuel_used == (fuel if whole.fault or fuel < cost else cost)
        return whole

    def deepest(self, name: str, arguments: Sequence[int] = ()) -> int:
        """The most of the depth limit that a call uses."""
        return self._oracle(name, arguments, PLENTY)[0].deepest

    def cost(self, name: str, arguments: Sequence[int] = ()) -> int:
        """The smallest budget that is enough to end otherwise than by fuel."""
        low, high = -1, 1
        while self._oracle(name, arguments, high)[1].fault == Fault.FUEL:
            high *= 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._oracle(name, arguments, middle)[1].fault == Fault.FUEL:
                low = middle
            else:
                high = middle
        return high

    def _oracle(self, name: str, arguments: Sequence[int], fuel: int) -> tuple[Oracle, Ended]:
        oracle = Oracle(self.original, self.options)
        outcome = oracle.call(name, self._bits(name, arguments), fuel=fuel)
        return oracle, Ended(outcome.results or (), outcome.fault, outcome.fuel_used)

    def _bits(self, name: str, arguments: Sequence[int]) -> list[int]:
        kinds = self._module.function_type(self._module.exports[name].index).params
        return [number & ((1 << _BITS[kind]) - 1) for number, kind in zip(arguments, kinds, strict=True)]

    def _rewritten(self, callee: Callee, name: str, arguments: Sequence[int], fuel: int) -> Ended:
        kind = self._module.function_type(self._module.exports[name].index)
        signed_arguments = [
            signed(bits, _BITS[code]) for bits, code in zip(self._bits(name, arguments), kind.params, strict=True)
        ]
        callee.call(BUDGET, signed(fuel, 64))
        try:
            found = callee.call(name, *signed_arguments)
            (left,) = callee.call(LEFT)
        except Trap as trap:
            return Ended((), self._fault(callee, trap), fuel)
        results = tuple(number & ((1 << _BITS[code]) - 1) for number, code in zip(found, kind.results, strict=True))
        return Ended(results, Fault.NONE, fuel - left)

    @staticmethod
    def _fault(callee: Callee, trap: Trap) -> Fault:
        fault = Fault(callee.value(FAULT) or trap.fault)
        if fault in (Fault.UNREACHABLE, Fault.MEMORY_BOUNDS) and callee.value(REFUSED):
            return Fault.MEMORY
        return fault

    def _check_state(self, oracle: Oracle, callee: Callee, fuel: int) -> None:
        for name, export in self._module.exports.items():
            if export.kind is Kind.MEMORY:
                assert callee.memory() == oracle.memory, (type(callee).__name__, fuel)
            elif export.kind is Kind.GLOBAL:
                bits = _BITS[self._module.globals[export.index].value_type]
                found = callee.value(name) & ((1 << bits) - 1)
                assert found == oracle.globals[export.index], (type(callee).__name__, name, fuel)

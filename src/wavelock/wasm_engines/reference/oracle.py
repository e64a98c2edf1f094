"""The oracle: runs an original module as the deterministic form says it must run, without rewriting it.

Its outcome is what the rewritten module must come to on every engine: results, fuel, fault, memory, globals, tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wavelock.core.abi import ABI_RECORD, EXPORT_ABI, EXPORT_INITIALIZE, EXPORT_TURN, Fault
from wavelock.core.form.module import Kind
from wavelock.core.form.options import FormOptions
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.reference.machine import Machine
from wavelock.wasm_engines.reference.meter import Meter
from wavelock.wasm_engines.reference.program import Program
from wavelock.wasm_engines.reference.tables import NULL

_GROWTH_FAULTS: Final = (Fault.UNREACHABLE, Fault.MEMORY_BOUNDS)
"""What a module does that could not get memory."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended. results: bits, one integer each; None after a fault, which uses the whole budget."""

    results: tuple[int, ...] | None
    fault: Fault
    fuel_used: int


class Oracle:
    """One instance of an original module. Raises ModuleError for what cannot be run; the module is not validated.

    After a fault the state can be read, and nothing should be called.
    """

    def __init__(self, module: bytes, options: FormOptions | None = None) -> None:
        options = options or FormOptions()
        self._program = Program(module, metered=True, features=options.features)
        self._meter = Meter(options.stack_bytes)
        self._machine = Machine(self._program, options.memory_pages, self._meter)
        self._inbox = 0

    def call(self, function: str | int, arguments: Iterable[int] = (), *, fuel: int) -> Outcome:
        """Calls an export, or a function by its index, with a budget of its own. arguments: bits, unsigned."""
        self._set_budget(fuel)
        return self._outcome([(self._index(function), arguments)])

    def start(self, fuel: int) -> Outcome:
        """Does what `wavelock:start` does. Its result: the address of the ABI's record, or 0 without the ABI."""
        self._set_budget(fuel)
        module = self._program.module
        functions: list[int | None] = [module.start]
        if not {EXPORT_ABI, EXPORT_TURN} <= module.exports.keys():
            ended = self._outcome([(index, ()) for index in functions if index is not None])
            return Outcome(None if ended.fault else (0,), ended.fault, ended.fuel_used)
        functions += [self._program.exported(EXPORT_INITIALIZE, Kind.FUNCTION), self._index(EXPORT_ABI)]
        ended = self._outcome([(index, ()) for index in functions if index is not None])
        if ended.results:
            self._note_inbox(ended.results[0])
        return ended

    def turn(self, inbox: bytes, fuel: int) -> Outcome:
        """Does what `wavelock:turn` does, with the inbox where the record that `start` answered has it."""
        self._set_budget(fuel)
        self.memory[self._inbox : self._inbox + len(inbox)] = inbox
        return self._outcome([(self._index(EXPORT_TURN), (len(inbox),))])

    @property
    def memory(self) -> memoryview:
        """The whole memory, as large as it is now."""
        return self._machine.memory.view()

    @property
    def globals(self) -> list[int]:
        """All globals, as bits; a funcref as a function's index, or -1 for null."""
        return list(self._machine.globals)

    @property
    def tables(self) -> list[list[int | None]]:
        """All tables: functions' indexes, None for null."""
        return [[None if entry == NULL else entry for entry in table.entries] for table in self._machine.tables]

    @property
    def dropped_data(self) -> list[bool]:
        """Of each data segment, whether it was dropped; active ones are once they were copied."""
        return [segment is None for segment in self._machine.data]

    @property
    def dropped_elements(self) -> list[bool]:
        """Of each element segment, whether it was dropped; active and declared ones are from the beginning."""
        return [segment is None for segment in self._machine.elements]

    @property
    def refused(self) -> bool:
        """Whether a growth of the memory was refused since the budget was set."""
        return self._machine.memory.refused

    @property
    def deepest(self) -> int:
        """The most of `stack_bytes` that was used at a time since the budget was set."""
        return self._meter.deepest

    def _index(self, function: str | int) -> int:
        return function if isinstance(function, int) else self._program.exported_function(function)

    def _set_budget(self, fuel: int) -> None:
        self._meter.reset(fuel)
        self._machine.memory.refused = False

    def _outcome(self, calls: Iterable[tuple[int, Iterable[int]]]) -> Outcome:
        """Calls one after the other; the last one's results count."""
        results: list[int] = []
        try:
            for function, arguments in calls:
                results = self._machine.call(function, arguments)
            self._meter.check()
        except Trap as trap:
            self._meter.forfeit()
            return Outcome(None, self._fault(trap), self._meter.used)
        return Outcome(tuple(results), Fault.NONE, self._meter.used)

    def _fault(self, trap: Trap) -> Fault:
        """A module that traps so in a budget in which a growth was refused ran out of memory."""
        fault = Fault(trap.fault)
        return Fault.MEMORY if self.refused and fault in _GROWTH_FAULTS else fault

    def _note_inbox(self, record: int) -> None:
        """Where the record is outside the memory, the turn that follows has nowhere to put an inbox: none follows."""
        if record + ABI_RECORD.size <= len(self.memory):
            self._inbox = ABI_RECORD.unpack_from(self.memory, record)[1]

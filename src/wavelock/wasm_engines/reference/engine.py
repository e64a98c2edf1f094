"""The interpreter as an engine: runs modules in their deterministic form, as every engine does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Final

from wavelock._version import VERSION
from wavelock.core.errors import ModuleError
from wavelock.core.form.module import Kind
from wavelock.core.form.options import OPTIONAL
from wavelock.core.form.rewritten import MemorySize
from wavelock.core.homes import Homes
from wavelock.core.mailboxes import Mailboxes, PlainMailboxes
from wavelock.core.shard import GroupPlan, Shard
from wavelock.wasm_engines.loop import LoopShard
from wavelock.wasm_engines.reference.integers import signed
from wavelock.wasm_engines.reference.machine import Machine
from wavelock.wasm_engines.reference.program import Program

_BITS: Final = {0x7F: 32, 0x7E: 64, 0x7D: 32, 0x7C: 64, 0x7B: 128}
"""The bits of a value type; floats cross as theirs."""


class ReferenceInstance:
    """An `interface.Instance`. Floats cross as the integers of their bits."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._open: Machine | None = Machine(program)

    @property
    def _machine(self) -> Machine:
        if self._open is None:
            raise RuntimeError("an instance was used after it was closed")
        return self._open

    def function(self, name: str) -> Callable[..., Sequence[int]]:
        """See `interface.Instance`."""
        index = self._exported(name, Kind.FUNCTION)
        kind = self._program.module.function_type(index)
        parameters, results = [_BITS[code] for code in kind.params], [_BITS[code] for code in kind.results]

        def call(*arguments: int) -> Sequence[int]:
            bits = [number & ((1 << width) - 1) for number, width in zip(arguments, parameters, strict=True)]
            found = self._machine.call(index, bits)
            return [signed(number, width) for number, width in zip(found, results, strict=True)]

        return call

    def memory(self) -> memoryview:
        """See `interface.Instance`."""
        return self._machine.memory.view()

    def global_value(self, name: str) -> int:
        """See `interface.Instance`."""
        index = self._exported(name, Kind.GLOBAL)
        return signed(self._machine.globals[index], _BITS[self._program.module.globals[index].value_type])

    def _exported(self, name: str, kind: Kind) -> int:
        index = self._program.exported(name, kind)
        if index is None:
            raise KeyError(name)
        return index

    def close(self) -> None:
        """See `interface.Instance`. The memory goes with its last view."""
        self._open = None


class ReferenceEngine:
    """An `interface.Engine`. A module is decoded once for all shards, each function when it is first called."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._programs: dict[str, Program] = {}
        self._features: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        """Wavelock's own."""
        return VERSION

    features: Final = frozenset(OPTIONAL)
    """See `interface.Engine`."""

    def configure(
        self, *, agents: int, stack_bytes: int, memories: Sequence[MemorySize], features: Collection[str] = ()
    ) -> None:
        """See `interface.Engine`. Calls use no native stack, and memory is taken when it is touched."""
        self._features = frozenset(features)

    def _program(self, plan: GroupPlan) -> Program:
        with self._lock:
            if plan.digest not in self._programs:
                try:
                    self._programs[plan.digest] = Program(plan.module, features=self._features)
                except ModuleError as error:
                    raise ModuleError(f"{plan.name}: the reference engine cannot read the module: {error}") from None
            return self._programs[plan.digest]

    @staticmethod
    def mailboxes(homes: Homes) -> Mailboxes:
        """Mailboxes as plain as the engine."""
        return PlainMailboxes()

    def open_shard(self, groups: Sequence[GroupPlan], worker: int = 0) -> Shard:
        """See `interface.Engine`."""
        programs = [self._program(plan) for plan in groups]
        return LoopShard(groups, lambda group: ReferenceInstance(programs[group]))

    def close(self) -> None:
        """See `interface.Engine`."""
        with self._lock:
            self._programs.clear()

"""What runs a module: an engine on its deterministic form, or the oracle on the original. All answer alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from blake3 import blake3

from wavelock.core.abi import Fault
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form import FormOptions, Rewritten, reserved
from wavelock.core.form.decode import instructions
from wavelock.core.form.module import Module, SegmentMode
from wavelock.core.form.sections import read_module
from wavelock.core.form.types import V128
from wavelock.core.shard import GroupPlan
from wavelock.wasm_engines.capture import capture_instance, restore_instance
from wavelock.wasm_engines.interface import Instance, Trap

MEMORY_BYTES: Final = 1 << 32
_WORD: Final = 1 << 64
_DROPS: Final = ("data.drop", "elem.drop")


class Outcome(NamedTuple):
    """How a call ended. results: bits, of i64; empty after a fault, which uses the whole budget."""

    fault: Fault
    fuel: int
    results: tuple[int, ...]


class State(NamedTuple):
    """memory: size in bytes and BLAKE3; words: mutable globals as bits, a v128 as two.

    dropped: how many of `Prepared.droppable` segments are dropped.
    """

    memory: tuple[int, str]
    words: tuple[int, ...]
    dropped: int = 0


Tables = tuple[tuple[int, ...], ...]
"""Function indexes, -1 for null; none where the code cannot change them."""


class Prepared(NamedTuple):
    """A module to run: the original, its deterministic form, and what the original holds.

    droppable: segments that its code names in data.drop or elem.drop, if none of them is dropped from the beginning;
    else none, as the oracle cannot tell whether those were dropped again.
    """

    original: bytes
    form: Rewritten
    module: Module
    options: FormOptions
    droppable: frozenset[tuple[str, int]]


class Subject(Protocol):
    """One instance. `start` first, then any number of calls, each with a budget of its own."""

    def start(self, fuel: int) -> Outcome:
        """The start function, if there is one."""

    def call(self, name: str, arguments: Sequence[int], fuel: int) -> Outcome:
        """An export whose parameters and results are integers. arguments: bits."""

    def memory(self) -> memoryview:
        """The whole memory now."""

    def state(self) -> State:
        """What can be seen from outside now."""

    def tables(self) -> Tables:
        """The tables now."""

    def moved(self, make: Callable[[], Subject]) -> Subject:
        """A fresh instance with this one's state, captured and restored; this one is closed."""

    def close(self) -> None:
        """Free the instance."""


Open = Callable[[Prepared], "Callable[[], Subject] | None"]
"""Compiles a module and answers what makes instances of it; None where the engine refuses such modules."""


def prepare(original: bytes, form: Rewritten, options: FormOptions) -> Prepared:
    """What the subjects are opened with."""
    module = read_module(original)
    return Prepared(original, form, module, options, _droppable(module))


def _droppable(module: Module) -> frozenset[tuple[str, int]]:
    found = {
        (operator.name, value)
        for body in module.bodies
        for _, operator, value in instructions(module.data, body.code, body.end)
        if operator.name in _DROPS and isinstance(value, int)
    }
    segments = {"data.drop": module.data_segments, "elem.drop": module.elements}
    passive = all(segments[name][at].mode is SegmentMode.PASSIVE for name, at in found)
    return frozenset(found) if passive else frozenset()


def plan_of(form: Rewritten) -> GroupPlan:
    """The plan that an engine's instance, and a capture of one, wants."""
    words, tables, types = form.state
    return GroupPlan("fuzz", form.module, "", 0, MEMORY_BYTES, 0, 0, words, tables, types)


def memory_digest(memory: memoryview) -> tuple[int, str]:
    """Size in bytes and hash."""
    return len(memory), blake3(memory).hexdigest(16)


class InstanceSubject:
    """An engine's instance of a module in its deterministic form."""

    def __init__(self, instance: Instance, prepared: Prepared) -> None:
        self._instance = instance
        self._form = prepared.form
        self._droppable = prepared.droppable
        self._global_words = len(_mutable_words(prepared.module, [0] * len(prepared.module.globals)))
        self._functions: dict[str, Callable[..., Sequence[int]]] = {}

    def start(self, fuel: int) -> Outcome:
        """See `Subject`."""
        try:
            record, left = self._function(reserved.START)(fuel)
        except Trap as trap:
            return self._trapped(trap, fuel)
        return Outcome(Fault.NONE, fuel - left, (record,))

    def call(self, name: str, arguments: Sequence[int], fuel: int) -> Outcome:
        """See `Subject`. Fuel below zero at the end of a call shows in `wavelock:left`, which traps."""
        try:
            self._function(reserved.BUDGET)(fuel)
            results = self._function(name)(*map(_signed, arguments))
            (left,) = self._function(reserved.LEFT)()
        except Trap as trap:
            return self._trapped(trap, fuel)
        return Outcome(Fault.NONE, fuel - left, tuple(each % _WORD for each in results))

    def _trapped(self, trap: Trap, fuel: int) -> Outcome:
        """As `wasm_engines.loop` has it: the form's own word first, then the engine's."""
        marked = self._instance.global_value(reserved.FAULT)
        if marked == reserved.HOST_MEMORY:
            raise EnvironmentFailure("the host has no memory for a growth within the limits")
        fault = Fault(marked or trap.fault)
        if fault in (Fault.UNREACHABLE, Fault.MEMORY_BOUNDS) and self._instance.global_value(reserved.REFUSED):
            fault = Fault.MEMORY
        return Outcome(fault, fuel, ())

    def _function(self, name: str) -> Callable[..., Sequence[int]]:
        if name not in self._functions:
            self._functions[name] = self._instance.function(name)
        return self._functions[name]

    def memory(self) -> memoryview:
        """See `Subject`."""
        return self._instance.memory()

    def state(self) -> State:
        """See `Subject`."""
        get = self._function(reserved.GET)
        words = tuple(get(word)[0] % _WORD for word in range(self._global_words))
        flags = range(self._global_words, self._form.state.words) if self._droppable else ()
        return State(memory_digest(self.memory()), words, sum(get(word)[0] for word in flags))

    def tables(self) -> Tables:
        """See `Subject`."""
        return tuple(self._table(table) for table in range(self._form.state.tables))

    def _table(self, table: int) -> tuple[int, ...]:
        (size,) = self._function(reserved.TABLE_SIZE)(table)
        return tuple(self._entry(table, at) for at in range(size))

    def _entry(self, table: int, at: int) -> int:
        ask = self._function(reserved.TABLE_GET)
        for kind in range(self._form.state.table_types):
            try:
                return int(ask(table, at, kind)[0])
            except Trap:
                continue
        raise EnvironmentFailure(f"entry {at} of table {table} is a function that the module does not name")

    def moved(self, make: Callable[[], Subject]) -> Subject:
        """See `Subject`."""
        fresh, plan = make(), plan_of(self._form)
        assert isinstance(fresh, InstanceSubject), "an instance moves to one of its own engine"
        restore_instance(fresh._instance, plan, capture_instance(self._instance, plan, (0, 0, 0, 0)))
        self.close()
        return fresh

    def close(self) -> None:
        """See `Subject`."""
        self._functions.clear()
        self._instance.close()


def _signed(bits: int) -> int:
    return (bits & (_WORD - 1) ^ 1 << 63) - (1 << 63)


def _mutable_words(module: Module, values: Sequence[int]) -> list[int]:
    """The words of mutable globals, as `wavelock:get` numbers them."""
    words: list[int] = []
    for found, value in zip(module.globals, values, strict=True):
        if found.mutable:
            words += [value % _WORD, value >> 64] if found.value_type == V128 else [value]
    return words


# ---- engines ----


def _open_wasmtime(level: str) -> Open:
    import wasmtime

    from wavelock.wasm_engines.wasmtime_instance import alone

    config = wasmtime.Config()
    config.cranelift_opt_level = level
    config.parallel_compilation = False
    config.max_wasm_stack = 6 << 20
    wasmtime._ffi.wasmtime_config_async_stack_size_set(config.ptr(), 16 << 20)
    wasmtime._ffi.wasmtime_config_memory_may_move_set(config.ptr(), False)
    engine = wasmtime.Engine(config)

    def opened(prepared: Prepared) -> Callable[[], Subject]:
        module = wasmtime.Module(engine, prepared.form.module)
        plan = plan_of(prepared.form)
        return lambda: InstanceSubject(alone(engine, module, plan), prepared)

    return opened


def _open_wasmer() -> Open:
    import wasmer
    import wasmer_compiler_cranelift

    from wavelock.wasm_engines.wasmer_instance import WasmerInstance

    compiler = wasmer.engine.Universal(wasmer_compiler_cranelift.Compiler)

    def opened(prepared: Prepared) -> Callable[[], Subject] | None:
        if "simd" in prepared.form.info.features:
            return None  # its compiler computes vectors wrong, and the engine refuses them
        module = wasmer.Module(wasmer.Store(compiler), prepared.form.module)
        return lambda: InstanceSubject(WasmerInstance(module, "fuzz"), prepared)

    return opened


def _open_reference() -> Open:
    from wavelock.wasm_engines.reference.engine import ReferenceInstance
    from wavelock.wasm_engines.reference.program import Program

    def opened(prepared: Prepared) -> Callable[[], Subject]:
        program = Program(prepared.form.module)
        return lambda: InstanceSubject(ReferenceInstance(program), prepared)

    return opened


# ---- the oracle ----


class OracleSubject:
    """The original module, run by the rules of the deterministic form."""

    def __init__(self, prepared: Prepared) -> None:
        from wavelock.wasm_engines.reference.oracle import Oracle

        self._prepared = prepared
        self._oracle = Oracle(prepared.original, prepared.options)

    def start(self, fuel: int) -> Outcome:
        """See `Subject`."""
        ended = self._oracle.start(fuel)
        return Outcome(ended.fault, ended.fuel_used, ended.results or ())

    def call(self, name: str, arguments: Sequence[int], fuel: int) -> Outcome:
        """See `Subject`."""
        ended = self._oracle.call(name, [each % _WORD for each in arguments], fuel=fuel)
        return Outcome(ended.fault, ended.fuel_used, ended.results or ())

    def memory(self) -> memoryview:
        """See `Subject`."""
        return self._oracle.memory

    def state(self) -> State:
        """See `Subject`."""
        module = self._prepared.module
        words = tuple(_mutable_words(module, self._oracle.globals))
        flags = {"data.drop": self._oracle.dropped_data, "elem.drop": self._oracle.dropped_elements}
        dropped = sum(flags[name][at] for name, at in self._prepared.droppable)
        return State(memory_digest(self.memory()), words, dropped)

    def tables(self) -> Tables:
        """See `Subject`."""
        tables = self._oracle.tables if self._prepared.form.state.tables else []
        return tuple(tuple(-1 if entry is None else entry for entry in table) for table in tables)

    def moved(self, make: Callable[[], Subject]) -> Subject:
        """See `Subject`. What is original has no way to read and write its state: it goes on as it is."""
        return self

    def close(self) -> None:
        """See `Subject`."""


def _open_oracle() -> Open:
    return lambda prepared: lambda: OracleSubject(prepared)


@dataclass(frozen=True)
class Runner:
    """Something that runs modules. slow: it interprets in Python, or compiles long, and runs some modules alone."""

    name: str
    make: Callable[[], Open]
    slow: bool = False


RUNNERS: Final[Mapping[str, Runner]] = {
    runner.name: runner
    for runner in (
        Runner("wasmtime", lambda: _open_wasmtime("none")),
        Runner("wasmtime-optimized", lambda: _open_wasmtime("speed"), slow=True),
        Runner("wasmer", _open_wasmer),
        Runner("reference", _open_reference, slow=True),
        Runner("oracle", _open_oracle, slow=True),
    )
}
"""By name. The first is what the others are compared with."""


def available() -> list[str]:
    """Names of the runners that this Python can load."""
    found = []
    for name, runner in RUNNERS.items():
        try:
            runner.make()
        except ImportError:
            continue
        found.append(name)
    return found

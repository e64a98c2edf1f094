"""One agent on wasmtime, through the raw bindings: one foreign call a turn, and two copies in `loop`.

Each instance has a store of its own, so that stopping an agent gives its memory back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi

from wavelock.core.abi import EXPORT_MEMORY, Fault
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form.limits import TABLES
from wavelock.core.shard import GroupPlan
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.wasmtime_calls import VALUE_WORDS, Call, call_unchecked, find_export

_Codes = ffi.wasmtime_trap_code_enum
_FAULTS: Final[dict[int, Fault]] = {
    _Codes.WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS.value: Fault.MEMORY_BOUNDS,
    _Codes.WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS.value: Fault.TABLE_BOUNDS,
    _Codes.WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL.value: Fault.INDIRECT_CALL,
    _Codes.WASMTIME_TRAP_CODE_BAD_SIGNATURE.value: Fault.INDIRECT_CALL,
    _Codes.WASMTIME_TRAP_CODE_INTEGER_OVERFLOW.value: Fault.INTEGER_OVERFLOW,
    _Codes.WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO.value: Fault.DIVISION_BY_ZERO,
    _Codes.WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER.value: Fault.BAD_CONVERSION,
    _Codes.WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED.value: Fault.UNREACHABLE,
}
_STACK_OVERFLOW: Final = _Codes.WASMTIME_TRAP_CODE_STACK_OVERFLOW.value


class WasmtimeInstance:
    """An `interface.Instance`."""

    def __init__(self, store: wasmtime.Store, instance: wasmtime.Instance, plan: GroupPlan) -> None:
        """The store is closed with this."""
        self._plan = plan
        self._store: wasmtime.Store | None = store
        self._instance = instance
        try:
            self._memory = self._export(EXPORT_MEMORY)
        except KeyError:  # no agent's module
            self._memory = None

    def _live(self) -> wasmtime.Store:
        if self._store is None:
            raise RuntimeError("an instance was used after it was closed")
        return self._store

    def _export(self, name: str) -> Any:
        return find_export(self._live(), self._instance, name)

    def function(self, name: str) -> Callable[..., Sequence[int]]:
        """See `interface.Instance`."""
        function = self._export(name)
        if not isinstance(function, wasmtime.Func):
            raise KeyError(name)
        kind = function.type(self._live())
        arguments = [str(each) == "i32" for each in kind.params]
        results = [str(each) == "i32" for each in kind.results]
        if arguments == results == [True, False]:
            return self._turn_function(function)
        raw = Call(self._live(), function, max(len(arguments), len(results), 1))
        longs, ints, places = raw.longs, raw.ints, tuple(enumerate(results))

        def call(*values: int) -> Sequence[int]:
            for at, value in enumerate(values):
                longs[VALUE_WORDS * at] = value
            error = call_unchecked(*raw.arguments)
            if error or longs[raw.trap_word]:
                self._fail(raw, error)
            return [ints[2 * VALUE_WORDS * at] if short else longs[VALUE_WORDS * at] for at, short in places]

        return call

    def _turn_function(self, function: wasmtime.Func) -> Callable[..., Sequence[int]]:
        """A function (i32, i64) -> (i32, i64), which is what a turn is: nothing but the call."""
        raw = Call(self._live(), function, 2)
        longs, ints, at_trap = raw.longs, raw.ints, raw.trap_word
        context, target, argument, count, trap = raw.arguments
        fail = self._fail

        def call(first: int, second: int) -> Sequence[int]:
            longs[0] = first
            longs[VALUE_WORDS] = second
            error = call_unchecked(context, target, argument, count, trap)
            if error or longs[at_trap]:
                fail(raw, error)
            return ints[0], longs[VALUE_WORDS]

        return call

    def _fail(self, raw: Call, error: int | None) -> None:
        """Raise what the trap or the error stands for that a call left behind."""
        try:
            code = raw.failure(error)
        except wasmtime.WasmtimeError as failure:
            raise EnvironmentFailure(f"{self._plan.name}: {failure}") from None
        raise trap_of(code, self._plan.name)

    def memory(self) -> memoryview:
        """See `interface.Instance`."""
        store = self._live()
        size = self._memory.data_len(store) if self._memory is not None else 0
        if not size:
            return memoryview(bytearray())
        address = ctypes.addressof(self._memory.data_ptr(store).contents)
        return memoryview((ctypes.c_char * size).from_address(address)).cast("B")

    def global_value(self, name: str) -> int:
        """See `interface.Instance`."""
        found = self._export(name)
        if not isinstance(found, wasmtime.Global):
            raise KeyError(name)
        return int(found.value(self._live()))

    def close(self) -> None:
        """See `interface.Instance`."""
        if self._store is not None:
            self._store.close()
            self._store = None


def alone(engine: wasmtime.Engine, module: wasmtime.Module, plan: GroupPlan) -> WasmtimeInstance:
    """An instance in a store of its own, so that closing it gives its memory back. Raises EnvironmentFailure."""
    store = wasmtime.Store(engine)
    store.set_limits(instances=1, tables=TABLES)
    try:
        return WasmtimeInstance(store, wasmtime.Instance(store, module, []), plan)
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        raise no_instance(plan.name, error) from None


def no_instance(name: str, error: Exception) -> EnvironmentFailure:
    """The host has no room for one more instance."""
    return EnvironmentFailure(
        f"{name}: wasmtime cannot make one more instance: {error}; run fewer agents, or raise what the host allows "
        "(memory; on Linux also vm.max_map_count)"
    )


def trap_of(code: int, name: str) -> Trap:
    """What a trap code stands for. Raises EnvironmentFailure, beginning with `name`, for what no agent causes."""
    if code in _FAULTS:
        return Trap(_FAULTS[code])
    if code == _STACK_OVERFLOW:
        raise EnvironmentFailure(f"{name}: wasmtime's stack ended before limits.stack did; lower limits.stack")
    raise EnvironmentFailure(f"{name}: wasmtime stopped with trap code {code}, which no agent causes")

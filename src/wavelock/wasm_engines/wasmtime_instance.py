"""One agent on wasmtime, through the raw bindings: one foreign call a turn, and two copies in `loop`.

Each instance has a store of its own, so that stopping an agent gives its memory back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime._extern import wrap_extern

from wavelock.core.abi import EXPORT_MEMORY, Fault
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form.limits import TABLES
from wavelock.core.shard import GroupPlan
from wavelock.wasm_engines.interface import Trap

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

# A foreign function without argument types, called with ready-made ctypes values: half the price of the typed bindings.
# The call gives the interpreter lock up, so that workers run at once.
_Pointer: Final = ctypes.c_void_p
_call: Final = ctypes.CDLL(ffi.dll._name).wasmtime_func_call_unchecked
_call.restype = _Pointer
_VALUE_WORDS: Final = 2
"""A raw value takes 16 bytes; integers are in the first of its two words."""


class WasmtimeInstance:
    """An `interface.Instance`."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, plan: GroupPlan) -> None:
        self._plan = plan
        self._store: wasmtime.Store | None = wasmtime.Store(engine)
        self._store.set_limits(instances=1, tables=TABLES)
        self._context = ctypes.cast(self._store._context(), _Pointer)
        try:
            self._instance = wasmtime.Instance(self._store, module, [])
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise EnvironmentFailure(
                f"{plan.name}: wasmtime cannot make one more instance: {error}; run fewer agents, or raise what "
                "the host allows (memory; on Linux also vm.max_map_count)"
            ) from None
        try:
            self._memory = self._export(EXPORT_MEMORY)
        except KeyError:  # no agent's module
            self._memory = None

    def _live(self) -> wasmtime.Store:
        if self._store is None:
            raise RuntimeError("an instance was used after it was closed")
        return self._store

    def _export(self, name: str) -> Any:
        """One export. Listing all of them would cost as much as a module has exports, at every start."""
        item, raw = ffi.wasmtime_extern_t(), name.encode()
        found = ffi.wasmtime_instance_export_get(
            self._live()._context(),
            ctypes.byref(self._instance._instance),
            ctypes.create_string_buffer(raw),
            len(raw),
            ctypes.byref(item),
        )
        if not found:
            raise KeyError(name)
        return wrap_extern(item)

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
        count = max(len(arguments), len(results), 1)
        words = (ctypes.c_int64 * (_VALUE_WORDS * count + 1))()
        longs = memoryview(words).cast("B").cast("q")
        ints = longs.cast("B").cast("i")
        caller = self._caller(function, words, count)

        def call(*values: int) -> Sequence[int]:
            for at, value in enumerate(values):
                longs[_VALUE_WORDS * at] = value
            caller()
            return [
                ints[2 * _VALUE_WORDS * at] if short else longs[_VALUE_WORDS * at] for at, short in enumerate(results)
            ]

        return call

    def _turn_function(self, function: Any) -> Callable[..., Sequence[int]]:
        """A function (i32, i64) -> (i32, i64), which is what a turn is: nothing but the call."""
        words = (ctypes.c_int64 * (2 * _VALUE_WORDS + 1))()
        longs = memoryview(words).cast("B").cast("q")
        ints = longs.cast("B").cast("i")
        context, target, argument, count, trap = self._call_arguments(function, words, 2)
        fail, at_trap = self._fail, 2 * _VALUE_WORDS

        def call(first: int, second: int) -> Sequence[int]:
            longs[0] = first
            longs[_VALUE_WORDS] = second
            error = _call(context, target, argument, count, trap)
            if error or longs[at_trap]:
                fail(error, words)
            return ints[0], longs[_VALUE_WORDS]

        return call

    def _call_arguments(self, function: Any, words: Any, count: int) -> Sequence[Any]:
        base = ctypes.addressof(words)
        target = _Pointer(ctypes.addressof(function._func))
        trap = _Pointer(base + 8 * _VALUE_WORDS * count)
        return self._context, _Keep(target, function), _Pointer(base), ctypes.c_size_t(count), trap

    def _caller(self, function: Any, words: Any, count: int) -> Callable[[], None]:
        arguments = self._call_arguments(function, words, count)

        def call() -> None:
            error = _call(*arguments)
            if error or words[_VALUE_WORDS * count]:
                self._fail(error, words)

        return call

    def _fail(self, error: int | None, words: Any) -> None:
        """Take the trap (or the error) that a call left behind, free it, and raise what it stands for."""
        if error:
            pointer = ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t))
            raise EnvironmentFailure(f"{self._plan.name}: {wasmtime.WasmtimeError._from_ptr(pointer)}")
        trap = ctypes.cast(words[-1], ctypes.POINTER(ffi.wasm_trap_t))
        words[-1] = 0
        code = ctypes.c_uint8()
        known = ffi.wasmtime_trap_code(trap, ctypes.byref(code))
        ffi.wasm_trap_delete(trap)
        raise self._trap(code.value if known else 255)

    def _trap(self, code: int) -> Exception:
        if code in _FAULTS:
            return Trap(_FAULTS[code])
        if code == _STACK_OVERFLOW:
            return EnvironmentFailure(
                f"{self._plan.name}: wasmtime's stack ended before limits.stack did; lower limits.stack"
            )
        return EnvironmentFailure(f"{self._plan.name}: wasmtime stopped with trap code {code}, which no agent causes")

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


class _Keep(ctypes.c_void_p):
    """A pointer that keeps what it points into alive."""

    def __init__(self, pointer: ctypes.c_void_p, owner: object) -> None:
        super().__init__(pointer.value)
        self.owner = owner

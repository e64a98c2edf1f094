"""One agent on wasmtime, through the raw bindings.

A turn costs four foreign calls and two copies. The buffers are viewed once: the engine's memories never move.
Each instance has a store of its own, so that stopping an agent gives its memory back.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime._extern import wrap_extern

from wavelock.core.abi import ABI_RECORD, EXPORT_ABI, EXPORT_INITIALIZE, EXPORT_MEMORY, EXPORT_TURN, Fault
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form.limits import TABLE_ENTRIES, TABLES
from wavelock.core.shard import GroupPlan
from wavelock.wasm_engines.interface import GuestFault, Started
from wavelock.wasm_engines.loop import check_record

_Codes = ffi.wasmtime_trap_code_enum
_FAULTS: Final[dict[int, Fault]] = {
    _Codes.WASMTIME_TRAP_CODE_STACK_OVERFLOW.value: Fault.DEPTH,
    _Codes.WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS.value: Fault.MEMORY_BOUNDS,
    _Codes.WASMTIME_TRAP_CODE_HEAP_MISALIGNED.value: Fault.MISALIGNED_ATOMIC,
    _Codes.WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS.value: Fault.TABLE_BOUNDS,
    _Codes.WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL.value: Fault.INDIRECT_CALL,
    _Codes.WASMTIME_TRAP_CODE_BAD_SIGNATURE.value: Fault.INDIRECT_CALL,
    _Codes.WASMTIME_TRAP_CODE_INTEGER_OVERFLOW.value: Fault.INTEGER_OVERFLOW,
    _Codes.WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO.value: Fault.DIVISION_BY_ZERO,
    _Codes.WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER.value: Fault.BAD_CONVERSION,
    _Codes.WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED.value: Fault.UNREACHABLE,
    _Codes.WASMTIME_TRAP_CODE_OUT_OF_FUEL.value: Fault.FUEL,
}
_GROWTH_FAULTS: Final = (Fault.UNREACHABLE, Fault.MEMORY_BOUNDS)
PAGE: Final = 1 << 16


# Foreign functions without argument types, called with ready-made ctypes values: half the price of the typed bindings.
# The two that only move a number keep the interpreter lock; the call itself gives it up, so that workers run at once.
_Pointer: Final = ctypes.c_void_p
_quick: Final = ctypes.PyDLL(ffi.dll._name)
_set_fuel: Final = _quick.wasmtime_context_set_fuel
_get_fuel: Final = _quick.wasmtime_context_get_fuel
_call: Final = ctypes.CDLL(ffi.dll._name).wasmtime_func_call_unchecked
_set_fuel.restype = _get_fuel.restype = _call.restype = _Pointer
_ONE: Final = ctypes.c_size_t(1)


class WasmtimeInstance:
    """An `interface.Instance`."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, plan: GroupPlan) -> None:
        self._plan = plan
        self._module = module
        self._store: wasmtime.Store | None = wasmtime.Store(engine)
        self._context = ctypes.cast(self._store._context(), _Pointer)
        # One word for argument and result, one for the fuel left, one for the trap's address.
        self._words = (ctypes.c_uint64 * 3)()
        self._view = memoryview(self._words).cast("B").cast("Q")
        self._argument, self._fuel_left, self._trap = (
            _Pointer(ctypes.addressof(self._words) + 8 * word) for word in range(3)
        )
        self._budget, self._fuel = 0, ctypes.c_uint64(0)

    def start(self, fuel: int) -> Started:
        """See `interface.Instance`."""
        store = self._live()
        store.set_limits(memory_size=self._plan.memory_bytes, table_elements=TABLE_ENTRIES, tables=TABLES, instances=1)
        store.set_fuel(fuel)
        instance = self._instantiate(fuel)
        memory = self._export(instance, EXPORT_MEMORY)
        assert isinstance(memory, wasmtime.Memory)
        self._memory = memory
        self._initial_pages = memory.size(store)
        initialize = self._export(instance, EXPORT_INITIALIZE)
        if initialize is not None:
            self._invoke(initialize, fuel)
        at = self._invoke(self._export(instance, EXPORT_ABI), fuel) & 0xFFFFFFFF
        self._map_buffers(at, fuel - store.get_fuel())
        self._turn_function = self._export(instance, EXPORT_TURN)
        self._turn = _Pointer(ctypes.addressof(self._turn_function._func))
        return Started(fuel - store.get_fuel(), self._inbox.nbytes, self._outbox.nbytes)

    def _live(self) -> wasmtime.Store:
        if self._store is None:
            raise RuntimeError("an instance was used after it was closed")
        return self._store

    def _export(self, instance: wasmtime.Instance, name: str) -> Any:
        """One export, or None. Listing all of them would cost as much as a module has exports, at every start."""
        item, raw = ffi.wasmtime_extern_t(), name.encode()
        found = ffi.wasmtime_instance_export_get(
            self._live()._context(),
            ctypes.byref(instance._instance),
            ctypes.create_string_buffer(raw),
            len(raw),
            ctypes.byref(item),
        )
        return wrap_extern(item) if found else None

    def _instantiate(self, fuel: int) -> wasmtime.Instance:
        try:
            return wasmtime.Instance(self._live(), self._module, [])
        except wasmtime.Trap as trap:
            raise self._fault(trap, fuel) from None
        except wasmtime.WasmtimeError as error:
            if self._minimum_pages() * PAGE > self._plan.memory_bytes:
                raise GuestFault(Fault.MEMORY, 0) from None
            raise EnvironmentFailure(
                f"{self._plan.name}: wasmtime cannot make one more instance: {error}; run fewer agents, or raise what "
                "the host allows (memory; on Linux also vm.max_map_count)"
            ) from None

    def _minimum_pages(self) -> int:
        kinds = (export.type for export in self._module.exports if export.name == EXPORT_MEMORY)
        return max((kind.limits.min for kind in kinds if isinstance(kind, wasmtime.MemoryType)), default=0)

    def _invoke(self, function: Any, fuel: int) -> int:
        try:
            return int(function(self._live()) or 0)
        except wasmtime.Trap as trap:
            raise self._fault(trap, fuel) from None

    def _fault(self, trap: wasmtime.Trap, fuel: int) -> GuestFault:
        code = trap.trap_code
        fault = Fault.UNREACHABLE if code is None else self._kind(code.value)
        return GuestFault(fault, fuel if fault == Fault.DEPTH else fuel - self._live().get_fuel())

    def _kind(self, code: int) -> Fault:
        """The fault of a trap. A turn that ends so after it grew its memory to the limit is a `memory` fault."""
        fault = _FAULTS.get(code)
        if fault is None:
            raise EnvironmentFailure(
                f"{self._plan.name}: wasmtime stopped with trap code {code}, which no agent causes"
            )
        if fault in _GROWTH_FAULTS and hasattr(self, "_memory"):
            pages = self._memory.size(self._live())
            if pages > self._initial_pages and (pages + 1) * PAGE > self._plan.memory_bytes:
                return Fault.MEMORY
        return fault

    def _map_buffers(self, record_at: int, fuel: int) -> None:
        store = self._live()
        size = self._memory.data_len(store)
        base = ctypes.addressof(self._memory.data_ptr(store).contents) if size else 0
        if record_at + ABI_RECORD.size > size:
            raise GuestFault(Fault.BAD_ABI, fuel)
        record = ABI_RECORD.unpack(ctypes.string_at(base + record_at, ABI_RECORD.size))
        try:
            inbox, inbox_cap, outbox, outbox_cap = check_record(record, size, self._plan)
        except GuestFault as fault:
            raise GuestFault(fault.fault, fuel) from None
        self._inbox = _view(base + inbox, inbox_cap)
        self._outbox = _view(base + outbox, outbox_cap)
        self._outbox_bytes = outbox_cap

    def turn(self, inbox: memoryview, fuel: int) -> tuple[int, bytes]:
        """See `interface.Instance`."""
        length = len(inbox)
        self._inbox[:length] = inbox
        view, context = self._view, self._context
        if fuel != self._budget:
            self._budget, self._fuel = fuel, ctypes.c_uint64(fuel)
        _set_fuel(context, self._fuel)
        view[0] = length
        error = _call(context, self._turn, self._argument, _ONE, self._trap)
        _get_fuel(context, self._fuel_left)
        used = fuel - view[1]
        if error or view[2]:
            raise self._turn_fault(error, used)
        result = view[0] & 0xFFFFFFFF
        if result > self._outbox_bytes:
            raise self._bad_result(result, used)
        return used, bytes(self._outbox[:result])

    @staticmethod
    def _bad_result(result: int, fuel: int) -> GuestFault:
        """A negative answer is the agent's own code; a positive one past its buffer is no outbox."""
        if result & 0x80000000:
            return GuestFault(Fault.AGENT_CODE, fuel, result - (1 << 32))
        return GuestFault(Fault.MALFORMED_OUTBOX, fuel, result)

    def _turn_fault(self, error: int | None, fuel: int) -> GuestFault:
        """Take the trap (or the error) that a call left behind, and free it."""
        if error:
            pointer = ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t))
            raise EnvironmentFailure(f"{self._plan.name}: {wasmtime.WasmtimeError._from_ptr(pointer)}")
        trap = ctypes.cast(self._view[2], ctypes.POINTER(ffi.wasm_trap_t))
        self._view[2] = 0
        code = ctypes.c_uint8()
        known = ffi.wasmtime_trap_code(trap, ctypes.byref(code))
        ffi.wasm_trap_delete(trap)
        fault = self._kind(code.value if known else 255)
        # How deep a native stack goes depends on the code that was generated, so what was used by then does, too.
        return GuestFault(fault, self._budget if fault == Fault.DEPTH else fuel)

    def close(self) -> None:
        """See `interface.Instance`."""
        if self._store is not None:
            self._store.close()
            self._store = None


def _view(address: int, length: int) -> memoryview:
    return memoryview((ctypes.c_char * length).from_address(address)).cast("B")

"""Makes instances by the thousand: agents of one group, some at a time, with the courier that they share."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi

from wavelock.core.abi import EXPORT_MEMORY
from wavelock.core.form import reserved
from wavelock.wasm_engines.wasmtime_calls import Pointer, raw_function, trap_code

_instance_new: Final = raw_function("wasmtime_instance_new")
_export_get: Final = getattr(ctypes.PyDLL(ffi.dll._name), "wasmtime_instance_export_get")  # noqa: B009
"""Short, so that keeping the interpreter's lock is cheaper than giving it up."""
_export_get.restype = ctypes.c_bool
_EXTERN_BYTES: Final = ctypes.sizeof(ffi.wasmtime_extern_t)
_WORDS: Final = _EXTERN_BYTES // 4
_NUMBER: Final = 4
"""The word of a memory's `wasmtime_extern_t` that is its instance's number."""
_TURNS: Final = (EXPORT_MEMORY, reserved.TURN)
"""What a courier imports of each agent; behind all of that it imports their starts."""


class Maker:
    """Makes agents of one group and couriers for them, with everything ready but what differs."""

    def __init__(
        self, store: wasmtime.Store, module: wasmtime.Module, courier: wasmtime.Module, given: Sequence[Any], size: int
    ) -> None:
        """given: the courier's imports that come from the hub. size: how many agents a courier has."""
        self._kept = store, module, courier, given
        context = ctypes.cast(store._context(), Pointer)
        each, starts = len(_TURNS), len(given) + size * len(_TURNS)
        imports = (ffi.wasmtime_extern_t * (starts + size))()
        for at, value in enumerate(given):
            imports[at] = value._as_extern()
        self._trap, self._made = ctypes.c_void_p(), (ctypes.c_uint64 * 2)()
        trap, made = ctypes.byref(self._trap), ctypes.byref(self._made)
        self._agent = context, ctypes.cast(module.ptr(), Pointer), None, ctypes.c_size_t(0), made, trap
        first = ctypes.addressof(imports)

        def slot(name: str, at: int) -> tuple[Any, ...]:
            raw = name.encode()
            where = Pointer(first + _EXTERN_BYTES * at)
            return context, made, ctypes.c_char_p(raw), ctypes.c_size_t(len(raw)), where

        slots = [
            [*(slot(name, at) for at, name in enumerate(_TURNS, len(given) + each * seat)),
             slot(reserved.START, starts + seat)]
            for seat in range(size)
        ]  # fmt: skip
        self._memories = [arguments[0] for arguments in slots]
        self._exports = [arguments[1:] for arguments in slots]
        words = memoryview(imports).cast("B").cast("I")[_WORDS * len(given) :]
        self._memory_words = [words[_WORDS * each * seat :][:_WORDS] for seat in range(size)]
        self._alike = 0
        second, count = ctypes.byref((ctypes.c_uint64 * 2)()), ctypes.c_size_t(len(imports))
        self._courier = context, ctypes.cast(courier.ptr(), Pointer), imports, count, second, trap

    def agents(self) -> list[int]:
        """New instances of the group's module, by their numbers. Raises WasmtimeError where the host has no room."""
        numbers = []
        made, trap, agent = self._made, self._trap, self._agent
        for at, exports in enumerate(self._exports):
            error = _instance_new(*agent)
            if error or trap:
                raise self._failure(error)
            number = made[1]
            for arguments in exports:
                _export_get(*arguments)
            if self._alike > len(self._exports):
                self._memory_words[at][_NUMBER] = number
            else:
                self._find_memory(at, number)
            numbers.append(number)
        return numbers

    def _find_memory(self, at: int, number: int) -> None:
        """Ask for a memory, until it is seen that those of one seat differ in their instance's number alone."""
        _export_get(*self._memories[at])
        self._alike = self._alike + 1 if self._memory_words[at][_NUMBER] == number else 0

    def courier(self) -> int | None:
        """A courier for those that were made last. Answers the trap code in which a start ended. Raises as above."""
        error = _instance_new(*self._courier)
        if error:
            raise self._failure(error)
        return self._take_trap() if self._trap else None

    @property
    def store_number(self) -> int:
        """The store, as wasmtime numbers them, once an agent was made."""
        return self._made[0]

    def _take_trap(self) -> int:
        trap, self._trap.value = ctypes.cast(self._trap, ctypes.POINTER(ffi.wasm_trap_t)), None
        return trap_code(trap)

    def _failure(self, error: int | None) -> Exception:
        if error:
            return wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t)))
        return wasmtime.WasmtimeError(f"an instance that imports nothing trapped with code {self._take_trap()}")

"""Calls of wasmtime functions through the raw bindings, with integers alone: a microsecond each.

A foreign function without argument types, called with ready-made ctypes values: half the price of the typed bindings.
The call gives the interpreter lock up, so that other threads run at once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime._extern import wrap_extern

Pointer: Final = ctypes.c_void_p


def raw_function(name: str) -> Any:
    """A function of wasmtime's C interface that takes whatever it is given, and answers a pointer."""
    found = getattr(ctypes.CDLL(ffi.dll._name), name)
    found.restype = Pointer
    return found


call_unchecked: Final = raw_function("wasmtime_func_call_unchecked")
VALUE_WORDS: Final = 2
"""A raw value takes 16 bytes; integers are in the first of its two words."""
UNKNOWN_TRAP: Final = 255


class Call:
    """A function of a store, ready to be called.

    longs, ints: the values of its arguments, then of its results, from 0 on: value n is longs[VALUE_WORDS * n].
    """

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func, values: int) -> None:
        """values: arguments or results, whichever are more."""
        self._words = (ctypes.c_int64 * (VALUE_WORDS * values + 1))()
        self._kept = store, function
        self.longs = memoryview(self._words).cast("B").cast("q")
        self.ints = self.longs.cast("B").cast("i")
        base = ctypes.addressof(self._words)
        self.trap_word = VALUE_WORDS * values
        self.arguments = (
            ctypes.cast(store._context(), Pointer),
            Pointer(ctypes.addressof(function._func)),
            Pointer(base),
            ctypes.c_size_t(values),
            Pointer(base + 8 * self.trap_word),
        )

    def __call__(self) -> int | None:
        """Call it. Answers the code of the trap that ended it, if one did. Raises WasmtimeError for anything else."""
        error = call_unchecked(*self.arguments)
        return self.failure(error) if error or self.longs[self.trap_word] else None

    def failure(self, error: int | None) -> int:
        """The code of the trap that a call left behind, which is freed. Raises WasmtimeError for an error."""
        if error:
            raise wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t)))
        trap = ctypes.cast(self._words[self.trap_word], ctypes.POINTER(ffi.wasm_trap_t))
        self._words[self.trap_word] = 0
        return trap_code(trap)


def trap_code(trap: Any) -> int:
    """The code of a trap, which is freed."""
    code = ctypes.c_uint8()
    known = ffi.wasmtime_trap_code(trap, ctypes.byref(code))
    ffi.wasm_trap_delete(trap)
    return code.value if known else UNKNOWN_TRAP


def find_export(store: wasmtime.Store, instance: wasmtime.Instance, name: str) -> Any:
    """One export. Listing all of them costs as much as a module has exports. Raises KeyError."""
    item, raw = ffi.wasmtime_extern_t(), name.encode()
    found = ffi.wasmtime_instance_export_get(
        store._context(),
        ctypes.byref(instance._instance),
        ctypes.create_string_buffer(raw),
        len(raw),
        ctypes.byref(item),
    )
    if not found:
        raise KeyError(name)
    return wrap_extern(item)


def function_of(store: wasmtime.Store, instance: wasmtime.Instance, name: str, values: int) -> Callable[..., int]:
    """An exported function that never traps, from integers to its first result, as a signed 64-bit word.

    Of an i32 result, the caller takes the low half.
    """
    call = Call(store, find_export(store, instance, name), max(values, 1))
    longs = call.longs

    def with_arguments(*arguments: int) -> int:
        for at, value in enumerate(arguments):
            longs[VALUE_WORDS * at] = value
        trap = call()
        if trap is not None:
            raise RuntimeError(f"{name} trapped with code {trap}")
        return longs[0]

    return with_arguments

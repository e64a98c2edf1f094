"""One agent on wasmer: its functions with traps told as faults, and a view of its memory.

Rules:
- Whatever is wasmer's is used on the thread that made it: elsewhere its extension panics.
- No buffer of wasmer's is kept, only the memory's address: giving a buffer back on another thread panics as well.
- A trap is told by the first line of an error's text; the lines after it quote names that the agent chose.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

import wasmer

from wavelock.core.abi import EXPORT_MEMORY, Fault
from wavelock.core.errors import EnvironmentFailure
from wavelock.wasm_engines.interface import Trap

_FAULTS: Final[dict[str, Fault]] = {
    "unreachable": Fault.UNREACHABLE,
    "out of bounds memory access": Fault.MEMORY_BOUNDS,
    "undefined element: out of bounds table access": Fault.TABLE_BOUNDS,
    "uninitialized element": Fault.INDIRECT_CALL,
    "indirect call type mismatch": Fault.INDIRECT_CALL,
    "integer overflow": Fault.INTEGER_OVERFLOW,
    "integer divide by zero": Fault.DIVISION_BY_ZERO,
    "invalid conversion to integer": Fault.BAD_CONVERSION,
}
"""The texts of the traps that a module in its deterministic form can cause, as wasmer 1.1.0 has them."""
_PREFIX: Final = "RuntimeError: "
_STACK: Final = "call stack exhausted"


class WasmerInstance:
    """An `interface.Instance`."""

    def __init__(self, module: wasmer.Module, name: str) -> None:
        """name: the group's, for errors. Raises EnvironmentFailure where the host has no room for one more."""
        self._name = name
        self._exports = _instantiate(module, name).exports
        self._memory: wasmer.Memory | None = None
        self._address = 0

    def function(self, name: str) -> Callable[..., Sequence[int]]:
        """See `interface.Instance`."""
        found = self.export(name)
        if not isinstance(found, wasmer.Function):
            raise KeyError(name)
        return _guarded(found, self._name)

    def export(self, name: str) -> Any:
        """An export, as wasmer has it. Raises KeyError where there is none.

        Names such as `__class__` are attributes of every Python object, and are looked for one by one.
        """
        exports = self._live()
        if name.startswith("__"):
            return dict(iter(exports)).get(name)
        try:
            return getattr(exports, name)
        except LookupError:
            raise KeyError(name) from None

    def memory(self) -> memoryview:
        """See `interface.Instance`."""
        if self._memory is None:
            self._memory = self._find_memory()
        size = self._memory.data_size
        if size and not self._address:
            self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory.buffer))
        array: Any = (ctypes.c_ubyte * size).from_address(self._address) if size else (ctypes.c_ubyte * 0)()
        array.owner = self._memory  # lives for as long as there are views of it
        return memoryview(array).cast("B")

    def _find_memory(self) -> Any:
        """The memory under its name in the ABI, else the one that there is."""
        try:
            return self.export(EXPORT_MEMORY)
        except KeyError:
            found = [item for _, item in self._live() if isinstance(item, wasmer.Memory)]
        if not found:
            raise KeyError(EXPORT_MEMORY)
        return found[0]

    def global_value(self, name: str) -> int:
        """See `interface.Instance`."""
        return int(self.export(name).value)

    def _live(self) -> Any:
        if self._exports is None:
            raise RuntimeError("an instance was used after it was closed")
        return self._exports

    def close(self) -> None:
        """See `interface.Instance`. Its memory goes with the last view and the last function of it."""
        self._exports = self._memory = None


def _instantiate(module: wasmer.Module, name: str) -> wasmer.Instance:
    try:
        return wasmer.Instance(module)
    except RuntimeError as error:
        raise EnvironmentFailure(
            f"{name}: wasmer cannot make one more instance: {error}; each takes 6 GiB of address space, so that some "
            "21,000 fit in a process: run fewer agents, use processes as workers, or another engine"
        ) from None


def _guarded(function: Any, name: str) -> Callable[..., Sequence[int]]:
    """The function with its traps told as faults, and always a sequence of results: wasmer gives one as itself."""
    results = len(function.type.results)
    if results == len(function.type.params) == 2:
        return _guarded_turn(function, name)

    def call(*arguments: int) -> Sequence[int]:
        try:
            return function(*arguments)  # type: ignore[no-any-return] # wasmer has no types
        except RuntimeError as error:
            raise told(error, name) from None

    if results == 0:
        return lambda *arguments: call(*arguments) or ()
    if results == 1:
        return lambda *arguments: (call(*arguments),)  # type: ignore[return-value] # one result comes as itself
    return call


def _guarded_turn(function: Any, name: str) -> Callable[..., Sequence[int]]:
    """The same for what a turn is, without a tuple of arguments in between."""

    def call(first: int, second: int) -> Sequence[int]:
        try:
            return function(first, second)  # type: ignore[no-any-return] # wasmer has no types
        except RuntimeError as error:
            raise told(error, name) from None

    return call


def told(error: RuntimeError, name: str) -> Exception:
    """What an error of wasmer's stands for: a Trap, or an EnvironmentFailure. name: the group's."""
    text = str(error).partition("\n")[0].removeprefix(_PREFIX)
    fault = _FAULTS.get(text)
    if fault is not None:
        return Trap(fault)
    if text == _STACK:
        return EnvironmentFailure(
            f"{name}: the engine wasmer came to the end of the thread's native stack before the agent came to "
            "limits.stack; give the thread more (ulimit -s, threading.stack_size), lower limits.stack, or use another "
            "engine"
        )
    return EnvironmentFailure(f'{name}: wasmer stopped with "{text}", which no agent causes')

"""Modules from text, their deterministic form, and instances of both on wasmtime. Importable as `core.form.running`."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import wasmtime

from wavelock.core.abi import Fault
from wavelock.core.form import FormOptions, Rewritten, rewrite_module
from wavelock.core.form.reserved import BUDGET, FAULT, LEFT, REFUSED

PLENTY: Final = 1 << 50
"""Fuel that nothing here uses up."""
NAN32, NAN64 = 0x7FC00000, 0x7FF8000000000000
"""The canonical NaNs."""
_PAGE: Final = 1 << 16


def wasm(text: str) -> bytes:
    """A module from text; `(module ...)` may be left out."""
    return bytes(wasmtime.wat2wasm(text if text.startswith("(module") else f"(module {text})"))


def rewrite(module: str | bytes, options: FormOptions | None = None, *, abi: bool = False) -> Rewritten:
    """The deterministic form of a module, given as text or bytes."""
    data = wasm(module) if isinstance(module, str) else module
    return rewrite_module(data, "m.wasm", options or FormOptions(), abi=abi)


def configured() -> wasmtime.Config:
    """Without every feature that the form refuses and the bindings can switch off."""
    config = wasmtime.Config()
    for feature in ("relaxed_simd", "tail_call", "memory64", "multi_memory", "exceptions", "gc"):
        setattr(config, f"wasm_{feature}", False)
    config.wasm_function_references = False
    config.wasm_threads = True
    config.shared_memory = True
    return config


PLAIN: Final = wasmtime.Engine(configured())
"""An engine that runs what every engine of Wavelock runs, and threads."""
FULL: Final = wasmtime.Engine()
"""An engine with the features that a profile may ask for."""


def valid(data: bytes, engine: wasmtime.Engine = PLAIN) -> bool:
    """Whether wasmtime takes a module."""
    try:
        wasmtime.Module.validate(engine, data)
    except wasmtime.WasmtimeError:
        return False
    return True


class Outcome(NamedTuple):
    """How a call ended: results as unsigned bits, None after a trap; fuel used; what `wavelock:fault` says."""

    results: tuple[int, ...] | None
    used: int
    fault: int
    trap: str = ""


class Running:
    """An instance on wasmtime. Floats and vectors do not cross: functions to call take and give integers."""

    def __init__(self, module: str | bytes, options: FormOptions | None = None, *, rewritten: bool = True) -> None:
        data = wasm(module) if isinstance(module, str) else module
        if rewritten:
            data = rewrite_module(data, "m.wasm", options or FormOptions(), abi=False).module
        self.store = wasmtime.Store(FULL)
        self.module = wasmtime.Module(FULL, data)
        self.exports = wasmtime.Instance(self.store, self.module, []).exports(self.store)
        self._widths = {
            export.name: [64 if str(result) == "i64" else 32 for result in export.type.results]
            for export in self.module.exports
            if isinstance(export.type, wasmtime.FuncType)
        }

    def raw(self, name: str, *arguments: int) -> tuple[int, ...]:
        """Calls an export without a budget; results as unsigned bits. Raises wasmtime.Trap."""
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        found: Any = function(self.store, *arguments)
        results = found if isinstance(found, list) else [] if found is None else [found]
        return tuple(value & (1 << width) - 1 for value, width in zip(results, self._widths[name], strict=True))

    def call(self, name: str, *arguments: int, fuel: int = PLENTY) -> Outcome:
        """Calls an export of a rewritten module with a budget of its own."""
        self.raw(BUDGET, fuel)
        try:
            results = self.raw(name, *arguments)
            left = self.raw(LEFT)[0]
        except wasmtime.Trap as trap:
            return Outcome(None, fuel, self.number(FAULT), str(trap).partition("wasm trap: ")[2].split("\n")[0])
        return Outcome(results, fuel - left, self.number(FAULT))

    def number(self, name: str) -> int:
        """An exported global."""
        found = self.exports[name]
        assert isinstance(found, wasmtime.Global)
        value: int = found.value(self.store)
        return value

    @property
    def refused(self) -> bool:
        """Whether a growth was refused."""
        return self.number(REFUSED) == 1

    @property
    def _memory(self) -> wasmtime.Memory:
        found = self.exports["memory"]
        assert isinstance(found, wasmtime.Memory)
        return found

    @property
    def pages(self) -> int:
        """The memory's size."""
        return self._memory.size(self.store)

    def read(self, start: int, length: int) -> bytes:
        """Bytes of the memory."""
        return bytes(self._memory.read(self.store, start, start + length))

    def write(self, start: int, data: bytes) -> None:
        """Puts bytes into the memory."""
        self._memory.write(self.store, data, start)


def used(module: str | bytes, name: str = "f", *arguments: int, options: FormOptions | None = None) -> int:
    """The fuel of a call that completes: with exactly that much it does so too, with one unit less it does not."""
    running = Running(module, options)
    outcome = running.call(name, *arguments)
    assert outcome.results is not None, outcome
    again = Running(module, options).call(name, *arguments, fuel=outcome.used)
    assert again == outcome
    if outcome.used:
        less = Running(module, options).call(name, *arguments, fuel=outcome.used - 1)
        assert less == Outcome(None, outcome.used - 1, Fault.FUEL, less.trap)
    return outcome.used

"""Modules compiled by wasmtime, and kept on disk."""

from __future__ import annotations

from importlib import metadata

import wasmtime

from wavelock.core.cache import ModuleCache


def compiled(engine: wasmtime.Engine, cache: ModuleCache | None, key: str, data: bytes | str) -> wasmtime.Module:
    """A module, from the cache where it was compiled before. Raises WasmtimeError.

    key: what tells the module and the engine's configuration from others. data: bytes, or WebAssembly text.
    """
    key = f"{metadata.version('wasmtime')} {key}"
    stored = cache.load(key) if cache else None
    if stored is not None:
        try:
            return wasmtime.Module.deserialize(engine, stored)
        except wasmtime.WasmtimeError:
            pass  # written by another build of wasmtime: compile anew and overwrite
    module = wasmtime.Module(engine, data)
    if cache:
        cache.store(key, bytes(module.serialize()))
    return module

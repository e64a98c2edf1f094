"""Modules compiled by wasmtime, and kept on disk."""

from __future__ import annotations

import os
from functools import lru_cache

import wasmtime
from wasmtime import _ffi as ffi

from wavelock.core.cache import ModuleCache


def compiled(engine: wasmtime.Engine, cache: ModuleCache | None, key: str, data: bytes | str) -> wasmtime.Module:
    """A module, from the cache where it was compiled before. Raises WasmtimeError.

    key: what tells the module and the engine's configuration from others. data: bytes, or WebAssembly text.
    """
    key = f"{_build()} {key}"
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


@lru_cache(maxsize=1)
def _build() -> str:
    """What tells one build of wasmtime from another: it refuses the modules of others itself, and they would be made
    anew by turns. (Its version is in the metadata of what is installed, which takes longer to read than a module.)
    """
    return f"{os.path.getsize(ffi.dll._name)} bytes"

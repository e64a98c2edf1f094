"""Modules compiled by wasmtime, and kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

import wasmtime
from wasmtime import _ffi as ffi

from wavelock.core.cache import ModuleCache

Compiler = Callable[[], wasmtime.Engine] | None
"""An engine that compiles in the place of the one that runs what it made; None: the same one does."""


def compiled(
    engine: wasmtime.Engine,
    cache: ModuleCache | None,
    key: str,
    data: bytes | str,
    compiler: Compiler = None,
) -> wasmtime.Module:
    """A module, from the cache where it was compiled before. Raises WasmtimeError.

    key: what tells the module and the engine's configuration from others. data: bytes, or WebAssembly text. compiler:
    an engine that compiles it in the place of the one that runs it.
    """
    key = f"{_build()} {key}"
    stored = cache.load(key) if cache else None
    if stored is not None:
        try:
            return wasmtime.Module.deserialize(engine, stored)
        except wasmtime.WasmtimeError:
            pass  # written by another build of wasmtime: compile anew and overwrite
    module = wasmtime.Module(engine if compiler is None else compiler(), data)
    if not cache and compiler is None:
        return module
    made = bytes(module.serialize())
    if cache:
        cache.store(key, made)
    return module if compiler is None else wasmtime.Module.deserialize(engine, made)


def trust(config: wasmtime.Config) -> None:
    """Let an engine compile modules of our own: without what keeps a program from reading, by what the processor does
    ahead of its checks, the memory of others. Agents are compiled with it, though none has a clock to see it by.
    """
    ffi.wasmtime_config_cranelift_flag_set(config.ptr(), b"enable_heap_access_spectre_mitigation", b"false")


@lru_cache(maxsize=1)
def _build() -> str:
    """What tells one build of wasmtime from another: it refuses the modules of others itself, and they would be made
    anew by turns. (Its version is in the metadata of what is installed, which takes longer to read than a module.)
    """
    return f"{os.path.getsize(ffi.dll._name)} bytes"

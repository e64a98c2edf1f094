"""wasmer as an engine: what it cannot be trusted with is refused, the rest compiled with a disk cache; and shards.

Rules:
- A module runs as on every other engine or not at all. The compiler in wasmer 1.1.0 (Cranelift 0.76, of 2021) gets SIMD
  wrong: `select` of two v128, i8x16.swizzle, f64x2.replace_lane, i32x4.trunc_sat_f32x4_s and more answer other bits or
  change their operands (CVE-2022-31104 has some of it), it panics over i16x8.mul of an i16x8.extend_low_i8x16_s, and
  27 operators are missing. So modules with SIMD are refused.
- A shard has a store and modules of its own, made on its thread and used for all its agents: stores and modules leak
  some KiB each. The engine itself keeps nothing of wasmer's, only compiled modules as bytes.
- wasmer trusts what it deserializes, so only what it compiled in this process, or what the cache has by hash, is.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Collection, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import wasmer
import wasmer_compiler_cranelift

from wavelock.core.cache import ModuleCache
from wavelock.core.errors import ModuleError
from wavelock.core.form.binary import at
from wavelock.core.form.decode import instructions
from wavelock.core.form.features import SIMD
from wavelock.core.form.module import Module
from wavelock.core.form.rewritten import MemorySize
from wavelock.core.form.sections import read_module
from wavelock.core.shard import GroupPlan, Shard
from wavelock.wasm_engines.loop import LoopShard
from wavelock.wasm_engines.wasmer_courier import LARGEST_BYTES
from wavelock.wasm_engines.wasmer_instance import WasmerInstance
from wavelock.wasm_engines.wasmer_shard import WasmerShard

_RULES: Final = 1
"""Grows when more is refused: what the cache has was checked by the rules of its time."""
_OTHER: Final = 'another engine runs it (engine.use = "wasmtime")'


class WasmerEngine:
    """The engine. Limits, budgets and NaNs are in the modules; wasmer has no settings for them."""

    def __init__(self, *, cache: bool) -> None:
        self._lock = threading.Lock()
        self._cache = ModuleCache("wasmer") if cache else None
        self._compiled: dict[str, bytes] = {}

    @property
    def version(self) -> str:
        """wasmer's version."""
        return metadata.version("wasmer")

    features: Final[Collection[str]] = frozenset()
    """See `interface.Engine`."""

    def configure(
        self, *, agents: int, stack_bytes: int, memories: Sequence[MemorySize], features: Collection[str] = ()
    ) -> None:
        """See `interface.Engine`. Nothing to size: wasmer runs on the thread's own stack."""

    def open_shard(self, groups: Sequence[GroupPlan], worker: int = 0) -> Shard:
        """See `interface.Engine`."""
        store = wasmer.Store(wasmer.engine.Universal(wasmer_compiler_cranelift.Compiler))
        modules = [self._module(store, plan) for plan in groups]

        def make(group: int) -> WasmerInstance:
            return WasmerInstance(modules[group], groups[group].name)

        if max((max(plan.inbox_bytes, plan.outbox_bytes) for plan in groups), default=0) > LARGEST_BYTES:
            return LoopShard(groups, make)
        return WasmerShard(groups, make, lambda text: wasmer.Module(store, text))

    def _module(self, store: wasmer.Store, plan: GroupPlan) -> wasmer.Module:
        with self._lock:
            known = self._compiled.get(plan.digest) or self._load(plan)
            if known is not None:
                try:
                    return wasmer.Module.deserialize(store, known)
                except RuntimeError:
                    pass  # not a compiled module of wasmer's: compile anew and overwrite
            module = _compile(store, plan)
            self._keep(plan, module.serialize())
            return module

    def _load(self, plan: GroupPlan) -> bytes | None:
        found = self._cache.load(self._key(plan)) if self._cache else None
        if found is not None:
            self._compiled[plan.digest] = found
        return found

    def _keep(self, plan: GroupPlan, compiled: bytes) -> None:
        self._compiled[plan.digest] = compiled
        if self._cache:
            self._cache.store(self._key(plan), compiled)

    def _key(self, plan: GroupPlan) -> str:
        compiler = metadata.version("wasmer-compiler-cranelift")
        return f"{self.version} {compiler} {_RULES} {wasmer.target.Triple.host()} {_processor()} {plan.digest}"

    def close(self) -> None:
        """See `interface.Engine`."""
        with self._lock:
            self._compiled.clear()


def _processor() -> str:
    """What decides which instructions the compiler may use: machine code made for another processor is not loaded."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {platform.processor()} {flags}"


def _compile(store: wasmer.Store, plan: GroupPlan) -> wasmer.Module:
    for problem in _refused(read_module(plan.module)):
        raise ModuleError(f"{plan.name}: wasmer cannot run the module: {problem}; {_OTHER}")
    try:
        return wasmer.Module(store, plan.module)
    except BaseException as error:
        # A panic of the compiler comes as pyo3's PanicException, which is no Exception and cannot be imported.
        if not isinstance(error, RuntimeError) and type(error).__name__ != "PanicException":
            raise
        raise ModuleError(f"{plan.name}: wasmer cannot compile the module: {error}; {_OTHER}") from None


def _refused(module: Module) -> Iterator[str]:
    """What this compiler gets wrong, or does not survive: a panic of it may take the process with it."""
    wrong = "and wasmer computes some of SIMD wrong"
    if SIMD in module.features:
        yield f"found a v128 among its types, {wrong}"
    for body in module.bodies:
        for offset, operator, _ in instructions(module.data, body.code, body.end):
            if operator.feature == SIMD:
                yield f"found {operator.name} at {at(offset)} of its form, {wrong}"

"""wasmtime as an engine: configuration, compilation with a disk cache, and shards.

wasmtime's own fuel and NaN canonicalisation are off, and its stack limit is far away: modules carry all of that.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import Final

import wasmtime

from wavelock.core.cache import ModuleCache
from wavelock.core.errors import ModuleError
from wavelock.core.form.features import TAIL_CALL
from wavelock.core.form.limits import PAGE_BYTES
from wavelock.core.form.rewritten import MemorySize
from wavelock.core.homes import Homes
from wavelock.core.mailboxes import Mailboxes
from wavelock.core.shard import GroupPlan, Shard
from wavelock.wasm_engines.hub.courier import courier_module
from wavelock.wasm_engines.hub.instance import configure_for_hub
from wavelock.wasm_engines.hub.mailboxes import HubMailboxes
from wavelock.wasm_engines.hub.shard import HubShard
from wavelock.wasm_engines.loop import LoopShard
from wavelock.wasm_engines.wasmtime_instance import alone
from wavelock.wasm_engines.wasmtime_modules import compiled, trust
from wavelock.wasm_engines.wasmtime_pool import PoolMemory, pooled_engine

GUARDED_AGENTS: Final = 4096
"""Above this many agents `auto` takes the dense layout: address space and mappings run out some way past 10,000."""
_UNUSED: Final = ("tail_call", "memory64", "multi_memory", "gc", "function_references", "exceptions", "threads")
_FOR_HUB: Final = {"multi_memory", "threads"}
"""What the hub needs. Agents' modules have none of it: the deterministic form sees to that."""


class WasmtimeEngine:
    """The engine. One wasmtime `Engine` a memory layout; compiled modules are shared by all shards of a process."""

    def __init__(self, *, cache: bool, memory_layout: str) -> None:
        self._lock = threading.RLock()
        self._cache, self._hub_cache = (ModuleCache(name) if cache else None for name in ("wasmtime", "hub"))
        self._layout = memory_layout
        self._stack_bytes = 512 << 10
        self._agents = 0
        self._features: frozenset[str] = frozenset()
        self._engine: wasmtime.Engine | None = None
        self._modules: dict[str, wasmtime.Module] = {}
        self._reservation, self._fixed = 0, False
        self._pool: PoolMemory | None = None
        self._in_hub = False
        self._mailboxes: HubMailboxes | None = None
        self._couriers: dict[int, wasmtime.Module] = {}

    @property
    def version(self) -> str:
        """wasmtime's version."""
        from importlib import metadata

        return metadata.version("wasmtime")

    features: Final = frozenset((TAIL_CALL,))
    """See `interface.Engine`."""

    def configure(
        self, *, agents: int, stack_bytes: int, memories: Sequence[MemorySize], features: Collection[str] = ()
    ) -> None:
        """See `interface.Engine`."""
        self._features = frozenset(features)
        self._agents, self._stack_bytes = agents, stack_bytes
        self._reservation = PAGE_BYTES * max(memory.most for memory in memories)
        self._fixed = len(set(memories)) == 1 and memories[0].first == memories[0].most

    @property
    def memory_layout(self) -> str:
        """`guarded` or `dense`: what `auto` came to."""
        if self._layout != "auto":
            return self._layout
        return "dense" if self._agents > GUARDED_AGENTS else "guarded"

    @property
    def _is_pooled(self) -> bool:
        return self._in_hub and self.memory_layout == "dense"

    def _opened(self) -> wasmtime.Engine:
        with self._lock:
            if self._engine is None:
                config = self._config()
                if self._is_pooled:
                    self._engine, self._pool = pooled_engine(config, self._agents, self._reservation, fixed=self._fixed)
                else:
                    self._engine = wasmtime.Engine(config)
            return self._engine

    def _compiler(self) -> wasmtime.Engine:
        """Compiles the hub's own modules for the engine."""
        config = self._config()
        trust(config)
        return wasmtime.Engine(config)

    def _config(self) -> wasmtime.Config:
        config = wasmtime.Config()
        config.max_wasm_stack = self._stack_bytes
        # wasmtime aborts the process where the stack of async calls, which we make none of, is not larger.
        wasmtime._ffi.wasmtime_config_async_stack_size_set(config.ptr(), 2 * self._stack_bytes + (1 << 20))
        config.wasm_relaxed_simd = False
        unused = set(_UNUSED) - {feature.replace("-", "_") for feature in self._features}
        if self._in_hub:
            configure_for_hub(config)
            unused -= _FOR_HUB
        for feature in sorted(unused):
            getattr(wasmtime._ffi, f"wasmtime_config_wasm_{feature}_set")(config.ptr(), False)
        wasmtime._ffi.wasmtime_config_wasm_branch_hinting_set(config.ptr(), True)
        # In a pool no memory moves. But code is compiled to compare addresses with the size of a memory's place where
        # that is all that can be accessible, and with the memory's length where it might move.
        wasmtime._ffi.wasmtime_config_memory_may_move_set(config.ptr(), self._is_pooled and not self._fixed)
        if self.memory_layout == "dense":
            wasmtime._ffi.wasmtime_config_memory_reservation_set(config.ptr(), self._reservation)
            wasmtime._ffi.wasmtime_config_memory_guard_size_set(config.ptr(), 0)
        if self._is_pooled:
            # A copy-on-write image is a mapping for each instance, of which Linux allows some 65,000.
            wasmtime._ffi.wasmtime_config_memory_init_cow_set(config.ptr(), False)
        return config

    def _module(self, plan: GroupPlan) -> wasmtime.Module:
        with self._lock:
            if plan.digest not in self._modules:
                self._modules[plan.digest] = self._compile(plan)
            return self._modules[plan.digest]

    def _compile(self, plan: GroupPlan) -> wasmtime.Module:
        try:
            return compiled(self._opened(), self._cache, f"{plan.digest} {self._key}", plan.module)
        except wasmtime.WasmtimeError as error:
            raise ModuleError(f"{plan.name}: wasmtime cannot compile the module: {_first_line(error)}") from None

    def open_shard(self, groups: Sequence[GroupPlan], worker: int = 0) -> Shard:
        """See `interface.Engine`."""
        engine, modules = self._opened(), [self._module(plan) for plan in groups]
        if self._mailboxes is not None:
            return HubShard(self._mailboxes, self._courier, groups, modules, worker, self._pool)
        return LoopShard(groups, lambda group: alone(engine, modules[group], groups[group]))

    def mailboxes(self, homes: Homes) -> Mailboxes:
        """See `interface.Engine`. Shards opened from now on reach them."""
        self._in_hub = True
        self._mailboxes = HubMailboxes(
            self._opened(), self._hub_cache, self._key, homes, shared=True, compiler=self._compiler
        )
        return self._mailboxes

    def _courier(self, agents: int) -> wasmtime.Module:
        with self._lock:
            if agents not in self._couriers:
                self._couriers[agents] = courier_module(
                    self._opened(), self._hub_cache, self._key, agents, self._compiler
                )
            return self._couriers[agents]

    @property
    def _key(self) -> str:
        """What tells one configuration from another."""
        layout = f"{self.memory_layout} {self._reservation} {self._fixed} {self._stack_bytes}"
        return f"{layout} {sorted(self._features)} {'hub' if self._in_hub else 'alone'}"

    def close(self) -> None:
        """See `interface.Engine`."""
        with self._lock:
            for module in (*self._modules.values(), *self._couriers.values()):
                module.close()
            self._modules.clear()
            self._couriers.clear()
            if self._pool is not None:
                self._pool.close()
            if self._engine is not None:
                self._engine.close()
                self._engine = None


def assemble_text(text: str, name: str) -> bytes:
    """WebAssembly text to a module. Raises ModuleError, beginning with `name`, with the line that is wrong."""
    try:
        return bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise ModuleError(f"{name}: not WebAssembly text: {error}") from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join(line for line in lines if line != "Caused by:") or type(error).__name__
